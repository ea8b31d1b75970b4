"""Compare the newest version with the champion and decide which of them is to serve.

Both are loaded from the registry, each in a process of its own, and score the same histories, given
by external ids, in a window that neither was trained on. The decision goes to a file, to the
version's tags, to the report and to the version's MLflow run; nothing is promoted here:
`python -m pipeline_steps promote --gate reports/gate.json` carries it out.

With `--now`, the monitor's data checks run too (freshness, row counts, drift); an alarm is a flag,
and keeps the candidate back like one of `--flag`.

Exit codes: 0 decided, either way; 2 bad parameters; 3 bad data; 4 a version cannot be loaded; 5
MLflow is unavailable.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_json, read_manifest, write_json, write_text
from diffrec_core.common.config import UtcTime
from diffrec_core.common.errors import ArtifactError
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.guards import Quality
from diffrec_core.data.interactions import Interactions, read_interactions
from diffrec_core.data.schema import GATE_SCHEMA, INTERACTIONS_SCHEMA
from diffrec_core.monitoring.checks import Check
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.status import check_data
from diffrec_core.report.gate import add_gate_section
from pipeline_steps.champion.comparison import Comparison, compare
from pipeline_steps.champion.promotion_log import open_promotions
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.versions import Version
from pipeline_steps.runtime.command import Inputs
from pipeline_steps.runtime.sections import Seed

log = logging.getLogger("pipeline")


class GateInputs(Inputs):
    """The histories, the candidate, the night's data and the outputs."""

    interactions: Path = Path("data/interactions")
    """The histories and the window."""

    registration: Path = Path("reports/registration.json")
    """Names the candidate."""

    ingest_report: Path = Path("reports/stages/ingest.json")
    """Counts the rejected rows."""

    html: Path = Path("reports/report.html")
    """The report to add a section to."""

    out: Path = Path("reports/gate.json")
    """JSON to write."""

    flag: tuple[str, ...] = ()
    """A problem with the data of the night; keeps the candidate back unless
    gate.guards.allowed_flags has it; may be repeated."""

    now: UtcTime | None = None
    """The end of the night's data (ISO 8601): run the data checks of the section monitor as of
    then; without it, none run."""


def run(
    inputs: GateInputs,
    *,
    seed: Seed,
    gate: GateConfig,
    register: RegisterConfig,
    monitor: MonitorConfig,
    params: Path,
) -> None:
    """Compare, decide, and write the decision to the file, the report, the run and the tags."""
    registration = read_json(inputs.registration)
    read_manifest(inputs.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(inputs.interactions)
    checks = _check_data(interactions, inputs.now, monitor)
    alarms = [check.name for check in checks if check.status == "alarm"]
    quality = Quality(_rejected_share(inputs.ingest_report), [*inputs.flag, *alarms])
    with open_promotions(register, params) as promotions:
        promotions.check_model(registration["name"], inputs.registration)
        based_on = promotions.settle()
        candidate = versions.get_version(promotions.model, str(registration["version"]))
        champion = versions.by_alias(promotions.model, versions.CHAMPION)
        comparison = compare(
            interactions,
            candidate,
            champion,
            gate,
            quality=quality,
            seed=seed,
            seed_sd=registration["seed_sd"].get(gate.metric),
        )
        content = {
            "schema": GATE_SCHEMA,
            "model": promotions.model,
            "based_on": based_on,
            "config": gate.model_dump(mode="json"),
            "quality": {**asdict(quality), "checks": [check.to_json() for check in checks]},
            **_content(comparison, candidate, champion),
        }
        write_json(inputs.out, content)
        write_text(inputs.html, add_gate_section(_read_text(inputs.html), content))
        versions.log_files(candidate.run_id, [inputs.out, inputs.html])
        if champion is None or champion.number != candidate.number:
            versions.tag_version(candidate, _tags(content))
    log.info("gate: %s: %s", content["decision"], content["reason"])


def _check_data(
    interactions: Interactions, now: datetime | None, config: MonitorConfig
) -> tuple[Check, ...]:
    """Check the data of the night, as they were at its end."""
    if now is None:
        return ()
    rows = interactions.frame.lazy()
    checks = check_data(rows, rows, now, config)
    for check in checks:
        level = logging.WARNING if check.status in ("warn", "alarm") else logging.INFO
        log.log(level, "%s: %s: %s", check.name, check.status, check.message)
    return checks


def _rejected_share(path: Path) -> float | None:
    """Share of the rows that `ingest` has read; None if there were none."""
    counts = read_json(path)
    try:
        read = counts["rows_read"]
        return counts["rejected"] / read if read else None
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is not a report of ingest: it lacks {error}") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: run the stage that writes it") from error


def _content(
    comparison: Comparison, candidate: Version, champion: Version | None
) -> dict[str, Any]:
    decision, measures = comparison.decision, comparison.measures
    return {
        "decision": "promote" if decision.promote else "keep",
        "reason": decision.reason,
        "numbers": dict(decision.numbers),
        "guards": [asdict(guard) for guard in decision.guards],
        "window": comparison.window,
        "candidate": _contender(candidate, measures.get("candidate")),
        "champion": None if champion is None else _contender(champion, measures.get("champion")),
        "popularity": {"measures": measures.get("popularity")},
    }


def _contender(version: Version, measures: Mapping[str, float | None] | None) -> dict[str, Any]:
    return {
        "version": version.number,
        "uri": version.uri,
        "run_id": version.run_id,
        "training_end": version.tags.get("data_last"),
        "measures": measures,
    }


def _tags(gate: Mapping[str, Any]) -> dict[str, str]:
    """The decision, as tags of the version."""
    tags = {versions.GATE_DECISION: gate["decision"], versions.GATE_REASON: gate["reason"]}
    champion, numbers, window = gate["champion"], gate["numbers"], gate["window"]
    tags["gate_against"] = f"version {champion['version']}" if champion else "popularity"
    for name in ("metric", "candidate", "difference", "lower_bound", "margin", "users"):
        if name in numbers:
            tags[f"gate_{name}"] = str(numbers[name])
    if window is not None:
        tags["gate_window"] = f"{window['start']}/{window['end']}"
    return tags
