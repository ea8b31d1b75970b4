"""Make a version champion: as the gate decided, or by hand.

    promote --gate reports/gate.json            what `gate` decided
    promote 7 --reason "the fix for holidays"   a version that the gate would promote
    promote 7 --force --reason "..."            any version, whatever the gate says

The champion becomes `previous`; `rollback` returns to it. A decision counts for the
champion that it was compared with only: if another was promoted since, this is refused, and of two
promotions at once one fails. Promoting again what is promoted changes nothing.

Exit codes: 0 promoted, 99 the gate's decision is to keep the champion (Airflow counts that as
skipped), 2 refused, 4 there is no such version or file, 5 MLflow is away. Reads
params.yaml: register.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError, ConfigError
from pipeline_steps.champion.promotion_log import (
    GATE_SCHEMA,
    ChampionMovedError,
    Promotions,
    open_promotions,
)
from pipeline_steps.registry import versions
from pipeline_steps.runtime.command import command_line
from pipeline_steps.shared import SKIPPED

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to promote."""
    parser.add_argument("version", nargs="?", help="number of a registered version")
    parser.add_argument("--gate", type=Path, metavar="FILE", help="promote as decided there")
    parser.add_argument("--reason", help="why, for the log; needed with a version")
    parser.add_argument("--force", action="store_true", help="promote what the gate would not")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")


def main(args: argparse.Namespace) -> None:
    """Promote as the arguments say."""
    if (args.version is None) == (args.gate is None):
        raise ConfigError("promote needs either a version or --gate FILE; see --help")
    if args.gate:
        _as_decided(args)
    else:
        _by_hand(args)


def _as_decided(args: argparse.Namespace) -> None:
    gate = _read_gate(args.gate)
    if gate["decision"] != "promote":
        log.warning("not promoted: %s", gate["reason"])
        sys.exit(SKIPPED)  # the decision was to keep the champion
    number = str(gate["candidate"]["version"])
    with open_promotions(args.params) as promotions:
        promotions.check_model(gate["model"], args.gate)
        newest = promotions.settle()
        if _is_done(promotions, gate):
            log.info("%s version %s was promoted by this decision", promotions.model, number)
            return
        _check_champion(promotions, gate, newest)
        promotions.add(
            based_on=gate["based_on"],
            version=number,
            action="promote",
            reason=gate["reason"],
            numbers=gate["numbers"],
        )
        _say(promotions, number)


def _by_hand(args: argparse.Namespace) -> None:
    if not args.reason:
        raise ConfigError("promoting a version by hand needs --reason TEXT: it goes into the log")
    with open_promotions(args.params) as promotions:
        version = versions.get_version(promotions.model, args.version)
        newest = promotions.settle()
        if versions.aliases(promotions.model).get(versions.CHAMPION) == version.number:
            log.info("%s version %s is champion already", promotions.model, version.number)
            return
        _check_gate(version, force=args.force)
        promotions.add(
            based_on=newest, version=version.number, action="promote", reason=args.reason
        )
        _say(promotions, version.number)


def _read_gate(path: Path) -> dict[str, Any]:
    gate: dict[str, Any] = read_json(path)
    if gate.get("schema") != GATE_SCHEMA:
        raise ArtifactError(
            f"{path} has schema {gate.get('schema')!r}, expected {GATE_SCHEMA!r}: run "
            f"python -m pipeline_steps gate"
        )
    return gate


def _is_done(promotions: Promotions, gate: dict[str, Any]) -> bool:
    """Whether this very decision was carried out: a retry after a kill finds that."""
    newest = promotions.newest()
    return (
        newest is not None
        and newest.action == "promote"
        and newest.based_on == gate["based_on"]
        and newest.version == str(gate["candidate"]["version"])
    )


def _check_champion(promotions: Promotions, gate: dict[str, Any], newest: int) -> None:
    """Refuse a decision about another champion than the present one."""
    compared = gate["champion"]["version"] if gate["champion"] else None
    champion = versions.aliases(promotions.model).get(versions.CHAMPION)
    if champion == compared and newest == gate["based_on"]:
        return
    raise ChampionMovedError(
        f"the champion has moved since the gate compared: it was {_named(compared)} at promotion "
        f"{gate['based_on']}, and is {_named(champion)} at promotion {newest}. Compare again: "
        f"python -m pipeline_steps gate"
    )


def _named(number: str | None) -> str:
    return "absent" if number is None else f"version {number}"


def _check_gate(version: versions.Version, *, force: bool) -> None:
    decision = version.tags.get(versions.GATE_DECISION)
    if decision == "promote":
        return
    reason = version.tags.get(versions.GATE_REASON, "")
    found = f"decided to {decision}: {reason}" if decision else "has not compared it"
    if not force:
        raise ConfigError(
            f"{version.name} version {version.number} is not one that the gate would promote: the "
            f"gate {found}. Run python -m pipeline_steps gate, or add --force to bypass it"
        )
    log.warning("version %s bypasses the gate, which %s", version.number, found)


def _say(promotions: Promotions, number: str) -> None:
    previous = versions.aliases(promotions.model).get(versions.PREVIOUS)
    log.info(
        "%s version %s is now champion; before it was %s",
        *(promotions.model, number, _named(previous)),
    )


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
