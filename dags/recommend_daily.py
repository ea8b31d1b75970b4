"""# Recommendations from the champion with the newest histories, without a retrain.

**What it does.** Ingests the logs up to the end of the data interval, asks the champion for every
user's best items and publishes the table. It trains nothing and moves no alias. Switch it on where
retraining every night is too much, or trigger it manually after a rollback, once it is switched
on: the table is then that of the version rolled back to.

**When it is urgent.** When the published table is older than its readers can accept: `monitor`
shows its age.

**When a task fails.** The table of the day before stays. A note with the reason is in
`.nightly/alerts` and at the webhook. `has no champion`: let `nightly_retrain` succeed once, or
promote a version manually (docs/runbook.md).

**Where it runs.** As `nightly_retrain`.
"""

# Airflow parses only files that contain both words, airflow and dag.
from _dag import pipeline_dag
from _project import shared
from _tasks import DATA, publish, run_stage, stage_tasks

with pipeline_dag("recommend_daily", "0 6 * * *", __doc__, tag="serving"):
    tasks = stage_tasks(DATA)
    recommend = run_stage(
        shared.OperationName.RECOMMEND, doc_md="The champion's best unseen items for every user."
    )
    tasks[DATA] >> recommend >> publish()
