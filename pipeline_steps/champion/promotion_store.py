"""The files of a log of promotions, in the store that all machines share.

promotions/MODEL/000007.json          a record; one process alone can create it
promotions/MODEL/applied/000007       the aliases were moved as the record says
promotions/MODEL/applying/000007-ID   a process is moving aliases, or was killed while it did
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pipeline_steps.champion.promotion_record import Record
from pipeline_steps.nights.store import Store

_RECORD = re.compile(r"\d{6,}\.json")
_ABANDONED = timedelta(days=1)
"""Age of an announcement whose process has surely ended."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The log at one moment.

    Attributes:
        newest: the last record.
        is_applied: True if the aliases were once moved as it says.
        late: older records whose aliases a process may move yet, or may have moved just now.
    """

    newest: Record
    is_applied: bool
    late: Sequence[Record]


class PromotionStore:
    """The log of one model.

    Args:
        store: that all machines share.
        model: name of the registered model.
    """

    def __init__(self, store: Store, model: str) -> None:
        self._store, self._folder = store, f"promotions/{model}"

    def records(self) -> list[Record]:
        """The whole log, oldest first.

        Raises:
            ArtifactError: a record is not one.
        """
        return [self.read(sequence) for sequence in _sequences(self._names())]

    def newest(self) -> Record | None:
        """The last record, None in an empty log."""
        sequences = _sequences(self._names())
        return self.read(sequences[-1]) if sequences else None

    def read(self, sequence: int) -> Record:
        """A record by its number.

        Raises:
            ArtifactError: there is none.
        """
        name = self._name(sequence)
        return Record.parse(self._store.read(name), name)

    def create(self, record: Record) -> None:
        """Add a record.

        Raises:
            ExistsError: its number is taken.
        """
        self._store.create(self._name(record.sequence), record.to_bytes())

    def snapshot(self) -> Snapshot | None:
        """The log as it is, None if it is empty.

        Aliases that are read afterwards, and that agree neither with the newest record nor with a
        late one, were moved by somebody else.
        """
        newest = self.newest()  # first of all: whoever announces a move later applies no older one
        if newest is None:
            return None
        names = self._names()
        applied = {int(name) for name in _below("applied", names)}
        begun = [int(name.partition("-")[0]) for name in _below("applying", names)]
        first = min(begun, default=newest.sequence)
        older = [number for number in _sequences(names) if number < newest.sequence]
        late = [self.read(number) for number in older if number >= first or number not in applied]
        return Snapshot(newest, newest.sequence in applied, late)

    def mark_applied(self, record: Record) -> None:
        """Note that the aliases were moved as a record says."""
        self._store.write(f"{self._folder}/applied/{record.sequence:06d}", b"")

    @contextmanager
    def applying(self) -> Iterator[None]:
        """Announce that aliases are going to be moved; withdrawn if the block succeeds.

        What is applied must be read from the log within the block. An error leaves the
        announcement: a request to the registry may still be carried out.
        """
        sequence = max(_sequences(self._names()), default=0)
        name = f"{self._folder}/applying/{sequence:06d}-{uuid4().hex}"
        self._store.write(name, datetime.now(UTC).isoformat().encode())
        yield
        self._store.remove(name)

    def close(self, snapshot: Snapshot) -> None:
        """Now that the aliases agree with the log, forget who may have been moving them.

        Whoever announced that less than a day ago may be at it still.
        """
        for record in snapshot.late:
            self.mark_applied(record)
        for name in _below("applying", self._names()):
            path = f"{self._folder}/applying/{name}"
            begun = self._store.read_if_there(path)
            if begun and datetime.now(UTC) - datetime.fromisoformat(begun.decode()) > _ABANDONED:
                self._store.remove(path)

    def _names(self) -> list[str]:
        return [name.removeprefix(f"{self._folder}/") for name in self._store.names(self._folder)]

    def _name(self, sequence: int) -> str:
        return f"{self._folder}/{sequence:06d}.json"


def _sequences(names: Iterable[str]) -> list[int]:
    """Numbers of the records, sorted."""
    return sorted(int(name.removesuffix(".json")) for name in names if _RECORD.fullmatch(name))


def _below(folder: str, names: Iterable[str]) -> list[str]:
    prefix = f"{folder}/"
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
