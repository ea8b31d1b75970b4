"""Runs commands of pipeline_steps in one process, one after the other: imports cost seconds.

Reads a JSON line for each, {"arguments": [...], "environment": {...}}, the verb first, and
answers with one: {"code": ..., "output": ..., "errors": ...}.
"""

import io
import json
import os
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout


def call(arguments: list[str]) -> dict[str, object]:
    """Run one command as `python -m` would."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["pipeline_steps", *arguments]
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            runpy.run_module("pipeline_steps", run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
    return {"code": code, "output": output.getvalue(), "errors": errors.getvalue()}


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    answers = sys.stdout
    for line in sys.stdin:
        asked = json.loads(line)
        os.environ |= asked["environment"]
        answers.write(json.dumps(call(asked["arguments"])) + "\n")
        answers.flush()
