"""# Interactions of any span of dates, from the raw logs again.

**What it does.** Lists the raw logs, ingests them and builds the interactions of a window of your
choice, in a run of its own; trains and publishes nothing. Triggered manually, with `start` and
`end` (UTC, the end excluded; empty: from the first event, and up to now).
Use it after late logs have arrived, or to see what a window holds, before a night needs it: the
next night reuses what was ingested.

**When it is urgent.** Never.

**When a task fails.** A note with the reason is in `.nightly/alerts` and at the webhook; the table
in the documentation of `nightly_retrain` says what to do.

**Where it runs.** As `nightly_retrain`. The result is the run's entry of `build_interactions`, in
the remote; the asset `interactions` is updated.
"""

# Airflow parses only files that contain both words, airflow and dag.
from _dag import pipeline_dag
from _tasks import DATA, stage_tasks

with pipeline_dag("backfill_interactions", None, __doc__, tag="data"):
    stage_tasks(DATA)
