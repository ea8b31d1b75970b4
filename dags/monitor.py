"""# Is the data fresh and as usual, and is the champion still good?

**What it does.** Ingests the logs up to the end of the data interval and checks: how old the
newest event is, how many rows there are against the weeks before, the share of quarantined rows,
drift of item popularity and of history length, the champion's age and its metric on the newest
data. Writes `published/status/status.html` and `status.json`, and fails when something is red.

**When it is urgent.** Red freshness or row counts: the logs do not arrive, and tonight's model
will be made of less. The rest can wait for the morning.

**When a task fails.** The task `monitor` fails on purpose when a check is red: open the status
page, each check says what it means and what to do (docs/monitoring.md). Where the data cannot be
read, `data_alarm` makes the page red, with the reason. Other tasks: as in `nightly_retrain`.

**Where it runs.** As `nightly_retrain`. It moves no alias and publishes no recommendations.
"""

from _data_alarm import data_alarm
from _stage_graph import needed_for
from _tasks import (
    DEFAULTS,
    START_DATE,
    WINDOW_PARAMS,
    every_day,
    project_graph,
    run_stage,
    stage_tasks,
)
from airflow.sdk import DAG

with DAG(
    dag_id="monitor",
    description="Is the data fresh and as usual, and is the champion still good?",
    doc_md=__doc__,
    schedule=every_day("0 5 * * *"),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=WINDOW_PARAMS,
    tags=["diffrec", "monitoring"],
):
    graph = needed_for(project_graph(), "build_interactions")
    tasks = stage_tasks(graph, whole=False)
    status = run_stage(
        "monitor", doc_md="Checks and writes the status page; fails when a check is red."
    )
    tasks["build_interactions"] >> [status, data_alarm(graph)]
