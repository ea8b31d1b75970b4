"""# From raw logs to a registered champion and recommendations, every night.

**What it does.** Each task is one stage of `dvc.yaml`: the tasks and their order are read from
there (`dags/_stage_graph.py`), nobody keeps a second list. A task runs
`dvc repro --single-item STAGE` in the project's folder, so a stage whose inputs have not changed
ends at once, and `make run` and this DAG share every result.

**When it is urgent.** It is not: a failed night leaves yesterday's champion in the registry and
yesterday's recommendations in `data/recommendations`. Look at it in the morning.

**When a task fails.** Its log ends with what was found, what is allowed and what to do.

| The log says | Do |
|---|---|
| `params.yaml: …` | mend the key that it names, then clear the task |
| too many rows rejected | look into `data/quarantine`: the raw rows, each with its reason |
| no space is left | free space, then clear the task; nothing was left half-written |
| `Unable to acquire lock` | another `dvc repro` (`make run`?) is at work: let it end, then clear |
| `.venv/bin/dvc is missing` | `make run` once in the project's folder: it builds the environment |
| a traceback | a bug: the same command in a shell, `dvc repro --single-item STAGE`, shows it too |

Clearing a task resumes from there: finished stages are recognised and skipped.

**Where it runs.** In the project's folder: the one above this file, or `DIFFREC_PROJECT`.
`make airflow` starts it on this machine; switching the DAG on runs the night that has just
passed, then one run a day; a trigger by hand does the same.
"""

import os
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

# Airflow puts this folder on sys.path, so the helper is a top-level module here. The folder has
# no __init__.py; the tests, which start in the project's folder, import it as dags._stage_graph.
from _stage_graph import Stage, load_graph
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, TaskGroup

PROJECT = Path(os.environ.get("DIFFREC_PROJECT") or Path(__file__).resolve().parent.parent)

# `dvc` and the `python` of the stages' commands come from the pipeline's own environment.
RUN_STAGE = """\
if ! test -x .venv/bin/dvc; then
  echo "$PWD/.venv/bin/dvc is missing: run 'make run' in that folder once" >&2
  exit 1
fi
export PATH="$PWD/.venv/bin:$PATH"
exec dvc repro --single-item "$STAGE"
"""
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "DVC_NO_ANALYTICS": "1"}


def stage_task(stage: Stage) -> BashOperator:
    """Return the task that runs one stage: `train.ease`, in the open group, for `train@ease`."""
    return BashOperator(
        task_id=stage.name.rpartition("@")[2],
        bash_command=RUN_STAGE,
        cwd=str(PROJECT),
        env={**ENVIRONMENT, "STAGE": stage.name},
        append_env=True,
        skip_on_exit_code=None,
        do_xcom_push=False,
        doc_md=f"{stage.desc}\n\nResources: {stage.resources}\n\n```\n{stage.command}\n```",
    )


def add_tasks() -> None:
    """Add one task per stage to the open DAG, foreach stages as groups, and their order."""
    graph = load_graph(PROJECT)
    tasks: dict[str, BashOperator] = {}
    for name, members in groupby(graph.stages, key=lambda stage: stage.name.partition("@")[0]):
        stages = list(members)
        is_foreach = stages[0].name != name
        with TaskGroup(name) if is_foreach else nullcontext():
            tasks |= {stage.name: stage_task(stage) for stage in stages}
    for upstream, downstream in sorted(graph.edges):
        tasks[upstream].set_downstream(tasks[downstream])


with DAG(
    dag_id="nightly_retrain",
    description="Raw logs to a registered champion and recommendations, stage by stage",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Two `dvc repro` in one folder collide on DVC's lock, so one task at a time. Tasks side by
    # side need a workspace each, sharing only a DVC remote.
    max_active_tasks=1,
    default_args={
        "owner": "recommendations",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(hours=12),
    },
    tags=["diffrec", "dvc", "training"],
):
    add_tasks()
