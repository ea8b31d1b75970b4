"""# Recommendations from the champion with the newest histories, without a retrain.

**What it does.** Ingests the logs up to the end of the data interval, asks the champion for every
user's best items and publishes the table. It trains nothing and moves no alias. Switch it on where
retraining every night is too much, or trigger it by hand after a rollback, once it is switched on:
the table is then that of the version rolled back to.

**When it is urgent.** When the published table is older than its readers can stand: `monitor` says
how old things are.

**When a task fails.** The table of the day before stays. A note with the reason is in
`.nightly/alerts` and at the webhook. `has no champion`: let `nightly_retrain` succeed once, or
promote a version by hand (docs/runbook.md).

**Where it runs.** As `nightly_retrain`.
"""

from _stage_graph import needed_for
from _tasks import (
    DEFAULTS,
    RECOMMENDATIONS,
    START_DATE,
    WINDOW_PARAMS,
    every_day,
    project_graph,
    run_stage,
    stage_tasks,
)
from airflow.sdk import DAG

with DAG(
    dag_id="recommend_daily",
    description="Recommendations from the champion with the newest histories, without a retrain",
    doc_md=__doc__,
    schedule=every_day("0 6 * * *"),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=WINDOW_PARAMS,
    tags=["diffrec", "serving"],
):
    tasks = stage_tasks(needed_for(project_graph(), "build_interactions"), whole=False)
    recommend = run_stage("recommend", doc_md="The champion's best unseen items for every user.")
    publish = run_stage(
        "publish",
        outlets=[RECOMMENDATIONS],
        doc_md="Makes the new table of recommendations the current one, at once.",
    )
    tasks["build_interactions"] >> recommend >> publish
