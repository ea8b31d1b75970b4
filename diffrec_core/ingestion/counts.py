"""Counts and samples of accepted, set-aside and rejected rows.

Written for whoever has to fix the source: file, row, reason and text of some rows of every reason;
all rejected rows are in quarantine.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import EVENT_TYPE, RAW, REASON, SOURCE_FILE, SOURCE_ROW
from diffrec_core.ingestion.raw_rows import NOT_DECODABLE, RawBatch
from diffrec_core.ingestion.validation import Validated, category

_EXAMPLES: Final = 5
_SAMPLES: Final = 3
_SAMPLE_LENGTH: Final = 200
_LISTED: Final = 50
_TOLERATED_PER_FILE: Final = 10
"""Rejected rows of a single file that are tolerated whatever their share: of a year's many files,
one of a few rows may well hold two bad ones."""

_FAR: Final = timedelta(days=365)
"""A part of a file that is at least as far from its bulk, and farther than the bulk is long, is
warned of."""

_HINTS: Final = {
    NOT_DECODABLE: "the text may be in another encoding: set `encoding` (latin-1, cp1252, …)",
    "quotes do not match": "if quotes are plain text in this log set `quote: null`; if they are "
    'escaped by a backslash, `escape: "\\\\"`',
    "wrong number of fields": "see `delimiter`, `trailing_delimiter`, `comment` and `skip_lines`",
    "timestamp cannot be parsed": "see `timestamp_format`, which may be a list, and `timezone`",
    "timestamp is out of range": "is `timestamp_format` the right unit? See also `not_before` and "
    "`not_after`",
    "user_id is missing": "if these are guests, set `without_user: set_aside`",
    "item_id is missing": "if these are events without an item, set `without_item: set_aside`",
}
"""Category of a reason -> the settings of `ingest` that may end it."""


@dataclass(slots=True)
class IngestCounts:
    """Outcomes of the rows.

    Attributes:
        files: raw files read.
        read: records in them, counted before they were judged; of lists, their elements.
        blank: blank lines and comments, which are no records.
        accepted: rows that became events.
        rejected: rows in quarantine.
        reasons: rejected rows by category of their reason.
        set_aside: rows that are no events and no damage, by name.
        normalised: values read as another text than is written, by field and name.
        lost: bad values of optional fields, by category.
        event_types: accepted rows by event type.
        days: accepted rows by day.
        examples: the first few rejections, as ``file:row: reason``.
        samples: of each category of reason, some rows: file, row, reason and text.
        lost_samples: the same of lost values.
        by_file: the same of each file, by its path.
        notes: warnings, as a report shows them.
    """

    files: int = 0
    read: int = 0
    blank: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    normalised: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    event_types: Counter[str] = field(default_factory=Counter)
    days: Counter[date] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lost_samples: list[str] = field(default_factory=list)
    by_file: dict[str, "IngestCounts"] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, batch: RawBatch, validated: Validated, days: Counter[date], path: str) -> None:
        """Count the rows of a batch of a file."""
        types = validated.events[EVENT_TYPE].drop_nulls().value_counts(sort=False)
        own = IngestCounts(
            read=batch.read,
            blank=batch.blank,
            accepted=validated.events.height,
            rejected=validated.quarantine.height,
            set_aside=validated.set_aside,
            normalised=validated.normalised,
            lost=validated.lost,
            event_types=Counter(dict(types.iter_rows())),
            days=days,
            lost_samples=[f"{path}:{row}: {text}" for row, text in validated.lost_examples],
        )
        if validated.quarantine.height:
            own._add_rejected(validated.quarantine)
        self._merge(own)

    def _add_rejected(self, quarantine: pl.DataFrame) -> None:
        kinds = quarantine.with_columns(category(pl.col(REASON)).alias("category"))
        self.reasons.update(dict(kinds["category"].value_counts(sort=False).iter_rows()))
        self.examples = [
            f"{row[SOURCE_FILE]}:{row[SOURCE_ROW]}: {row[REASON]}"
            for row in quarantine.head(_EXAMPLES).iter_rows(named=True)
        ]
        firsts = kinds.group_by("category", maintain_order=True).head(_SAMPLES)
        for row in firsts.iter_rows(named=True):
            self._sample(
                row["category"],
                {
                    "file": row[SOURCE_FILE],
                    "row": row[SOURCE_ROW],
                    "reason": row[REASON],
                    "text": row[RAW][:_SAMPLE_LENGTH],
                },
            )

    def _sample(self, kind: str, sample: dict[str, Any]) -> None:
        samples = self.samples.setdefault(kind, [])
        if len(samples) < _SAMPLES:
            samples.append(sample)

    def add_file(self, path: str, counts: "IngestCounts") -> None:
        """Count a file's rows among all."""
        self.files += 1
        self._merge(counts)
        self.by_file[path] = counts

    def _merge(self, counts: "IngestCounts") -> None:
        self.read += counts.read
        self.blank += counts.blank
        self.accepted += counts.accepted
        self.rejected += counts.rejected
        self.reasons += counts.reasons
        self.set_aside += counts.set_aside
        self.normalised += counts.normalised
        self.lost += counts.lost
        self.event_types += counts.event_types
        self.days += counts.days
        self.examples += counts.examples[: _EXAMPLES - len(self.examples)]
        self.lost_samples += counts.lost_samples[: _EXAMPLES - len(self.lost_samples)]
        for kind, samples in counts.samples.items():
            for sample in samples:
                self._sample(kind, sample)

    def check(self, max_rejected_share: float, quarantine: Path) -> None:
        """Check that every row is accounted for, and that enough of them can be used.

        A broken day is a small share of a year, so each file must keep the limit as well.

        Raises:
            DataError: no row was accepted, or too large a share was rejected, of all rows or of a
                file's.
            RuntimeError: rows were lost, which is a bug.
        """
        aside = self.set_aside.total()
        if self.accepted + aside + self.rejected != self.read:
            raise RuntimeError(
                f"{self.accepted} accepted + {aside} set aside + {self.rejected} rejected rows "
                f"are not the {self.read} that were read: rows were lost or doubled"
            )
        if not self.read:
            raise DataError(f"the {self.files} raw files hold no rows, only headers or blank lines")
        if self.rejected > max_rejected_share * self.read or not self.accepted:
            raise self._too_many("", max_rejected_share, quarantine)
        worst = [
            (path, counts)
            for path, counts in self.by_file.items()
            if counts.rejected > max(_TOLERATED_PER_FILE, max_rejected_share * counts.read)
        ]
        if worst:
            path, counts = max(worst, key=lambda each: each[1].rejected)
            others = [each for each, _ in worst if each != path]
            raise counts._too_many(f" of {path}", max_rejected_share, quarantine, others)

    def _too_many(
        self, of: str, max_rejected_share: float, quarantine: Path, others: Iterable[str] = ()
    ) -> DataError:
        each = " of each file too" if of else ""
        hints = [
            f"{kind}: {_HINTS[kind]}" for kind, _ in self.reasons.most_common() if kind in _HINTS
        ]
        aside = f"\n  set aside: {_listed(self.set_aside)}" if self.set_aside else ""
        also = f"\n  so it is in: {some(list(others))}" if others else ""
        advice = "".join(f"\n    {hint}" for hint in hints[:_EXAMPLES])
        return DataError(
            f"{self.rejected} of {self.read} rows{of} ({self.rejected / self.read:.2%}) were "
            f"rejected; ingest.max_rejected_share allows {max_rejected_share:.2%}{each}{also}\n"
            f"  reasons: {self.top_reasons()}{aside}\n  for example:\n    "
            + "\n    ".join(self.examples)
            + f"\n  all of them, with their raw text: {quarantine}\n"
            f"  Fix the logs, describe them better in `ingest` of params.yaml, "
            f"or allow a larger share{advice}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a report says of the rows."""
        worst = sorted(self.by_file.items(), key=lambda each: -each[1].rejected)[:_LISTED]
        facts: dict[str, Any] = {
            "files": self.files,
            "files_without_rows": len(self.files_without_rows),
            "rows_read": self.read,
            "blank_lines": self.blank,
            "accepted": self.accepted,
            "set_aside": self.set_aside.total(),
            "set_aside_by_name": dict(self.set_aside),
            "rejected": self.rejected,
            "rejected_by_reason": dict(self.reasons),
            "rejected_samples": self.samples,
            "rejected_by_file": {
                path: {"read": own.read, "rejected": own.rejected, "reasons": dict(own.reasons)}
                for path, own in worst
                if own.rejected
            },
            "normalised": dict(self.normalised),
            "values_lost": dict(self.lost),
            "values_lost_samples": self.lost_samples,
            "event_types": dict(self.event_types.most_common(_LISTED)),
            "warnings": self.notes,
        }
        return facts

    @property
    def files_without_rows(self) -> list[str]:
        """Paths of the files that held nothing but a header or blank lines."""
        return [path for path, counts in self.by_file.items() if not counts.read]

    def top_reasons(self) -> str:
        """The most frequent reasons with their counts."""
        return _listed(self.reasons)

    def far_outside(self) -> list[str]:
        """Of each file, the parts whose times lie far outside of its bulk: mixed units, clocks."""
        return [
            f"{path}: {rows} of {counts.accepted} events ({rows / counts.accepted:.2%}) lie far "
            f"from its others ({bulk[0]} to {bulk[1]}): {first} to {last}. Mixed units, a wrong "
            f"clock or a missing time? See ingest.not_before and not_after"
            for path, counts in self.by_file.items()
            for bulk, parts in [_parts(counts.days)]
            for first, last, rows in parts
        ]


def _parts(days: Counter[date]) -> tuple[tuple[date, date], list[tuple[date, date, int]]]:
    """Bulk of a file's days, and the parts that lie far outside of it with their rows."""
    clusters: list[tuple[date, date, int]] = []
    for day in sorted(days):
        if clusters and day - clusters[-1][1] < _FAR:
            first, _, rows = clusters[-1]
            clusters[-1] = (first, day, rows + days[day])
        else:
            clusters.append((day, day, days[day]))
    if len(clusters) < 2:
        return (date.min, date.min), []
    first, last, _ = max(clusters, key=lambda cluster: (cluster[2], cluster[1]))
    far = max(_FAR, last - first)
    parts = [(a, b, rows) for a, b, rows in clusters if first - b > far or a - last > far]
    return (first, last), parts


def some(names: list[str]) -> str:
    """The first few names, and how many more there are.

    >>> some(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
    return ", ".join(names[:_EXAMPLES]) + more


def _listed(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ({count})" for name, count in ordered[:5])
