"""Run by the Airflow environment's Python: operators with commands of several exit codes.

`run_operators.py DAGS FOUND`: writes to FOUND, as JSON, how the operators report them to Airflow.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MEMBERS = {"ease": ["train.ease"], "diffrec": ["train.diffrec"], "slim": ["train.slim"]}
MODELS = (["ease", "diffrec"], ["ease diffrec"], ["ease,diffrec"], ["ease ", " diffrec"], [" "], [])
CODES = (0, 1, 2, 3, 4, 5, 6, 7, 99, 143)


def main(dags: str) -> dict[str, Any]:
    sys.path.insert(0, dags)
    import _operators  # noqa: PLC0415

    def outcome(operator: Any, code: int, models: list[str]) -> tuple[str, list[str]]:
        ended = SimpleNamespace(run_command=lambda *_, **__: SimpleNamespace(exit_code=code))
        _operators.SubprocessHook = lambda: ended
        try:
            operator.execute({"params": {"models": models}})
        except _operators.DownstreamTasksSkipped as skipped:
            return type(skipped).__name__, list(skipped.tasks)
        except _operators.AirflowException as error:
            return type(error).__name__, []
        return "success", []

    stage = _operators.PipelineOperator(task_id="stage", arguments=["run-stage"], stage="stage")
    start = _operators.StartRunOperator(
        task_id="start_run", arguments=["start-run"], stage="start_run", members=MEMBERS
    )
    return {
        "codes": {str(code): outcome(stage, code, [])[0] for code in CODES},
        "skipped": [outcome(start, 0, models)[1] for models in MODELS],
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(sys.argv[1])), encoding="utf-8")
