"""Publish a red status page for a night whose data could not be read.

  report-unreadable-data --run RUN --stages list_raw ingest build_interactions

The DAGs run this if a task before `monitor` has failed, when the page would still show the verdict
of the day before. Publishes status.json and status.html as `monitor` does: the check `data` in
alarm, with the last lines of the first failed stage's log; the ages of champion, weights and
published table; all other checks unknown.

It needs neither a workspace nor outputs of stages. Reads the parameters of the run (monitor,
register), or params.yaml if the run was never specified. Exit codes: 0 published; 99 with
--dry-run.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ruamel.yaml import YAML

from diffrec_core.common.artifacts import canonical_json
from diffrec_core.common.config import load_section
from diffrec_core.common.errors import ArtifactError, ConfigError
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.report.status import render_status
from pipeline_steps.monitoring.monitor import unreadable
from pipeline_steps.nights.runs import End, Run, ends, run_name
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.store import Store
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.runtime.command import Inputs, repository_root
from pipeline_steps.runtime.sections import read_params
from pipeline_steps.shared import DONE, SKIPPED

log = logging.getLogger("pipeline")


class ReportUnreadableDataInputs(Inputs):
    """The run, and its stages before the checks."""

    run: str
    """Name of the run, as given to start-run."""

    stages: tuple[str, ...]
    """In order."""

    dry_run: bool = False
    """Publish nothing."""


def run(inputs: ReportUnreadableDataInputs) -> None:
    """Publish the status.

    Raises:
        StorageError: it cannot be written.
    """
    if inputs.dry_run:
        log.info("dry run: nothing is published")
        sys.exit(SKIPPED)
    nightly, name = settings(), run_name(inputs.run)
    run = _specified(nightly.store, name)
    why = _why(name, inputs.stages, ends(nightly.store, name))
    try:
        params = _params(run)
        config = load_section(params, "monitor", MonitorConfig)
        model = load_section(params, "register", RegisterConfig).model_name
    except ConfigError as error:  # which is why the run was not specified
        why, config, model = f"{why}\n{error}", MonitorConfig(), RegisterConfig().model_name
    now = datetime.fromisoformat(run.spec.end) if run and run.spec.end else datetime.now(UTC)
    status = unreadable(why, model, now, config)
    page = render_status(status, config.runbook)
    content = canonical_json(status.to_json()).encode()
    nightly.published.write_all(
        {"status/status.json": content, "status/status.html": page.encode()}
    )
    log.info("published status/status.html: %s", why)


def _specified(store: Store, name: str) -> Run | None:
    try:
        return Run.load(store, name)
    except ArtifactError:
        return None


def _params(run: Run | None) -> Mapping[str, Any]:
    if run is None:
        return read_params(repository_root() / "params.yaml")
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(run.params)
    return params


def _why(run: str, stages: Sequence[str], ended: Mapping[str, End]) -> str:
    """The last log lines of the first failed stage."""
    for stage in stages:
        end = ended.get(stage)
        if end and end.exit_code not in DONE:
            return f"{stage} of run {run} ended with exit code {end.exit_code}:\n{end.said}"
    return f"a task of run {run} up to {stages[-1]} failed or was lost: see its log in Airflow"
