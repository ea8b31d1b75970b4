"""What distinguishes a table of recommendations from the one before, and its bounds."""

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from diffrec_core.contest.config import PublishConfig
from diffrec_core.contest.guards import Guard, Sense
from diffrec_core.data.schema import ITEM_ID, RANK, SOURCE, USER_ID

TOP: Final = 20
"""Ranks whose items are compared; fewer where a table is not as deep."""

_COMMON, _LONGEST = "common", "longest"
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class TableChanges:
    """A table beside the one before; each has at least one row.

    Attributes:
        users_before: users of the table before.
        users: of the new one.
        users_lost: only in the table before.
        users_new: only in the new one.
        rows_before: of the table before.
        rows: of the new one.
        top: ranks that `overlap` looks at.
        overlap: mean, over the users of both, of the items common to both lists in relation to the
            longer list; None if no user is in both.
        coverage_before: different items in the table before.
        coverage: in the new one.
        popularity_before: share of the users answered by popularity; None if that table does not
            say it.
        popularity: in the new one.
    """

    users_before: int
    users: int
    users_lost: int
    users_new: int
    rows_before: int
    rows: int
    top: int
    overlap: float | None
    coverage_before: int
    coverage: int
    popularity_before: float | None
    popularity: float | None

    def __str__(self) -> str:
        overlap = "of no user" if self.overlap is None else f"{self.overlap:.3f}"
        return (
            f"{self.users_before:,} → {self.users:,} users ({self.users_lost:,} lost, "
            f"{self.users_new:,} new), {self.rows_before:,} → {self.rows:,} rows, "
            f"{self.coverage_before:,} → {self.coverage:,} different items, "
            f"{_percent(self.popularity_before)} → {_percent(self.popularity)} of the users "
            f"answered by popularity, overlap of the top {self.top} {overlap}"
        )


def compare_tables(before: pl.DataFrame, new: pl.DataFrame) -> TableChanges:
    """Compare a table of RECOMMENDATIONS with the one before.

    Args:
        before: the table before; it may lack `source`.
        new: the new one.
    """
    old_users, new_users = (frame.select(USER_ID).unique() for frame in (before, new))
    both = len(old_users.join(new_users, on=USER_ID, how="semi"))
    top = min(TOP, *(int(frame.select(pl.col(RANK).max()).item()) for frame in (before, new)))
    return TableChanges(
        users_before=len(old_users),
        users=len(new_users),
        users_lost=len(old_users) - both,
        users_new=len(new_users) - both,
        rows_before=len(before),
        rows=len(new),
        top=top,
        overlap=_overlap(before, new, top),
        coverage_before=before[ITEM_ID].n_unique(),
        coverage=new[ITEM_ID].n_unique(),
        popularity_before=_popularity(before),
        popularity=_popularity(new),
    )


def check_changes(
    changes: TableChanges, limits: PublishConfig, *, expects_overlap: bool
) -> tuple[Guard, ...]:
    """Check every bound that is set and whose value is known.

    Args:
        changes: of the new table.
        limits: the bounds.
        expects_overlap: both tables are answers of one recipe; else other items are no fault, and
            the overlap has no bound.
    """
    c = changes
    rise = None
    if c.popularity is not None and c.popularity_before is not None:
        rise = c.popularity - c.popularity_before
    shares = f"{_percent(c.popularity_before)} before, {_percent(c.popularity)} now"
    found: tuple[tuple[str, str, float | None, str], ...] = (
        ("users lost", "max_lost_share", *_ratio(c.users_lost, c.users_before)),
        ("users new", "max_new_share", *_ratio(c.users_new, c.users_before)),
        ("rows", "min_rows_ratio", *_ratio(c.rows, c.rows_before)),
        ("overlap", "min_overlap", c.overlap if expects_overlap else None, f"of the top {c.top}"),
        ("different items", "min_coverage_ratio", *_ratio(c.coverage, c.coverage_before)),
        ("more users answered by popularity", "max_popularity_rise", rise, shares),
    )
    guards = (_guard(name, key, value, limits, detail) for name, key, value, detail in found)
    return tuple(guard for guard in guards if guard)


def _overlap(before: pl.DataFrame, new: pl.DataFrame, top: int) -> float | None:
    """Mean overlap of the lists of users who are in both tables."""
    lists = [
        frame.filter(pl.col(RANK) <= top).select(USER_ID, ITEM_ID).unique()
        for frame in (before, new)
    ]
    old_lengths, new_lengths = (pairs.group_by(USER_ID).len(_LONGEST) for pairs in lists)
    common = lists[0].join(lists[1], on=[USER_ID, ITEM_ID]).group_by(USER_ID).len(_COMMON)
    users = (
        old_lengths.join(new_lengths, on=USER_ID, suffix="_new")
        .join(common, on=USER_ID, how="left")
        .sort(USER_ID)  # a sum of floats depends on their order
    )
    longest = pl.max_horizontal(_LONGEST, f"{_LONGEST}_new")
    mean = users.select((pl.col(_COMMON).fill_null(0) / longest).mean()).item()
    return None if mean is None else float(mean)


def _popularity(table: pl.DataFrame) -> float | None:
    """Share of the users whose list is of popular items; None without the column."""
    if SOURCE not in table.columns:
        return None
    users = table.filter(pl.col(RANK) == 1)
    return float((users[SOURCE] == "popularity").sum() / len(users))


def _ratio(value: int, base: int) -> tuple[float, str]:
    return value / base, f"{value:,} against {base:,}"


def _guard(
    name: str, key: str, value: float | None, limits: PublishConfig, detail: str
) -> Guard | None:
    """Guard of a value; None where it is not known, or there is no bound."""
    limit: Any = getattr(limits, key)
    if value is None or limit is None:
        return None
    sense: Sense = "at least" if key.startswith("min_") else "at most"
    kept = value >= limit - _ROUNDING if sense == "at least" else value <= limit + _ROUNDING
    return Guard(name, key, value, sense, float(limit), kept, detail)


def _percent(share: float | None) -> str:
    """A share in words.

    >>> _percent(0.012), _percent(None)
    ('1.2 %', 'unknown')
    """
    return "unknown" if share is None else f"{100 * share:.1f} %"
