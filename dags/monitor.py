"""# Is the data fresh and as usual, and is the champion still good?

**What it does.** Ingests the logs up to the end of the data interval and checks: how old the
newest event is, how many rows there are against the weeks before, the share of quarantined rows,
drift of item popularity and of history length, the age of the champion, of its weights and of the
published table, the champion's metric on the newest data. Writes `published/status/status.html`
and `status.json`, and fails when a check is red.

**When it is urgent.** Red freshness or row counts: logs are missing, and tonight's model will be
trained on less data. The rest can wait for the morning.

**When a task fails.** The task `monitor` fails on purpose when a check is red: open the status
page, each check says what it means and what to do (docs/monitoring.md). Where the data cannot be
read, `report_unreadable_data` makes the page red, with the reason. Other tasks: as in
`nightly_retrain`.

**Where it runs.** As `nightly_retrain`. It moves no alias and publishes no recommendations.
"""

# Airflow parses only files that contain both words, airflow and dag.
from _dag import pipeline_dag
from _project import shared
from _tasks import DATA, report_unreadable_data, run_stage, stage_tasks

with pipeline_dag("monitor", "0 5 * * *", __doc__, tag="monitoring"):
    tasks = stage_tasks(DATA)
    check = run_stage(
        shared.OperationName.MONITOR,
        doc_md="Checks and writes the status page; fails when a check is red.",
    )
    tasks[DATA] >> [check, report_unreadable_data()]
