"""Compare the newest version with the champion and decide which of them is to serve.

Both are loaded from the registry, each in a process of its own, and score the same histories, given
by external ids, in a window that neither was trained on. What the gate decides goes to a file, to
the version's tags, to the report and to the version's MLflow run; nothing is promoted here:
`python -m pipeline_steps promote --gate reports/gate.json` carries it out.

With `--now`, the data of the night are looked at as the monitor looks at them (freshness, row
counts, drift); an alarm is a flag, and keeps the candidate back like one of `--flag`.

Exit codes: 0 decided, either way; 2 bad parameters; 3 bad data; 4 a version cannot be loaded; 5
MLflow is away.
Reads params.yaml: seed, gate, register; monitor with `--now`.
"""

import argparse
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_json, read_manifest, write_json, write_text
from diffrec_core.common.errors import ArtifactError
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.decision import keep
from diffrec_core.contest.guards import Quality
from diffrec_core.data.interactions import Interactions, read_interactions
from diffrec_core.data.schema import GATE_SCHEMA, INTERACTIONS_SCHEMA
from diffrec_core.monitoring.checks import Check
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.status import check_data
from diffrec_core.report.gate import add_gate_section
from pipeline_steps.champion.comparison import Comparison, compare
from pipeline_steps.champion.promotion_log import open_promotions
from pipeline_steps.registry import versions
from pipeline_steps.registry.versions import Version
from pipeline_steps.runtime.command import Step, command_line, parse_time, read_params

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where things lie."""
    places = {
        "--interactions": ("data/interactions", "the histories and the window"),
        "--registration": ("reports/registration.json", "names the candidate"),
        "--ingest-report": ("reports/stages/ingest.json", "counts the rejected rows"),
        "--html": ("reports/report.html", "the report to add a section to"),
        "--out": ("reports/gate.json", "JSON to write"),
        "--params": ("params.yaml", "the parameters"),
    }
    for option, (default, meaning) in places.items():
        text = f"{meaning} ({default})"
        parser.add_argument(option, type=Path, default=Path(default), metavar="PATH", help=text)
    parser.add_argument(
        "--flag",
        action="append",
        default=[],
        metavar="NAME",
        help="something wrong with the data of the night; keeps the candidate back unless "
        "gate.guards.allowed_flags has it; may be repeated",
    )
    parser.add_argument(
        "--now",
        type=parse_time,
        metavar="TIME",
        help="the end of the night's data (ISO 8601): look for flags of that moment by the limits "
        "of the section monitor; without it, nobody looks",
    )


def main(args: argparse.Namespace) -> None:
    """Compare, decide, and write the decision wherever it is looked for."""
    step = Step(args=args, params=read_params(args.params))
    config, seed = step.section("gate", GateConfig), step.seed
    registration = read_json(args.registration)
    read_manifest(args.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(args.interactions)
    looked = _look(interactions, args.now, step)
    quality = Quality(_rejected_share(args.ingest_report), [*args.flag, *_flags(looked)])
    with open_promotions(args.params) as promotions:
        promotions.check_model(registration["name"], args.registration)
        based_on = promotions.settle()
        candidate = versions.get_version(promotions.model, str(registration["version"]))
        champion = versions.by_alias(promotions.model, versions.CHAMPION)
        comparison = _decide(
            interactions,
            config,
            candidate,
            champion,
            quality=quality,
            seed=seed,
            seed_sd=registration["seed_sd"].get(config.metric),
        )
        gate = {
            "schema": GATE_SCHEMA,
            "model": promotions.model,
            "based_on": based_on,
            "config": config.model_dump(mode="json"),
            "quality": {**asdict(quality), "checks": [check.to_json() for check in looked]},
            **_content(comparison, candidate, champion),
        }
        write_json(args.out, gate)
        write_text(args.html, add_gate_section(_read_text(args.html), gate))
        versions.log_files(candidate.run_id, [args.out, args.html])
        if champion is None or champion.number != candidate.number:
            versions.tag_version(candidate, _tags(gate))
    log.info("gate: %s: %s", gate["decision"], gate["reason"])


def _look(interactions: Interactions, now: datetime | None, step: Step) -> tuple[Check, ...]:
    """Check the data of the night, as they were at its end."""
    if now is None:
        return ()
    rows = interactions.frame.lazy()
    found = check_data(rows, rows, now, step.section("monitor", MonitorConfig))
    for check in found:
        level = logging.WARNING if check.status in ("warn", "alarm") else logging.INFO
        log.log(level, "%s: %s: %s", check.name, check.status, check.message)
    return found


def _flags(looked: Sequence[Check]) -> list[str]:
    return [check.name for check in looked if check.status == "alarm"]


def _decide(
    interactions: Interactions,
    config: GateConfig,
    candidate: Version,
    champion: Version | None,
    *,
    quality: Quality,
    seed: int,
    seed_sd: float | None,
) -> Comparison:
    if champion is not None and champion.number == candidate.number:
        return Comparison(keep(f"version {champion.number} is champion already"))
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        return compare(
            interactions,
            candidate,
            champion,
            config,
            quality=quality,
            seed=seed,
            seed_sd=seed_sd,
            folder=Path(folder),
        )


def _rejected_share(path: Path) -> float | None:
    """Of the rows that `ingest` read; None where it read none.

    Raises:
        ArtifactError: the file is not what `ingest` writes.
    """
    counts = read_json(path)
    try:
        read = counts["accepted"] + counts["rejected"]
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
        "candidate": _side(candidate, measures.get("candidate")),
        "champion": None if champion is None else _side(champion, measures.get("champion")),
        "popularity": {"measures": measures.get("popularity")},
    }


def _side(version: Version, measures: Mapping[str, float | None] | None) -> dict[str, Any]:
    return {
        "version": version.number,
        "uri": version.uri,
        "run_id": version.run_id,
        "training_end": version.tags.get("data_last"),
        "measures": measures,
    }


def _tags(gate: Mapping[str, Any]) -> dict[str, str]:
    """What the version says about the decision."""
    tags = {versions.GATE_DECISION: gate["decision"], versions.GATE_REASON: gate["reason"]}
    champion, numbers, window = gate["champion"], gate["numbers"], gate["window"]
    tags["gate_against"] = f"version {champion['version']}" if champion else "popularity"
    for name in ("metric", "candidate", "difference", "lower_bound", "margin", "users"):
        if name in numbers:
            tags[f"gate_{name}"] = str(numbers[name])
    if window is not None:
        tags["gate_window"] = f"{window['start']}/{window['end']}"
    return tags


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
