"""Interactions by index and the vocabularies that give the indices their meaning; on disk too."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from uuid import uuid4

import polars as pl

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import INTERACTIONS_SCHEMA, TIMESTAMP, USER
from diffrec_core.data.seen import SEEN_FILE, read_seen, seen_of
from diffrec_core.data.tables import INTERACTIONS, read_table
from diffrec_core.data.vocabulary import UNKNOWN, Vocabulary, read_items, read_users


@dataclass(frozen=True, slots=True)
class Interactions:
    """Interactions by index, with the vocabularies that give the indices their meaning.

    Attributes:
        frame: the INTERACTIONS table, sorted by (user, timestamp, item id).
        users: the user vocabulary.
        items: the item vocabulary, with titles where known.
        seen: the SEEN table: all pairs of the interactions, and those that met otherwise.
    """

    frame: pl.DataFrame
    users: Vocabulary
    items: Vocabulary
    seen: pl.DataFrame

    def histories(self) -> Histories:
        """Every user's history; row u is user index u."""
        return Histories.from_frame(self.frame, len(self.users))

    def without_user(self, user_id: str) -> Self:
        """The same without an external id and its interactions; all others keep their indices."""
        index = self.users.indices([user_id])[0]
        if index == UNKNOWN:
            return self
        ids = list(self.users.ids)
        ids[index] = f"erased-{uuid4()}"
        others = pl.col(USER) != index
        return replace(
            self,
            frame=self.frame.filter(others),
            users=Vocabulary(tuple(ids)),
            seen=self.seen.filter(others),
        )

    def write(self, directory: Path) -> None:
        """Write interactions.parquet, seen.parquet, users.parquet and items.parquet."""
        self.frame.write_parquet(directory / "interactions.parquet", compression="zstd")
        self.seen.write_parquet(directory / SEEN_FILE, compression="zstd")
        self.users.to_users_frame().write_parquet(directory / "users.parquet", compression="zstd")
        self.items.to_items_frame().write_parquet(directory / "items.parquet", compression="zstd")


@dataclass(frozen=True, slots=True)
class KnownIds:
    """Ids in the order of the indices that an earlier run gave them."""

    users: tuple[str, ...] = ()
    items: tuple[str, ...] = ()


NOTHING_KNOWN = KnownIds()


def read_known_ids(directory: Path) -> KnownIds:
    """Read the vocabularies that `list_raw` has copied there, if any.

    Raises:
        ArtifactError: they are not vocabularies.
    """
    users, items = directory / "users.parquet", directory / "items.parquet"
    if not users.is_file():
        return NOTHING_KNOWN
    return KnownIds(read_users(users).ids, read_items(items).ids)


def read_interactions(directory: Path) -> Interactions:
    """Read the files of `Interactions.write`.

    Versions that were registered before there was a table of seen items have seen their
    interactions.

    Raises:
        ArtifactError: a file is missing or has other columns.
    """
    frame = read_interaction_table(directory / "interactions.parquet")
    return Interactions(
        frame,
        read_users(directory / "users.parquet"),
        read_items(directory / "items.parquet"),
        read_seen(directory) if (directory / SEEN_FILE).is_file() else seen_of(frame),
    )


def read_interaction_table(path: Path) -> pl.DataFrame:
    """Read one INTERACTIONS table.

    Raises:
        ArtifactError: the file is missing or has other columns or types.
    """
    frame = read_table(path)
    if frame.schema != INTERACTIONS:
        raise ArtifactError(f"{path} is not a {INTERACTIONS_SCHEMA} table: found {frame.schema}")
    return frame


def time_span(frame: pl.DataFrame) -> dict[str, str]:
    """Earliest and latest timestamp of a table that is not empty, ISO 8601: `first` and `last`."""
    times = pl.col(TIMESTAMP)
    first, last = frame.select(times.min().alias("first"), times.max().alias("last")).row(0)
    return {"first": first.isoformat(), "last": last.isoformat()}
