"""Ingestion: the raw files of a run, one after the other, to events, quarantine and titles."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import polars as pl

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.schema import ITEM_ID, TITLE
from diffrec_core.ingestion.counts import IngestCounts, some
from diffrec_core.ingestion.event_store import EventSpill, QuarantineFile
from diffrec_core.ingestion.layout import IngestConfig, TitlesFormat
from diffrec_core.ingestion.normalising import clean
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.raw_rows import PROBLEM, Reader
from diffrec_core.ingestion.readers import open_log
from diffrec_core.ingestion.validation import Rules, is_blank, validate

log = logging.getLogger(__name__)

TITLES: Final = pl.Schema({ITEM_ID: pl.String(), TITLE: pl.String()})


def ingest_logs(
    logs: Sequence[RawFile],
    rules: Rules,
    spill: EventSpill,
    quarantine: QuarantineFile,
    advance: Callable[[int, int], None],
) -> IngestCounts:
    """Read the logs, one batch in memory at a time.

    The beginnings of all files are looked at before the first is read, and a damaged file stops
    none of the others from being read: one message names all faults.

    Args:
        logs: the raw files.
        rules: how to read them.
        spill: takes the accepted rows.
        quarantine: takes the rejected rows.
        advance: told the bytes and the rows read so far.

    Raises:
        ConfigError: a mapped column does not exist in a file.
        DataError: files cannot be read in the configured format, or are damaged.
    """
    counts = IngestCounts()
    faults: list[ConfigError | DataError] = []
    readers = _opened(logs, rules.config, faults)
    _raise_all(faults)
    _check_missing(readers, counts)
    finished = 0
    for file, reader in readers:
        own = IngestCounts(files=1)
        with _collected(faults):
            for batch in reader.batches():
                validated = validate(batch, file.path, rules)
                days = spill.add(validated.events)
                quarantine.add(validated.quarantine)
                own.add(batch, validated, days, file.path)
                advance(finished + batch.position, counts.read + own.read)
        finished += file.size
        counts.add_file(file.path, own)
    _raise_all(faults)
    _warn(counts, rules)
    return counts


@contextmanager
def _collected(faults: list[ConfigError | DataError]) -> Iterator[None]:
    """Add what is wrong with a file to the faults, which `_raise_all` raises together."""
    try:
        yield
    except (ConfigError, DataError) as error:
        faults.append(error)


def _raise_all(faults: Sequence[ConfigError | DataError]) -> None:
    """Raise the faults, if any: as an error of the data if all are, else of params.yaml."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        texts = "\n  ".join(map(str, faults))
        message = f"{len(faults)} files cannot be read:\n  {texts}"
        all_data = all(isinstance(fault, DataError) for fault in faults)
        raise DataError(message) if all_data else ConfigError(message)


def _opened(
    logs: Iterable[RawFile], config: IngestConfig, faults: list[ConfigError | DataError]
) -> list[tuple[RawFile, Reader]]:
    readers = []
    for file in logs:
        with _collected(faults):
            columns = config.columns.model_dump()
            readers.append((file, open_log(file, config, columns, timezone=config.timezone)))
    return readers


def _check_missing(readers: Sequence[tuple[RawFile, Reader]], counts: IngestCounts) -> None:
    """Refuse a mapping to an optional column that no file has; say which files lack it."""
    lacking: dict[str, list[str]] = {}
    for file, reader in readers:
        for field, error in reader.missing.items():
            lacking.setdefault(field, []).append(file.path)
            if len(lacking[field]) == len(readers):
                raise error
    for field, paths in lacking.items():
        _note(
            counts, f"{len(paths)} files have no column for {field}, which is null: {some(paths)}"
        )


def _note(counts: IngestCounts, warning: str) -> None:
    log.warning("%s", warning)
    counts.notes.append(warning)


def _warn(counts: IngestCounts, rules: Rules) -> None:
    """Say what somebody should know who takes the counts for good news."""
    if empty := counts.files_without_rows:
        _note(counts, f"{len(empty)} files hold no rows: {some(empty)}")
    if counts.lost:
        lost = ", ".join(f"{what} ({count})" for what, count in counts.lost.most_common())
        _note(counts, f"events kept without a bad value: {lost}; {'; '.join(counts.lost_samples)}")
    for part in counts.far_outside():
        _note(counts, part)
    config = rules.config
    wanted = config.event_types or rules.wanted.event_types or ()
    mapped = config.columns.event_type is not None
    absent = [each for each in wanted if mapped and not counts.event_types[each]]
    if absent:
        section = "ingest" if config.event_types else "build_interactions"
        found = ", ".join(f"{each} {n}" for each, n in counts.event_types.most_common(20))
        _note(
            counts,
            f"{section}.event_types: no event has the type {', '.join(absent)}; "
            f"found: {found or 'none'}",
        )
    if mapped and counts.accepted and not counts.event_types:
        _note(counts, f"columns.event_type = {config.columns.event_type!r}: no event has a type")


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

    Ids are normalised as those of events are: the two must meet.

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
    reader = open_log(file, layout, layout.columns.model_dump(), "ingest.titles")
    if file.has_grown():  # a log may, which is read as far as it was listed
        raise file.changed("it is larger than it was listed")
    usable = pl.col(PROBLEM).is_null() & pl.col(ITEM_ID).is_not_null() & ~is_blank(pl.col(TITLE))
    read, kept = 0, [TITLES.to_frame()]
    for batch in reader.batches():
        read += batch.read
        ids = clean(batch.rows[ITEM_ID], layout.null_markers).texts
        kept.append(batch.rows.with_columns(ids).filter(usable).select(TITLES.names()))
    rows = pl.concat(kept)
    frame = rows.unique(ITEM_ID, keep="first", maintain_order=True)
    titles = Titles(frame, bad=read - rows.height, duplicates=rows.height - frame.height)
    if titles.bad or titles.duplicates or not frame.height:
        log.warning(
            "%s: %d titles; %d rows without a readable id and title and %d repeated ids ignored",
            *(file.path, frame.height, titles.bad, titles.duplicates),
        )
    return titles
