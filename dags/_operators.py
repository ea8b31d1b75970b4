"""Operators: a task is one call of a verb of `pipeline_steps`, in the pipeline's environment."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from _project import PROJECT, command, environment, shared
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)


class PipelineOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not installed here
    """Runs a verb in the project's folder.

    Its exit code decides: 0 succeeds, 99 skips the task, a code of `shared.NOT_RETRYABLE` fails it
    for good, any other fails this try.

    Args:
        arguments: the verb and what follows it; templated.
        stage: the stage or operation that it is about, for alerts.
    """

    template_fields: Sequence[str] = ("arguments",)
    ui_color = "#e4ecf5"

    def __init__(self, *, arguments: list[str], stage: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments, self.stage = arguments, stage
        self._hook: SubprocessHook | None = None

    def execute(self, context: Context) -> None:
        """Run the command; its output is the task's log."""
        try:
            line = command(*filter(None, self.arguments))
        except FileNotFoundError as error:
            raise AirflowFailException(str(error)) from error
        self.log.info("%s", shlex.join(line))
        self._hook = SubprocessHook()
        code = self._hook.run_command(line, env=environment(), cwd=str(PROJECT)).exit_code
        if code == shared.SKIPPED:
            raise AirflowSkipException(f"{self.stage}: nothing to do")
        if code in shared.NOT_RETRYABLE:
            reason = shared.NOT_RETRYABLE[code]
            raise AirflowFailException(f"{self.stage}: exit code {code}: {reason}")
        if code != 0:
            raise AirflowException(f"{self.stage}: exit code {code}")

    def on_kill(self) -> None:
        """End the command as well; it stops its worker and leaves nothing half-written."""
        if self._hook:
            self._hook.send_sigterm()


class StartRunOperator(PipelineOperator):
    """Specifies the run, and skips the tasks of models that are not part of it.

    Args:
        members: task ids of foreach stages, by member: by model.
    """

    def __init__(self, *, members: Mapping[str, list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members = members

    def execute(self, context: Context) -> None:
        """Run the command, then skip the tasks of the other models."""
        super().execute(context)
        chosen = shared.model_names(" ".join(context["params"].get("models") or []))
        if chosen:
            others = [ids for member, ids in self.members.items() if member not in chosen]
            raise DownstreamTasksSkipped(tasks=[task_id for ids in others for task_id in ids])
