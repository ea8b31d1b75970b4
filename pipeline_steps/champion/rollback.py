"""Return to the previous champion, or to any version, at once and without the gate.

    rollback                     to the version that the alias `previous` points to
    rollback --to 3 --reason "clicks fell by half"

The version that is left becomes `previous`: a second rollback undoes the first. After a kill, the
same command completes the rollback, and does no other. Consumers of `models:/<name>@champion` get
the other version when they load it next.

Exit codes: 0 done, or nothing to do; 2 refused; 4 there is no such version; 5 MLflow is
unavailable.
"""

import logging
from pathlib import Path

from diffrec_core.common.errors import ConfigError
from pipeline_steps.champion.promotion_log import Promotions, open_promotions
from pipeline_steps.champion.promotion_store import Record
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.runtime.command import Inputs

log = logging.getLogger("pipeline")


class RollbackInputs(Inputs):
    """The target version."""

    to: str | None = None
    """Number of a version; by default `previous`."""

    reason: str = "no reason given"
    """Why, for the log."""


def run(inputs: RollbackInputs, register: RegisterConfig, params: Path) -> None:
    """Roll back, or complete an interrupted rollback."""
    with open_promotions(register, params) as promotions:
        interrupted = promotions.interrupted()
        newest = promotions.settle()
        before = versions.aliases(promotions.model).get(versions.CHAMPION)
        if interrupted and interrupted.action == "rollback" and not inputs.to:
            _say_completed(promotions, interrupted)
            return
        target = inputs.to or _previous(promotions)
        if target == before:
            log.info("%s version %s is champion already", promotions.model, target)
            return
        promotions.add(based_on=newest, version=target, action="rollback", reason=inputs.reason)
        log.info(
            "%s: rolled back from version %s to version %s, which is champion now",
            *(promotions.model, before, target),
        )


def _say_completed(promotions: Promotions, record: Record) -> None:
    """Another rollback now would undo the one that was killed: its retry is this command."""
    log.info(
        "%s: the rollback of %s from version %s to version %s was interrupted and is complete now; "
        "nothing else was done. To return to version %s: python -m pipeline_steps rollback --to %s",
        *(promotions.model, record.time, record.previous, record.version),
        *(record.previous, record.previous),
    )


def _previous(promotions: Promotions) -> str:
    previous = versions.aliases(promotions.model).get(versions.PREVIOUS)
    if previous is None:
        raise ConfigError(
            f"{promotions.model} has no alias {versions.PREVIOUS}: nothing was promoted over "
            f"another version yet. Name one: python -m pipeline_steps rollback --to VERSION"
        )
    return previous
