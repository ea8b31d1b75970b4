"""The files of a log of promotions, in the store that all machines share.

promotions/MODEL/000007.json          a record; only one process can create it
promotions/MODEL/applied/000007       the aliases were moved as the record says
promotions/MODEL/applying/000007-ID   a process is moving aliases, or was killed while it did
"""

import getpass
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self
from uuid import uuid4

from diffrec_core.common.errors import ArtifactError, ConfigError
from pipeline_steps.nights.store import ExistsError, Store

_RECORD = re.compile(r"\d{6,}\.json")
_ABANDONED = timedelta(days=1)
"""Age of an announcement whose process has surely ended."""

Action = Literal["promote", "rollback", "found"]
"""`found`: the alias was moved by a person, or by `register`, and the log followed."""


class ChampionMovedError(ConfigError):
    """Another champion was promoted since the one that a promotion is based on."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _author() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry of the log.

    Attributes:
        sequence: its number, from 1.
        version: the champion from here on; None if there is none.
        previous: the champion before.
        action: what happened.
        reason: in plain words.
        time: ISO 8601, UTC.
        by: user@host.
        numbers: what the gate measured; empty without a comparison.
    """

    sequence: int
    version: str | None
    previous: str | None
    action: Action
    reason: str
    time: str = field(default_factory=_now)
    by: str = field(default_factory=_author)
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def based_on(self) -> int:
        """The number that was the newest when this one was decided."""
        return self.sequence - 1

    def to_bytes(self) -> bytes:
        """JSON, in UTF-8."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactError: it is something else; `name` is that of its file.
        """
        try:
            return cls(**json.loads(content))
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                f"{name} in the store is not a record of a promotion ({error}): it was edited or "
                f"is of another version of this program"
            ) from error


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The log at one moment.

    Attributes:
        newest: the last record.
        is_applied: True if the aliases were once moved as it says.
        late: older records whose aliases a process may still move, or may have moved just now.
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
        self.model, self._store, self._folder = model, store, f"promotions/{model}"

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
            ChampionMovedError: its number is taken. Nothing was changed.
        """
        try:
            self._store.create(self._name(record.sequence), record.to_bytes())
        except ExistsError as error:
            other = self.read(record.sequence)
            raise ChampionMovedError(
                f"{self.model}: {other.by} was first: number {other.sequence} of the promotions "
                f"made version {other.version} champion ({other.action}, {other.time}). Nothing "
                f"was changed here. Compare with the new champion: python -m pipeline_steps gate"
            ) from error

    def snapshot(self) -> Snapshot | None:
        """The log as it is, None if it is empty.

        Aliases that are read afterwards, and that agree neither with the newest record nor with a
        late one, were moved by a person.
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

        A process that announced that less than a day ago may still be doing so.
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
