"""Raw rows become typed events, are set aside, or go to quarantine. No row is lost between.

Three outcomes: accepted; set aside, which is expected and counted by name; rejected, which is
damage. A reason reads ``category: detail``. The detail quotes the text that was not accepted; the
category is what rejections are counted by.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from diffrec_core.data.schema import (
    EVENT_TYPE,
    ITEM_ID,
    RAW,
    REASON,
    SOURCE_FILE,
    SOURCE_ROW,
    TICK,
    TIMESTAMP,
    USER_ID,
    VALUE,
)
from diffrec_core.data.tables import QUARANTINE
from diffrec_core.ingestion.layout import IngestConfig
from diffrec_core.ingestion.normalising import MARKERS, clean, without_markers
from diffrec_core.ingestion.raw_manifest import Wanted
from diffrec_core.ingestion.raw_rows import EMPTY_LIST, PROBLEM, RawBatch
from diffrec_core.ingestion.timestamps import read_times

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TOLERANCE: Final = timedelta(days=1)
"""By how much a clock may be ahead of that of the ingest."""

_TIME: Final = "time"
_NUMBER: Final = "number"
_ASIDE: Final = "aside"
_QUOTED_LENGTH: Final = 100

NOT_WANTED: Final = "event type not wanted"
NOT_WANTED_DAMAGED: Final = "damaged, of an event type that build_interactions does not keep"
OUTSIDE_DAMAGED: Final = "damaged, outside of the window of build_interactions"
REPEATED_HEADER: Final = "header repeated between the rows"
_MAY_LACK: Final = {USER_ID: "without a user", ITEM_ID: "without an item"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What is read from a row, and what it is judged by.

    Attributes:
        config: section `ingest`.
        wanted: which events the run is about.
        last: the latest time that an event may have.
    """

    config: IngestConfig
    wanted: Wanted
    last: datetime

    @classmethod
    def of(cls, config: IngestConfig, wanted: Wanted, now: datetime) -> "Rules":
        """The rules of a run that ingests at a certain time."""
        return cls(config, wanted, config.not_after or now + _TOLERANCE)

    @property
    def times(self) -> tuple[int, int]:
        """The earliest and the latest time, microseconds since 1970."""
        return _ticks(self.config.not_before), _ticks(self.last)


@dataclass(frozen=True, slots=True)
class Validated:
    """The rows of a batch: each in one of two tables, or set aside and counted.

    Attributes:
        events: accepted rows, columns EVENTS, in the order of the file.
        quarantine: rejected rows, columns QUARANTINE, in the order of the file.
        set_aside: rows that are neither, by name.
        normalised: values that were read as another text than is written, by field and name.
        lost: bad values of optional fields, which are null now, by category.
        lost_examples: source row and description of the first of them.
    """

    events: pl.DataFrame
    quarantine: pl.DataFrame
    set_aside: Counter[str] = field(default_factory=Counter)
    normalised: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    lost_examples: list[tuple[int, str]] = field(default_factory=list)


def validate(batch: RawBatch, source_file: str, rules: Rules) -> Validated:
    """Read the fields of raw rows as what they mean.

    A row is rejected when it could not be taken apart, when its user, item or timestamp is
    missing, when an id holds a control character, or when its timestamp cannot be read or is not
    plausible; unless it is set aside. A bad or missing value or event type is null.

    Args:
        batch: rows with the fields user_id, item_id, timestamp, event_type and value.
        source_file: the name of their file.
        rules: what to go by.
    """
    result = Validated(pl.DataFrame(), QUARANTINE.to_frame())
    rows, controls = _cleaned(batch.rows, rules, result)
    rows = rows.with_columns(pl.lit(source_file).alias(SOURCE_FILE))
    checks = _checks(rules, controls)
    rejected = rows.select(pl.any_horizontal(fails for fails, _ in checks)).to_series()
    aside = _set_aside(rows, rejected, rules)
    result.set_aside.update(dict(aside.drop_nulls().value_counts().iter_rows()))
    rejected = rejected & aside.is_null()
    if not rejected.any():
        accepted = rows if not result.set_aside else rows.filter(aside.is_null())
        return _with(result, _events(accepted), result.quarantine)
    # reasons are long texts: they are written for rejected rows only
    reason = pl.coalesce(pl.when(fails).then(reason) for fails, reason in checks)
    quarantine = rows.filter(rejected).with_columns(
        batch.raw_text(rejected).alias(RAW), reason.alias(REASON)
    )
    events = _events(rows.filter(~rejected & aside.is_null()))
    return _with(result, events, quarantine.select(QUARANTINE.names()))


def _with(result: Validated, events: pl.DataFrame, quarantine: pl.DataFrame) -> Validated:
    counts = result.set_aside, result.normalised, result.lost, result.lost_examples
    return Validated(events, quarantine, *counts)


def category(reason: pl.Expr) -> pl.Expr:
    """The part of a reason that rejections are counted by."""
    return reason.str.split_exact(": ", 1).struct.field("field_0")


def is_blank(text: pl.Expr) -> pl.Expr:
    """Whether a text is missing: null, empty or white space."""
    return text.is_null() | (text.str.strip_chars() == "")


def _ticks(time: datetime) -> int:
    return (time - _EPOCH) // TICK


def _cleaned(
    raw: pl.DataFrame, rules: Rules, result: Validated
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The rows with cleaned ids and types, time and number; columns of control characters."""
    config = rules.config
    columns, controls = [], {}
    for name in (USER_ID, ITEM_ID, EVENT_TYPE):
        cleaned = clean(raw[name], config.null_markers)
        result.normalised.update({f"{name}: {k}": v for k, v in cleaned.changes.items()})
        texts = cleaned.texts
        if cleaned.control is not None and name == EVENT_TYPE:
            _lose(result, raw, cleaned.control, "event_type holds a control character", texts)
            texts = pl.select(
                pl.when(~cleaned.control.fill_null(value=False)).then(texts)
            ).to_series()
        elif cleaned.control is not None:
            controls[name] = f"{name} control"
            columns.append(cleaned.control.fill_null(value=False).alias(controls[name]))
        columns.append(texts.alias(name))
    time, written = _times(raw[TIMESTAMP], rules, result)
    number = _numbers(raw, config, result)
    return raw.with_columns(*columns, written, time.alias(_TIME), number.alias(_NUMBER)), controls


def _times(raw: pl.Series, rules: Rules, result: Validated) -> tuple[pl.Series, pl.Series]:
    """Microseconds since 1970, null where they cannot be read, and what is written."""
    if raw.dtype != pl.String:
        return raw, raw.cast(pl.String)  # typed in the file: no format to go by
    config = rules.config
    texts, markers = without_markers(raw, config.null_markers)
    _count(result, f"{TIMESTAMP}: {MARKERS}", markers)
    numbers = texts if config.decimal == "." else texts.str.replace(",", ".", literal=True)
    return read_times(numbers, config.timestamp_format, config.timezone, *rules.times), texts


def _numbers(raw: pl.DataFrame, config: IngestConfig, result: Validated) -> pl.Series:
    """Values as finite numbers, null where they are missing or bad; the bad ones are counted."""
    texts, markers = without_markers(raw[VALUE], config.null_markers)
    _count(result, f"{VALUE}: {MARKERS}", markers)
    if config.decimal != ".":
        texts = texts.str.replace(config.decimal, ".", literal=True)
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() > texts.null_count():
        unread = numbers.is_null() & texts.is_not_null()
        _lose(result, raw, unread, "value cannot be parsed", texts)
    infinite = ~numbers.is_finite()
    if infinite.any():
        _lose(result, raw, infinite.fill_null(value=False), "value is not finite", texts)
        numbers = pl.select(pl.when(~infinite).then(numbers)).to_series()
    return numbers


def _count(result: Validated, name: str, count: int) -> None:
    if count:
        result.normalised[name] += count


def _lose(
    result: Validated, raw: pl.DataFrame, bad: pl.Series, what: str, texts: pl.Series
) -> None:
    result.lost[what] += int(bad.sum())
    examples = zip(raw[SOURCE_ROW].filter(bad)[:3], texts.filter(bad)[:3], strict=True)
    result.lost_examples.extend(
        (row, f"{what}: {str(text)[:_QUOTED_LENGTH]!r}") for row, text in examples
    )


def _checks(rules: Rules, controls: dict[str, str]) -> list[tuple[pl.Expr, pl.Expr]]:
    """What must not be, each (never null) with its reason; the first that holds is given."""
    config, raw_time, time = rules.config, pl.col(TIMESTAMP), pl.col(_TIME)
    first, last = rules.times
    formats = " or ".join(config.timestamp_format)
    if config.timezone is not None:
        formats += f", or the clocks of {config.timezone} skip it"
    early = _quoting("timestamp is out of range: ", raw_time, f" is before {config.not_before:%F}")
    after = f"after {config.not_after:%F}" if config.not_after else "in the future"
    late = _quoting("timestamp is out of range: ", raw_time, f" is {after}")
    return [
        (pl.col(PROBLEM).is_not_null(), pl.col(PROBLEM)),
        *(
            (pl.col(name).is_null(), pl.lit(f"{name} is missing"))
            for name in (USER_ID, ITEM_ID, TIMESTAMP)
        ),
        *(
            (pl.col(flag), _quoting(f"{name} holds a control character: ", pl.col(name), ""))
            for name, flag in controls.items()
        ),
        (
            time.is_null(),
            _quoting("timestamp cannot be parsed: ", raw_time, f" is not {formats}"),
        ),
        ((time < first).fill_null(value=False), early),
        ((time > last).fill_null(value=False), late),
    ]


def _set_aside(rows: pl.DataFrame, rejected: pl.Series, rules: Rules) -> pl.Series:
    """The name under which a row is set aside, or null: before it is judged as damaged.

    Events of other types and times than the run is about are kept while they are whole (models
    may still learn what was seen), but what is damaged of them is no loss.
    """
    config, wanted = rules.config, rules.wanted
    whole = pl.col(PROBLEM).is_null()
    event_type, time = pl.col(EVENT_TYPE), pl.col(_TIME)
    names: list[tuple[pl.Expr, str]] = []
    if config.event_types is not None:
        names.append((whole & _is_other(event_type, config.event_types), NOT_WANTED))
    if rejected.any():
        damaged = whole & rejected
        names.append((pl.col(PROBLEM) == EMPTY_LIST, EMPTY_LIST))
        if wanted.event_types is not None and config.columns.event_type is not None:
            others = _is_other(event_type, wanted.event_types)
            names.append((damaged & others, NOT_WANTED_DAMAGED))
        plausible = time.is_between(*rules.times)
        if wanted.start:
            names.append((damaged & plausible & (time < _ticks(wanted.start)), OUTSIDE_DAMAGED))
        if wanted.end:
            names.append((damaged & plausible & (time >= _ticks(wanted.end)), OUTSIDE_DAMAGED))
        header = [
            pl.col(f) == str(getattr(config.columns, f)) for f in (USER_ID, ITEM_ID, TIMESTAMP)
        ]
        names.append((damaged & pl.all_horizontal(header), REPEATED_HEADER))
        for column, setting in ((USER_ID, config.without_user), (ITEM_ID, config.without_item)):
            if setting == "set_aside":
                names.append((damaged & pl.col(column).is_null(), _MAY_LACK[column]))
    if not names:
        return pl.Series(_ASIDE, [None], dtype=pl.String).new_from_index(0, rows.height)
    aside = pl.coalesce(pl.when(holds.fill_null(value=False)).then(pl.lit(n)) for holds, n in names)
    return rows.select(aside.alias(_ASIDE)).to_series()


def _is_other(event_type: pl.Expr, wanted: Sequence[str]) -> pl.Expr:
    return ~event_type.is_in(wanted).fill_null(value=False)


def _quoting(before: str, text: pl.Expr, after: str) -> pl.Expr:
    cut = pl.when(text.str.len_chars() > _QUOTED_LENGTH).then(pl.lit("…")).otherwise(pl.lit(""))
    quoted = [pl.lit(f"{before}'"), text.str.slice(0, _QUOTED_LENGTH), cut, pl.lit(f"'{after}")]
    return pl.concat_str(quoted)


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        USER_ID,
        ITEM_ID,
        pl.col(_TIME).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(TIMESTAMP),
        EVENT_TYPE,
        pl.col(_NUMBER).alias(VALUE),
        SOURCE_FILE,
        SOURCE_ROW,
    )
