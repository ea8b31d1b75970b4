"""Airflow tasks made from the stages of dvc.yaml: their order, pools and retries."""

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import timedelta
from itertools import groupby
from typing import Any

from _operators import PipelineOperator, StartRunOperator
from _project import shared
from _stage_graph import project_stages
from airflow.sdk import Asset, TaskGroup

INTERACTIONS = Asset("interactions")
CHAMPION = Asset("champion")
RECOMMENDATIONS = Asset("recommendations")
"""Assets that DAGs of other teams may follow."""

DATA = "build_interactions"
"""The last stage before training; what leads to it reads the logs."""

_RUN = "{{ run_id }}"


def stage_tasks(up_to: str | None = None) -> dict[str, PipelineOperator]:
    """Add `start_run`, a task per stage, foreach stages as groups, and their order.

    Args:
        up_to: only this stage and those that it needs; None: all.

    Returns:
        The tasks, by the stage's name.
    """
    stages = project_stages(up_to)
    tasks: dict[str, PipelineOperator] = {"start_run": _start_run(stages, whole=up_to is None)}
    for name, members in groupby(stages.values(), key=lambda stage: stage.name.partition("@")[0]):
        each = list(members)
        with nullcontext() if each[0].name == name else TaskGroup(name):
            tasks |= {stage.name: _stage_task(stage) for stage in each}
    for stage in stages.values():
        for upstream in stage.upstream or ["start_run"]:
            tasks[upstream].set_downstream(tasks[stage.name])
    return tasks


def run_stage(stage: str, **options: Any) -> PipelineOperator:
    """The task that runs a stage or an operation of the run.

    Args:
        stage: its name.
        options: of the operator.
    """
    options.setdefault("task_id", stage.rpartition("@")[2])
    return PipelineOperator(
        arguments=["run-stage", stage, "--run", _RUN], stage=stage, do_xcom_push=False, **options
    )


def publish() -> PipelineOperator:
    """The task that publishes the champion's recommendations."""
    return run_stage(
        shared.OperationName.PUBLISH,
        outlets=[RECOMMENDATIONS],
        doc_md="Compares the new table of recommendations with the current one, and makes it the "
        "current one, at once; fails if it is beyond a bound of the section `publish`.",
    )


def report_unreadable_data() -> PipelineOperator:
    """The task for downstream of `DATA`: skipped unless that or a task before it has failed.

    It succeeds: the failed task has sent the alert, and fails the run.
    """
    return PipelineOperator(
        task_id="report_unreadable_data",
        arguments=[
            "report-unreadable-data", "--run", _RUN,
            "{{ '--dry-run' if params.get('dry_run') else '' }}",
            "--stages", *project_stages(DATA),
        ],
        stage="report_unreadable_data",
        trigger_rule="one_failed",
        do_xcom_push=False,
        doc_md="Where the data cannot be read: puts the reason on the status page, which would "
        "still show the result of the day before.",
    )  # fmt: skip


def _start_run(stages: Mapping[str, shared.Stage], *, whole: bool) -> StartRunOperator:
    """The task that specifies the run, from the data interval and the DAG's params.

    Args:
        stages: of the DAG.
        whole: the DAG has the params of `RUN_PARAMS`, not just those of `WINDOW_PARAMS`.
    """
    end = "{{ params.end or (dag_run.data_interval_end or dag_run.run_after).isoformat() }}"
    arguments = [
        "start-run", "--run", _RUN, "--end", end,
        "{{ '--start=' ~ params.start if params.start else '' }}",
        "{% if params.settings %}--set={{ params.settings | join('\n') }}{% endif %}",
    ]  # fmt: skip
    if whole:
        arguments += [
            "{% if params.models %}--models={{ params.models | join(' ') }}{% endif %}",
            "{% if params.seeds %}--seeds={{ params.seeds }}{% endif %}",
            "{{ '--dry-run' if params.dry_run else '' }}",
        ]
    members: dict[str, list[str]] = {}
    for name in stages:
        if "@" in name:
            members.setdefault(name.partition("@")[2], []).append(name.replace("@", "."))
    return StartRunOperator(
        task_id="start_run",
        members=members,
        arguments=arguments,
        stage="start_run",
        execution_timeout=timedelta(minutes=10),
        doc_md="Fixes commit, data window and parameters for every task of the run.",
    )


def _stage_task(stage: shared.Stage) -> PipelineOperator:
    minutes = stage.timeout_minutes
    options = {
        "pool": "gpu" if stage.resources == "gpu" else None,
        "queue": stage.queue,
        "retries": stage.retries,
        "execution_timeout": None if minutes is None else timedelta(minutes=minutes),
        "outlets": [INTERACTIONS] if stage.name == DATA else None,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    doc = f"{stage.desc}\n\nResources: {stage.resources}\n\n```\n{stage.command}\n```"
    # models that are not part of a run are skipped; the stages after them run with the others
    return run_stage(stage.name, doc_md=doc, trigger_rule="none_failed", **given)
