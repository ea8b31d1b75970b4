"""Vocabularies: the only place where external ids become indices and back."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.schema import INDEX, ITEM_ID, TITLE, USER_ID
from diffrec_core.data.tables import ITEMS, USERS, read_table

UNKNOWN = -1
"""The index of an id that is not in the vocabulary."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """External ids in index order.

    Attributes:
        ids: the id of index 0, 1, …; each occurs once.
        titles: of each id, or None; empty: no titles at all.
    """

    ids: tuple[str, ...]
    titles: tuple[str | None, ...] = ()
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the ids.

        Raises:
            ArtifactError: an id occurs twice, or titles and ids differ in number.
        """
        index = {external: position for position, external in enumerate(self.ids)}
        if len(index) != len(self.ids):
            raise ArtifactError(f"{len(self.ids) - len(index)} ids occur more than once")
        if self.titles and len(self.titles) != len(self.ids):
            raise ArtifactError(f"{len(self.ids)} ids but {len(self.titles)} titles")
        object.__setattr__(self, "_index", index)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """Hash of the ids in order."""
        digest = hashlib.sha256()
        for external in self.ids:
            encoded = external.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return digest.hexdigest()

    def indices(self, ids: Iterable[str]) -> NDArray[np.int32]:
        """Index of each id, `UNKNOWN` for one that is not in the vocabulary.

        >>> Vocabulary(("a", "b")).indices(["b", "?"]).tolist()
        [1, -1]
        """
        return np.fromiter((self._index.get(i, UNKNOWN) for i in ids), dtype=np.int32)

    def ids_of(self, indices: Iterable[int]) -> list[str]:
        """External id of each index."""
        return [self.ids[index] for index in indices]

    def title(self, index: int) -> str:
        """Title of an index, or else its id."""
        return (self.titles[index] if self.titles else None) or self.ids[index]

    def to_items_frame(self) -> pl.DataFrame:
        """Render as the ITEMS table."""
        titles: Sequence[str | None] = self.titles or [None] * len(self)
        return pl.DataFrame(
            {INDEX: range(len(self)), ITEM_ID: self.ids, TITLE: titles}, schema=ITEMS
        )

    def to_users_frame(self) -> pl.DataFrame:
        """Render as the USERS table."""
        return pl.DataFrame({INDEX: range(len(self)), USER_ID: self.ids}, schema=USERS)


def read_items(path: Path) -> Vocabulary:
    """Read an item vocabulary (`items.parquet`)."""
    frame = _read(path, ITEM_ID)
    titles = tuple(frame[TITLE]) if TITLE in frame.columns else ()
    return Vocabulary(tuple(frame[ITEM_ID]), titles if any(titles) else ())


def read_users(path: Path) -> Vocabulary:
    """Read a user vocabulary (`users.parquet`)."""
    return Vocabulary(tuple(_read(path, USER_ID)[USER_ID]))


def _read(path: Path, id_column: str) -> pl.DataFrame:
    """Read a vocabulary and check that its rows stand in index order."""
    frame = read_table(path, INDEX, id_column)
    if not np.array_equal(frame[INDEX].to_numpy(), np.arange(len(frame))):
        raise ArtifactError(f"{path}: the column {INDEX} must count 0, 1, 2, … in order")
    return frame
