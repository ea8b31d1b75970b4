"""Tasks of a run: each is one call of the verb `run-stage`, made from the graph of dvc.yaml.

Here is when and where, nothing of what. Standard library, PyYAML and Airflow only.
"""

import os
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from _alerts import PROJECT, tell_about_failure
from _stage_graph import Stage, StageGraph, load_graph, model_names
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import (
    Asset,
    BaseOperator,
    Context,
    CronDataIntervalTimetable,
    Param,
    TaskGroup,
)
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)

START_DATE = datetime(1970, 1, 1, tzinfo=UTC)
"""Before any log: a run by hand for a date before it would have no tasks, and succeed."""

INTERACTIONS = Asset("interactions")
CHAMPION = Asset("champion")
RECOMMENDATIONS = Asset("recommendations")
"""What other teams' DAGs may follow."""

RUN = "{{ run_id }}"
SKIPPED = 99
HOPELESS = {
    2: "a value in params.yaml is not allowed",
    3: "the data cannot be used",
    4: "a stored artifact is missing or damaged",
    6: "there is not enough memory",
    7: "the monitor raised an alarm",
}
"""Exit codes that another try would end with too, and what they mean."""

DEFAULTS: dict[str, Any] = {
    "owner": "recommendations",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=20),
    "execution_timeout": timedelta(hours=12),
    "on_failure_callback": tell_about_failure,
}

WINDOW_PARAMS = {
    "start": Param(None, type=["null", "string"], description="Data from then on, UTC; empty: as "
                   "params.yaml says under nightly.window_days"),
    "end": Param(None, type=["null", "string"], description="Data before then, UTC; empty: the end "
                 "of the data interval"),
    "settings": Param([], type="array", items={"type": "string"}, description="Parameters to change"
                      " in this run, a line each, such as train.diffrec.steps=10"),
}  # fmt: skip
RUN_PARAMS = WINDOW_PARAMS | {
    "models": Param([], type="array", items={"type": "string"}, description="Models of this run, "
                    "of those in params.yaml; empty: all"),
    "seeds": Param(None, type=["null", "integer"], minimum=1, description="How often each model is "
                   "trained; empty: as params.yaml says"),
    "dry_run": Param(default=False, type="boolean", description="Compare and report; promote and "
                     "publish nothing"),
}  # fmt: skip


def every_day(at: str) -> CronDataIntervalTimetable | None:
    """Runs over whole days of data, UTC; none by themselves where DIFFREC_SCHEDULE is `off`.

    Args:
        at: when, as cron says it.
    """
    wanted = os.environ.get("DIFFREC_SCHEDULE", "on")
    if wanted not in ("on", "off"):
        raise ValueError(f"DIFFREC_SCHEDULE={wanted}: must be on or off")
    return CronDataIntervalTimetable(at, timezone="UTC") if wanted == "on" else None


class PipelineOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not installed here
    """A command of the pipeline, in its own environment, in the project's folder.

    Its exit code says what happens: 99 skips the task, a code of `HOPELESS` fails it at once, any
    other but 0 fails this try.

    Args:
        arguments: verb of pipeline_steps, and what follows it; templated.
        stage: what the command is about, for alerts.
    """

    template_fields: Sequence[str] = ("arguments",)
    ui_color = "#e4ecf5"

    def __init__(self, *, arguments: list[str], stage: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments, self.stage = arguments, stage
        self._hook: SubprocessHook | None = None

    def execute(self, context: Context) -> None:
        """Run the command, its output into the task's log."""
        python = PROJECT / ".venv" / "bin" / "python"
        if not python.exists():
            raise AirflowFailException(f"{python} is missing: run 'make run' in {PROJECT} once")
        command = [str(python), "-m", "pipeline_steps", *filter(None, self.arguments)]
        self.log.info("%s", shlex.join(command))
        self._hook = SubprocessHook()
        code = self._hook.run_command(command, env=_environment(), cwd=str(PROJECT)).exit_code
        if code == SKIPPED:
            raise AirflowSkipException(f"{self.stage}: nothing to do")
        if code in HOPELESS:
            raise AirflowFailException(f"{self.stage}: exit code {code}: {HOPELESS[code]}")
        if code != 0:
            raise AirflowException(f"{self.stage}: exit code {code}")

    def on_kill(self) -> None:
        """End the command too; it ends its work and leaves nothing half-written."""
        if self._hook:
            self._hook.send_sigterm()


class StartRunOperator(PipelineOperator):
    """Specifies the run, and skips the tasks of models that the run does without.

    Args:
        members: task ids by the member of foreach stages that they belong to: by model.
    """

    def __init__(self, *, members: dict[str, list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members = members

    def execute(self, context: Context) -> None:
        """Run the command, then skip what the run's models leave out."""
        super().execute(context)
        chosen = model_names(context["params"].get("models") or [])
        if chosen:
            left_out = [ids for member, ids in self.members.items() if member not in chosen]
            raise DownstreamTasksSkipped(tasks=[task_id for ids in left_out for task_id in ids])


def _environment() -> dict[str, str]:
    """The variables for the command: Airflow's own, its token among them, stay here."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "_AIRFLOW"))}
    bin_folder = str(PROJECT / ".venv" / "bin")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "DVC_NO_ANALYTICS": "1"}
    return {
        **kept,
        **quiet,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def start_run(graph: StageGraph, *, whole: bool = True) -> StartRunOperator:
    """The task that specifies the run, from the data interval and the DAG's params.

    Args:
        graph: the stages of the DAG.
        whole: whether the DAG has the params of `RUN_PARAMS`, not just those of the window.
    """
    end = "{{ params.end or (dag_run.data_interval_end or dag_run.run_after).isoformat() }}"
    arguments = [
        "start-run", "--run", RUN, "--end", end,
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
    for stage in graph.stages:
        if "@" in stage.name:
            members.setdefault(stage.name.partition("@")[2], []).append(_task_id(stage.name))
    return StartRunOperator(
        task_id="start_run",
        members=members,
        arguments=arguments,
        stage="start_run",
        execution_timeout=timedelta(minutes=10),
        doc_md="Fixes the run's commit, data window and parameters, for every task of it to use.",
    )


def run_stage(stage: str, **options: Any) -> PipelineOperator:
    """The task that runs a stage or an operation of the run."""
    options.setdefault("task_id", stage.rpartition("@")[2])
    return PipelineOperator(
        arguments=["run-stage", stage, "--run", RUN], stage=stage, do_xcom_push=False, **options
    )


def stage_tasks(graph: StageGraph, *, whole: bool = True) -> dict[str, PipelineOperator]:
    """Add `start_run`, one task per stage, foreach stages as groups, and their order.

    Returns:
        The tasks, by the stage's name.
    """
    tasks: dict[str, PipelineOperator] = {"start_run": start_run(graph, whole=whole)}
    for name, members in groupby(graph.stages, key=lambda stage: stage.name.partition("@")[0]):
        stages = list(members)
        is_foreach = stages[0].name != name
        with TaskGroup(name) if is_foreach else nullcontext():
            tasks |= {stage.name: _stage_task(stage) for stage in stages}
    for upstream, downstream in sorted(graph.edges):
        tasks[upstream].set_downstream(tasks[downstream])
    begun = {downstream for _, downstream in graph.edges}
    for stage in graph.stages:
        if stage.name not in begun:
            tasks["start_run"].set_downstream(tasks[stage.name])
    return tasks


def _stage_task(stage: Stage) -> PipelineOperator:
    options: dict[str, Any] = {}
    if stage.resources == "gpu":
        options["pool"] = "gpu"
    if stage.queue is not None:
        options["queue"] = stage.queue
    if stage.retries is not None:
        options["retries"] = stage.retries
    if stage.timeout_minutes is not None:
        options["execution_timeout"] = timedelta(minutes=stage.timeout_minutes)
    if stage.name == "build_interactions":
        options["outlets"] = [INTERACTIONS]
    # models that a run does without are skipped; what follows goes on with the others
    options["trigger_rule"] = "none_failed"
    doc = f"{stage.desc}\n\nResources: {stage.resources}\n\n```\n{stage.command}\n```"
    return run_stage(stage.name, doc_md=doc, **options)


def _task_id(stage: str) -> str:
    return stage.replace("@", ".")


def project_graph() -> StageGraph:
    """The graph of the project's dvc.yaml."""
    return load_graph(PROJECT)
