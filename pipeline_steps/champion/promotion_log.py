"""The log of promotions: which version became champion when and why, and the aliases that follow.

The registry's aliases cannot be moved conditionally: of two that promote at once, the later one
would win, whatever it was compared with. So a promotion is a file in the store that all machines
share, `promotions/<model>/000007.json`. It names the number that it is based on and takes the next;
only one process can create that file. Aliases are moved afterwards. If a process dies in between,
the next command moves them: a mark beside the record says whether that has been done.

A process may also be slow, or killed, with its aliases half moved while others promote and roll
back: so each announces that it moves aliases, and reads the log once more afterwards. An alias that
a process may have been moving is moved to where the newest record has it. Any other was moved by a
person, outside of this log: the log then records where it points.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffrec_core.common.errors import ConfigError
from pipeline_steps.champion.promotion_store import Action, PromotionStore, Record, Snapshot
from pipeline_steps.nights.settings import settings
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.tracking import tracking
from pipeline_steps.registry.versions import CHALLENGER, CHAMPION, PREVIOUS

log = logging.getLogger("pipeline")


class Promotions(PromotionStore):
    """The log of one model, and the aliases of its registered versions.

    MLflow must have been pointed at its store (`tracking.tracking`).
    """

    def check_model(self, name: str, file: Path) -> None:
        """Check that a file is about the model of this log.

        Raises:
            ConfigError: it is about another one.
        """
        if name != self.model:
            raise ConfigError(
                f"{file} is about the model {name!r}, register.model_name in params.yaml is "
                f"{self.model!r}"
            )

    def settle(self) -> int:
        """Make the aliases and the log agree, after an interruption or a move by a person.

        Returns:
            Number of the record that they agree with, for decisions to be based on; 0: the log is
            empty. Another command may have added one since, whose aliases are not moved yet.

        Raises:
            ChampionMovedError: another command added a record at this moment.
        """
        snapshot = self.snapshot()
        if snapshot is None:
            return 0
        aliases = versions.aliases(self.model)
        newest: Record | None = snapshot.newest
        if _is_interrupted(snapshot, aliases):
            number = snapshot.newest.sequence
            log.warning("promotion %d was interrupted: moving its aliases now", number)
            newest = self.apply()
        elif aliases.get(CHAMPION) != snapshot.newest.version:
            return self._record_move(snapshot.newest, aliases.get(CHAMPION)).sequence
        self.close(snapshot)
        return newest.sequence if newest else 0

    def interrupted(self) -> Record | None:
        """The newest record, if its aliases are still to be moved, which `settle` does."""
        snapshot = self.snapshot()
        if snapshot and _is_interrupted(snapshot, versions.aliases(self.model)):
            return snapshot.newest
        return None

    def add(
        self,
        *,
        based_on: int,
        version: str,
        action: Action,
        reason: str,
        numbers: Mapping[str, Any] | None = None,
    ) -> Record:
        """Make a version champion: take the next number, then move the aliases.

        Raises:
            ChampionMovedError: the next number is taken. Nothing was changed.
            ArtifactError: there is no such version.
        """
        versions.get_version(self.model, version)
        record = Record(
            sequence=based_on + 1,
            version=version,
            previous=self._champion(based_on),
            action=action,
            reason=reason,
            numbers=numbers or {},
        )
        self.create(record)
        self.apply()
        return record

    def apply(self) -> Record | None:
        """Move the aliases to where the newest record has them, repeatedly if another is added.

        Each process reads the log once more after it has moved them. So of several processes that
        apply different records, the last one to do so has applied the newest.

        Returns:
            The newest record; None in an empty log.
        """
        with self.applying():
            record, applied = self.newest(), None
            while record != applied and record is not None:
                self._move_aliases(record)
                self.mark_applied(record)
                record, applied = self.newest(), record
        return applied

    def _champion(self, sequence: int) -> str | None:
        """The champion from a record on; before the first, where the alias points."""
        if sequence:
            return self.read(sequence).version
        return versions.aliases(self.model).get(CHAMPION)

    def _record_move(self, newest: Record, champion: str | None) -> Record:
        """Record that a person moved the alias."""
        target = "no version" if champion is None else f"version {champion}"
        reason = (
            f"the alias {CHAMPION} was moved outside of promotions: it points to {target}, where "
            f"the log had version {newest.version}"
        )
        log.warning("%s: %s. The log now says so", self.model, reason)
        self.mark_applied(newest)  # it was replaced: moving its aliases now would be too late
        record = Record(
            sequence=newest.sequence + 1,
            version=champion,
            previous=newest.version,
            action="found",
            reason=reason,
        )
        self.create(record)
        self.apply()
        return record

    def _move_aliases(self, record: Record) -> None:
        current = versions.aliases(self.model)
        wanted = {CHAMPION: record.version, PREVIOUS: record.previous}
        for alias, number in wanted.items():
            if number is not None and number != current.get(alias):
                versions.move_alias(self.model, alias, number)
        if record.version is None and CHAMPION in current:
            versions.remove_alias(self.model, CHAMPION)
        if record.version is None or record.action == "found":
            return
        if current.get(CHALLENGER) == record.version:
            versions.remove_alias(self.model, CHALLENGER)
        promoted = versions.get_version(self.model, record.version)
        versions.tag_version(promoted, {versions.PROMOTION: str(record.sequence)})


def _is_interrupted(snapshot: Snapshot, aliases: Mapping[str, str]) -> bool:
    """True if the aliases are where a process that moved, or is moving, them has left them."""
    newest, champion = snapshot.newest, aliases.get(CHAMPION)
    if not snapshot.is_applied:
        # of a move by a person, the alias is moved already
        before = set() if newest.action == "found" else {newest.previous}
        if champion in {newest.version, *before}:
            return True
    if champion == newest.version:
        return bool(snapshot.late) and newest.previous not in (None, aliases.get(PREVIOUS))
    return champion in {record.version for record in snapshot.late}


@contextmanager
def open_promotions(config: RegisterConfig, params: Path) -> Iterator[Promotions]:
    """The log of the registered model, with MLflow pointed at its store.

    The store of small files is that of the folder in which params.yaml lies.
    """
    with tracking(config.experiment):
        yield Promotions(settings(params.absolute().parent).store, config.model_name)
