"""The log of promotions: who became champion when and why, and the aliases that follow from it.

The registry's aliases cannot be moved conditionally: of two that promote at once, the later one
would win, whatever it was compared with. So a promotion is a file in the store that all machines
share, `promotions/<model>/000007.json`. It names the number that it is based on and takes the next;
only one can create that file. Aliases are moved afterwards. If a process dies in between, the next
command moves them: a mark beside the record says whether that has been done.

Somebody may move the alias by hand all the same. Then the log takes down what was found.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffrec_core.common.errors import ConfigError
from pipeline_steps.champion.promotion_record import Action, Record
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.store import ExistsError, Store
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.tracking import tracking
from pipeline_steps.registry.versions import CHALLENGER, CHAMPION, PREVIOUS

log = logging.getLogger("pipeline")

_RECORD = re.compile(r"\d{6,}\.json")


class ChampionMovedError(ConfigError):
    """What a promotion is based on is no longer so: somebody else was quicker."""


class Promotions:
    """The log of one model, and the aliases of its registered versions.

    MLflow must have been pointed at its store (`tracking.tracking`).

    Args:
        store: that all machines share.
        model: name of the registered model.
    """

    def __init__(self, store: Store, model: str) -> None:
        self._store, self.model = store, model
        self._folder = f"promotions/{model}"

    def check_model(self, name: str, file: Path) -> None:
        """Refuse a file that is about another model than this log.

        Raises:
            ConfigError: it is.
        """
        if name != self.model:
            raise ConfigError(
                f"{file} is about the model {name!r}, register.model_name in params.yaml is "
                f"{self.model!r}"
            )

    def records(self) -> list[Record]:
        """The whole log, oldest first.

        Raises:
            ArtifactError: a record is not one.
        """
        names = (name.rpartition("/") for name in self._store.names(self._folder))
        found = [n for folder, _, n in names if folder == self._folder and _RECORD.fullmatch(n)]
        return [self._read(int(name.removesuffix(".json"))) for name in sorted(found)]

    def newest(self) -> Record | None:
        """The last record, None in an empty log."""
        records = self.records()
        return max(records, key=lambda record: record.sequence, default=None)

    def settle(self) -> int:
        """Make the aliases and the log agree, whatever was interrupted or done by hand.

        Returns:
            Number of the newest record; 0: the log is empty.
        """
        newest = self.newest()
        if newest is None:
            return 0
        champion = versions.aliases(self.model).get(CHAMPION)
        if self._is_interrupted(newest, champion):
            log.warning("promotion %d was interrupted: moving its aliases now", newest.sequence)
            self.apply()
        elif champion != newest.version:
            self._take_down(newest, champion)
        newest = self.newest()
        return newest.sequence if newest else 0

    def interrupted(self) -> Record | None:
        """The newest record, if its aliases are still to be moved: `settle` will do that."""
        newest = self.newest()
        champion = versions.aliases(self.model).get(CHAMPION)
        return newest if newest and self._is_interrupted(newest, champion) else None

    def _is_interrupted(self, newest: Record, champion: str | None) -> bool:
        # any other champion was set by hand, and is taken down instead
        return not self._is_applied(newest) and champion in {newest.version, newest.previous}

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
        champion = versions.aliases(self.model).get(CHAMPION)
        record = Record.now(
            sequence=based_on + 1,
            version=version,
            previous=champion,
            action=action,
            reason=reason,
            numbers=numbers or {},
        )
        self._create(record)
        self.apply()
        return record

    def apply(self) -> None:
        """Move the aliases to where the newest record has them; again and again if need be.

        Whoever moves them looks at the log once more afterwards. So of several processes that
        apply different records, the last one to do so has applied the newest.
        """
        record = self.newest()
        while record is not None:
            self._move_aliases(record)
            self._store.write(self._mark(record), b"")
            newest = self.newest()
            if newest == record:
                return
            record = newest

    def _take_down(self, newest: Record, champion: str | None) -> None:
        found = "no version" if champion is None else f"version {champion}"
        reason = (
            f"the alias {CHAMPION} was moved outside of promotions: it points to {found}, where "
            f"the log had version {newest.version}"
        )
        log.warning("%s: %s. The log now says so", self.model, reason)
        record = Record.now(
            sequence=newest.sequence + 1,
            version=champion,
            previous=newest.version,
            action="found",
            reason=reason,
            numbers={},
        )
        self._create(record)
        self.apply()

    def _create(self, record: Record) -> None:
        try:
            self._store.create(self._name(record.sequence), record.to_bytes())
        except ExistsError as error:
            other = self._read(record.sequence)
            raise ChampionMovedError(
                f"{self.model}: {other.by} was quicker: number {other.sequence} of the promotions "
                f"made version {other.version} champion ({other.action}, {other.time}). Nothing "
                f"was changed here. Compare with the new champion: python -m pipeline_steps gate"
            ) from error

    def _move_aliases(self, record: Record) -> None:
        current = versions.aliases(self.model)
        wanted = {CHAMPION: record.version, PREVIOUS: record.previous}
        for alias, number in wanted.items():
            if number is not None and number != current.get(alias):
                versions.move_alias(self.model, alias, number)
        if record.version is None or record.action == "found":
            return
        if current.get(CHALLENGER) == record.version:
            versions.remove_alias(self.model, CHALLENGER)
        promoted = versions.get_version(self.model, record.version)
        versions.tag_version(promoted, {versions.PROMOTION: str(record.sequence)})

    def _read(self, sequence: int) -> Record:
        name = self._name(sequence)
        return Record.parse(self._store.read(name), name)

    def _is_applied(self, record: Record) -> bool:
        return self._store.read_if_there(self._mark(record)) is not None

    def _name(self, sequence: int) -> str:
        return f"{self._folder}/{sequence:06d}.json"

    def _mark(self, record: Record) -> str:
        return f"{self._folder}/applied/{record.sequence:06d}"


@contextmanager
def open_promotions(config: RegisterConfig, params: Path) -> Iterator[Promotions]:
    """The log of the registered model, with MLflow pointed at its store.

    The store of small files is that of the folder in which params.yaml lies.
    """
    with tracking(config.experiment):
        yield Promotions(settings(params.absolute().parent).store, config.model_name)
