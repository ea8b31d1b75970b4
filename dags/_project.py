"""The project's folder, and how a DAG calls `python -m pipeline_steps` in it.

Re-exports `pipeline_steps.shared`, the one module of the pipeline that Airflow's environment can
import.
"""

import os
import sys
from pathlib import Path

PROJECT = Path(os.environ.get("DIFFREC_PROJECT") or Path(__file__).parent.parent).resolve()
if not (PROJECT / "pipeline_steps" / "shared.py").is_file():
    raise FileNotFoundError(f"{PROJECT} is not the project's folder: set DIFFREC_PROJECT to it")
if str(PROJECT) not in sys.path:
    sys.path.append(str(PROJECT))

from pipeline_steps import shared  # noqa: E402

__all__ = ["PROJECT", "PYTHON", "command", "environment", "shared"]

PYTHON = PROJECT / ".venv" / "bin" / "python"
"""The interpreter of the pipeline's environment."""


def command(*arguments: str) -> list[str]:
    """The command line of a verb and its arguments; to be run in `PROJECT`.

    Raises:
        FileNotFoundError: the pipeline's environment was not built.
    """
    if not PYTHON.is_file():
        raise FileNotFoundError(f"{PYTHON} is missing: run 'make run' in {PROJECT} once")
    return [str(PYTHON), "-m", "pipeline_steps", *arguments]


def environment() -> dict[str, str]:
    """The command's environment variables; Airflow's own, its token among them, are left out."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "_AIRFLOW"))}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "DVC_NO_ANALYTICS": "1"}
    path = f"{PYTHON.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**ours, **quiet, "PATH": path}
