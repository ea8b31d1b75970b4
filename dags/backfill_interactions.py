"""# Interactions of any span of dates, from the raw logs again.

**What it does.** Lists the raw logs, ingests them and builds the interactions of a window of your
choice, in a run of its own; trains and publishes nothing. Started by hand, with `start` and `end`
(UTC, the end outside; empty: from the first event, and up to now).
Use it after late logs have arrived, or to see what a window holds, before a night needs it: the
next night takes up what was ingested.

**When it is urgent.** Never.

**When a task fails.** A note with the reason is in `.nightly/alerts` and at the webhook; the table
in the documentation of `nightly_retrain` says what to do.

**Where it runs.** As `nightly_retrain`. The result is the run's entry of `build_interactions`, in
the remote; the asset `interactions` is updated.
"""

from _stage_graph import needed_for
from _tasks import DEFAULTS, START_DATE, WINDOW_PARAMS, project_graph, stage_tasks
from airflow.sdk import DAG

with DAG(
    dag_id="backfill_interactions",
    description="Interactions of any span of dates, from the raw logs again",
    doc_md=__doc__,
    schedule=None,
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=WINDOW_PARAMS,
    tags=["diffrec", "data"],
):
    stage_tasks(needed_for(project_graph(), "build_interactions"), whole=False)
