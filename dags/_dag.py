"""Common to all DAGs of the pipeline: schedule, defaults and params."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from _alerts import alert_on_failure
from _project import shared
from airflow.sdk import DAG, CronDataIntervalTimetable, Param

_START_DATE = datetime(1970, 1, 1, tzinfo=UTC)
"""Before any log: a manual run for an earlier date has no tasks, and succeeds."""

_DEFAULTS: dict[str, Any] = {
    "owner": "recommendations",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=20),
    "execution_timeout": timedelta(hours=12),
    "on_failure_callback": alert_on_failure,
}

WINDOW_PARAMS = {
    "start": Param(None, type=["null", "string"], description="Data from this time on, UTC; "
                   "empty: by nightly.window_days in params.yaml"),
    "end": Param(None, type=["null", "string"], description="Data before this time, UTC; empty: "
                 "the end of the data interval"),
    "settings": Param([], type="array", items={"type": "string"}, description="Parameters to "
                      "override in this run, a line each, such as train.diffrec.steps=10"),
}  # fmt: skip
RUN_PARAMS = WINDOW_PARAMS | {
    "models": Param([], type="array", items={"type": "string"}, description="Models of this run, "
                    "of those in params.yaml; empty: all"),
    "seeds": Param(None, type=["null", "integer"], minimum=1, description="Number of seeds per "
                   "model; empty: as in params.yaml"),
    "dry_run": Param(default=False, type="boolean", description="Compare and report; promote and "
                     "publish nothing"),
}  # fmt: skip


def pipeline_dag(
    dag_id: str,
    cron: str | None,
    doc: str,
    *,
    tag: str,
    params: Mapping[str, Param] = WINDOW_PARAMS,
) -> DAG:
    """A DAG without tasks.

    Args:
        dag_id: its name.
        cron: when it runs each day, UTC; None: only when it is triggered.
        doc: its documentation in Markdown; the first line, a heading, is its description.
        tag: what it is about.
        params: that a person may set for a run.
    """
    return DAG(
        dag_id=dag_id,
        description=doc.partition("\n")[0].removeprefix("# ").removesuffix("."),
        doc_md=doc,
        schedule=_timetable(cron) if cron else None,
        start_date=_START_DATE,
        catchup=False,
        max_active_runs=1,
        default_args=_DEFAULTS,
        params=params,
        tags=["diffrec", tag],
    )


def _timetable(cron: str) -> CronDataIntervalTimetable | None:
    """Runs over whole days of data; none where DIFFREC_SCHEDULE is `off`.

    Raises:
        ValueError: DIFFREC_SCHEDULE is neither on nor off.
    """
    wanted = os.environ.get(shared.Variable.SCHEDULE, "on")
    if wanted not in ("on", "off"):
        raise ValueError(f"{shared.Variable.SCHEDULE}={wanted}: must be on or off")
    return CronDataIntervalTimetable(cron, timezone="UTC") if wanted == "on" else None
