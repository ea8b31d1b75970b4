"""Ingestion: the raw files of a run, one after the other, to events, quarantine and titles."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.schema import ITEM_ID, REASON, SOURCE_FILE, SOURCE_ROW, TITLE
from diffrec_core.ingestion.event_store import EventSpill, QuarantineFile
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.raw_rows import PROBLEM, RawBatch, Source
from diffrec_core.ingestion.readers import IngestConfig, TitlesFormat, read_batches
from diffrec_core.ingestion.validation import Validated, category, is_blank, validate

log = logging.getLogger(__name__)

TITLES: Final = pl.Schema({ITEM_ID: pl.String(), TITLE: pl.String()})
_EXAMPLES: Final = 5
_CHANCE: Final = 10
"""So many rejected rows of a single file are borne, whatever their share: of the many files of a
year, one of a few rows may well hold two bad ones."""


@dataclass(slots=True)
class IngestCounts:
    """What became of the rows.

    Attributes:
        files: raw files read.
        read: records in them, counted before they were taken apart.
        blank: blank lines, which are no records.
        accepted: rows that became events.
        rejected: rows in quarantine.
        reasons: rejected rows by category of their reason.
        examples: the first few rejections, as ``file:row: reason``.
        by_file: the same of each file, by its path.
    """

    files: int = 0
    read: int = 0
    blank: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    by_file: dict[str, "IngestCounts"] = field(default_factory=dict)

    def add(self, batch: RawBatch, validated: Validated) -> None:
        """Count the rows of a batch."""
        quarantine = validated.quarantine
        self.read += batch.read
        self.blank += batch.blank
        self.accepted += validated.events.height
        self.rejected += quarantine.height
        reasons = quarantine.select(category(pl.col(REASON))).to_series()
        self.reasons.update(dict(reasons.value_counts(sort=False).iter_rows()))
        room = _EXAMPLES - len(self.examples)
        for row in quarantine.head(room).iter_rows(named=True):
            self.examples.append(f"{row[SOURCE_FILE]}:{row[SOURCE_ROW]}: {row[REASON]}")

    def add_file(self, path: str, counts: "IngestCounts") -> None:
        """Count a file's rows among all."""
        self.files += 1
        self.read += counts.read
        self.blank += counts.blank
        self.accepted += counts.accepted
        self.rejected += counts.rejected
        self.reasons.update(counts.reasons)
        self.examples += counts.examples[: _EXAMPLES - len(self.examples)]
        self.by_file[path] = counts

    def check(self, max_rejected_share: float, quarantine: Path) -> None:
        """Check that every row is accounted for, and that enough of them can be used.

        A broken day is a small share of a year, so each file must keep the limit as well.

        Raises:
            DataError: no row was accepted, or too large a share was rejected, of all rows or of a
                file's.
            RuntimeError: rows were lost, which is a bug.
        """
        if self.accepted + self.rejected != self.read:
            raise RuntimeError(
                f"{self.accepted} accepted + {self.rejected} rejected rows are not the "
                f"{self.read} that were read: rows were lost or doubled"
            )
        if not self.read:
            raise DataError(f"the {self.files} raw files hold no rows, only headers or blank lines")
        if self.rejected > max_rejected_share * self.read or not self.accepted:
            raise self._too_many("", max_rejected_share, quarantine)
        for path, counts in self.by_file.items():
            if counts.rejected > max(_CHANCE, max_rejected_share * counts.read):
                raise counts._too_many(f" of {path}", max_rejected_share, quarantine)

    def _too_many(self, of: str, max_rejected_share: float, quarantine: Path) -> DataError:
        each = " of each file too" if of else ""
        return DataError(
            f"{self.rejected} of {self.read} rows{of} ({self.rejected / self.read:.2%}) were "
            f"rejected; ingest.max_rejected_share allows {max_rejected_share:.2%}{each}\n"
            f"  reasons: {self.top_reasons()}\n  for example:\n    "
            + "\n    ".join(self.examples)
            + f"\n  all of them, with their raw text: {quarantine}\n"
            f"  Mend the logs, describe them better in `ingest` of params.yaml, "
            f"or allow a larger share"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a report says of the rows."""
        return {
            "files": self.files,
            "files_without_rows": len(self.files_without_rows),
            "rows_read": self.read,
            "blank_lines": self.blank,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejected_by_reason": dict(self.reasons),
        }

    @property
    def files_without_rows(self) -> list[str]:
        """Paths of the files that held nothing but a header or blank lines."""
        return [path for path, counts in self.by_file.items() if not counts.read]

    def top_reasons(self) -> str:
        """The most frequent reasons with their counts."""
        ordered = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{reason} ({count})" for reason, count in ordered[:5])


def ingest_logs(
    logs: Iterable[RawFile],
    config: IngestConfig,
    spill: EventSpill,
    quarantine: QuarantineFile,
    advance: Callable[[int, int], None],
) -> IngestCounts:
    """Read the logs, one batch in memory at a time.

    Args:
        logs: the raw files.
        config: how to read them.
        spill: takes the accepted rows.
        quarantine: takes the rejected rows.
        advance: told the bytes and the rows read so far.

    Raises:
        ConfigError: a mapped column does not exist in a file.
        DataError: a file cannot be read in the configured format.
    """
    counts = IngestCounts()
    columns = config.columns.model_dump()
    finished = 0
    for file in logs:
        own, source = IngestCounts(files=1), Source(file.path, "ingest")
        for batch in read_batches(Path(file.path), config, columns, source, size=file.size):
            validated = validate(batch, file.path, config.timestamp_format)
            spill.add(validated.events)
            quarantine.add(validated.quarantine)
            own.add(batch, validated)
            advance(finished + batch.position, counts.read + own.read)
        finished += file.size
        counts.add_file(file.path, own)
    if empty := counts.files_without_rows:
        log.warning("%d files hold no rows: %s", len(empty), ", ".join(empty[:_EXAMPLES]))
    return counts


@dataclass(frozen=True, slots=True)
class Titles:
    """What items are called.

    Attributes:
        frame: columns TITLES, one row per item, in the order of the file.
        bad: rows that could not be read or lack the id or the title.
        duplicates: further rows of an item that already had a title; the first one counts.
    """

    frame: pl.DataFrame
    bad: int = 0
    duplicates: int = 0

    def to_json(self) -> dict[str, int]:
        """Return what a report says of the titles."""
        return {"titles": self.frame.height, "bad": self.bad, "duplicates": self.duplicates}


def read_titles(file: RawFile | None, layout: TitlesFormat | None) -> Titles:
    """Read the titles file, if there is one. Bad rows are counted, not fatal.

    Raises:
        ConfigError: a mapped column does not exist, or nothing says how to read the file.
        DataError: the file cannot be read in the configured format.
    """
    if file is None:
        return Titles(TITLES.to_frame())
    if layout is None:
        raise ConfigError(
            f"params.yaml: ingest.titles is required to read {file.path} (list_raw.titles): "
            f"give its format and columns, or set list_raw.titles to null"
        )
    source = Source(file.path, "ingest.titles")
    batches = read_batches(Path(file.path), layout, layout.columns.model_dump(), source)
    usable = pl.col(PROBLEM).is_null() & ~is_blank(pl.col(ITEM_ID)) & ~is_blank(pl.col(TITLE))
    read, kept = 0, [TITLES.to_frame()]
    for batch in batches:
        read += batch.read
        kept.append(batch.rows.filter(usable).select(TITLES.names()))
    rows = pl.concat(kept)
    frame = rows.unique(ITEM_ID, keep="first", maintain_order=True)
    titles = Titles(frame, bad=read - rows.height, duplicates=rows.height - frame.height)
    if titles.bad or titles.duplicates or not frame.height:
        log.warning(
            "%s: %d titles; %d rows without a readable id and title and %d repeated ids ignored",
            *(file.path, frame.height, titles.bad, titles.duplicates),
        )
    return titles
