"""Make a version champion: as the gate decided, or by hand.

    promote --gate reports/gate.json            what `gate` decided
    promote 7 --reason "the fix for holidays"   a version that the gate would promote
    promote 7 --force --reason "..."            any version, whatever the gate says

The champion becomes `previous`; `rollback` returns to it. A decision is valid only against the
champion of its comparison: if another was promoted since, it is refused, and of two promotions at
once one fails. Promoting the champion again changes nothing.

Exit codes: 0 promoted, 99 the gate's decision is to keep the champion (Airflow counts that as
skipped), 2 refused, 4 there is no such version or file, 5 MLflow is unavailable.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

from diffrec_core.common.artifacts import check_schema, read_json
from diffrec_core.common.errors import ConfigError
from diffrec_core.data.schema import GATE_SCHEMA
from pipeline_steps.champion.promotion_log import Promotions, open_promotions
from pipeline_steps.champion.promotion_store import ChampionMovedError
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.runtime.command import POSITIONAL, Inputs
from pipeline_steps.shared import SKIPPED

log = logging.getLogger("pipeline")


class PromoteInputs(Inputs):
    """A decision of the gate, or a version."""

    version: Annotated[str | None, POSITIONAL] = None
    """Number of a registered version."""

    gate: Path | None = None
    """The gate's decision to carry out."""

    reason: str | None = None
    """Why, for the log; needed with a version."""

    force: bool = False
    """Promote a version that the gate would not."""


def run(inputs: PromoteInputs, register: RegisterConfig, params: Path) -> None:
    """Carry out the gate's decision, or promote a version by hand."""
    if (inputs.version is None) == (inputs.gate is None):
        raise ConfigError("promote needs either a version or --gate FILE; see --help")
    if inputs.gate is not None:
        _as_decided(inputs.gate, register, params)
    else:
        _manually(inputs, register, params)


def _as_decided(path: Path, register: RegisterConfig, params: Path) -> None:
    gate = read_json(path)
    check_schema(gate, GATE_SCHEMA, path, "run python -m pipeline_steps gate")
    if gate["decision"] != "promote":
        log.warning("not promoted: %s", gate["reason"])
        sys.exit(SKIPPED)  # the decision was to keep the champion
    number = str(gate["candidate"]["version"])
    with open_promotions(register, params) as promotions:
        promotions.check_model(gate["model"], path)
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
        _log_promotion(promotions, number)


def _manually(inputs: PromoteInputs, register: RegisterConfig, params: Path) -> None:
    if not inputs.reason:
        raise ConfigError("promoting a version by hand needs --reason TEXT: it goes into the log")
    with open_promotions(register, params) as promotions:
        version = versions.get_version(promotions.model, str(inputs.version))
        newest = promotions.settle()
        if versions.aliases(promotions.model).get(versions.CHAMPION) == version.number:
            log.info("%s version %s is champion already", promotions.model, version.number)
            return
        _check_gate(version, force=inputs.force)
        promotions.add(
            based_on=newest, version=version.number, action="promote", reason=inputs.reason
        )
        _log_promotion(promotions, version.number)


def _is_done(promotions: Promotions, gate: dict[str, Any]) -> bool:
    """True if this very decision was carried out, such as before a kill."""
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


def _log_promotion(promotions: Promotions, number: str) -> None:
    previous = versions.aliases(promotions.model).get(versions.PREVIOUS)
    log.info(
        "%s version %s is now champion; before it was %s",
        *(promotions.model, number, _named(previous)),
    )
