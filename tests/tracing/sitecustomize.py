"""Python runs this file at start when its folder is on PYTHONPATH: it notes which of our files
a process has imported, for the test that holds dvc.yaml's dependencies against them."""

import atexit
import json
import os
import sys
from pathlib import Path

_FOLDERS = ("diffrec_core", "pipeline_steps")


def _write_imports() -> None:
    root = Path.cwd()
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    ours = sorted(
        Path(file).relative_to(root).as_posix()
        for file in loaded
        if file and any(Path(file).is_relative_to(root / folder) for folder in _FOLDERS)
    )
    if ours:
        trace = Path(os.environ["TRACE_DIR"]) / f"{os.getpid()}.json"
        trace.write_text(json.dumps({"arguments": sys.argv, "files": ours}))


if "TRACE_DIR" in os.environ:
    atexit.register(_write_imports)
