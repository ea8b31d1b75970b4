"""Run by the Airflow environment's Python: parses a folder of DAGs and tells about it as JSON."""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

# What Airflow itself needs for any DAG is imported before the clock starts: the first import ever
# compiles thousands of files.
import airflow.providers.standard.hooks.subprocess
import airflow.sdk.exceptions
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk import DAG, Asset, BaseOperator, Param, TaskGroup

USED = (airflow, DAG, Asset, BaseOperator, Param, TaskGroup)


def main(folder: str) -> dict[str, Any]:
    loaded_before = set(sys.modules)
    started = time.process_time()
    sys.path.insert(0, folder)
    import _stage_graph  # noqa: PLC0415

    _stage_graph._PATIENCE_SECONDS = 600.0  # the machine may be busy
    bag = BundleDagBag(folder, bundle_path=Path(folder), bundle_name="dags-folder")
    return {
        "cpu_seconds": time.process_time() - started,
        "import_errors": bag.import_errors,
        "warnings": [*bag.captured_warnings.values()],
        "modules": sorted(set(sys.modules) - loaded_before),
        "dags": {dag_id: describe(dag) for dag_id, dag in bag.dags.items()},
    }


def describe(dag: Any) -> dict[str, Any]:
    return {
        "doc_md": dag.doc_md,
        "tags": sorted(dag.tags),
        "schedule": getattr(dag.timetable, "expression", None) or str(dag.schedule),
        "params": sorted(dag.params),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "max_active_tasks": dag.max_active_tasks,
        "tasks": {
            task.task_id: {
                "downstream": sorted(task.downstream_task_ids),
                "owner": task.owner,
                "retries": task.retries,
                "retry_delay_seconds": task.retry_delay.total_seconds(),
                "timeout_seconds": (task.execution_timeout or timedelta()).total_seconds(),
                "arguments": task.arguments,
                "members": getattr(task, "members", {}),
                "pool": task.pool,
                "queue": task.queue,
                "trigger_rule": str(getattr(task.trigger_rule, "value", task.trigger_rule)),
                "outlets": sorted(outlet.name for outlet in task.outlets),
                "has_failure_callback": bool(task.on_failure_callback),
                "exponential_backoff": bool(task.retry_exponential_backoff),
                "doc_md": task.doc_md,
            }
            for task in dag.tasks
        },
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(sys.argv[1])), encoding="utf-8")
