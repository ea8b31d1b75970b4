"""How raw logs are laid out and what is taken from them: section `ingest` of params.yaml.

docs/your-logs.md explains the settings with examples.
"""

import codecs
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from diffrec_core.common.config import Config, StringTuple, UtcTime
from diffrec_core.ingestion.timestamps import FIRST, check_timestamp_format, check_timezone

NULL_MARKERS: Final = ("NULL", "null", "\\N", "NaN", "nan", "None", "<NA>", "NaT")
"""Texts that databases and data frames write for a missing value."""

_BYTES_OF_LINE_ENDS: Final = "\n\r"

Column = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)]
"""A column by name (nested fields: dotted path), or by position from 0 where there is no header."""

Character = Annotated[str, Field(min_length=1, max_length=1)]


def _check_encoding(name: str) -> str:
    try:
        codec = codecs.lookup(name)
        "a".encode(name)
    except LookupError:
        raise ValueError("is not an encoding of text; utf-8, latin-1, cp1252, … are") from None
    return codec.name


def _check_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(check_timestamp_format(each) for each in formats)


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


TimestampFormats = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    Strict(strict=False),
    BeforeValidator(_as_tuple),
    AfterValidator(_check_formats),
]


class ColumnMapping(Config):
    """Our names -> the columns of the log."""

    user_id: Column
    item_id: Column
    timestamp: Column

    event_type: Column | None = None
    """What happened (view, buy, …); null: the log does not say."""

    value: Column | None = None
    """How much (a rating, a play count, …); null: the log does not say."""


class TitleColumns(Config):
    """Our names -> the columns of the titles file."""

    item_id: Column
    title: Column


class LogFormat(Config):
    """How a raw file is laid out. Text may be compressed with gzip or zstd."""

    format: Literal["delimited", "jsonl", "parquet"] = "delimited"
    """jsonl: an object a line, or objects and arrays of objects over any number of lines."""

    delimiter: Annotated[str, Field(min_length=1)] = ","
    """Between the fields of delimited text; may have several characters."""

    header: bool = True
    """Whether delimited text begins with a line of column names; false: columns are positions."""

    quote: Character | None = '"'
    """Around fields of delimited text that hold the delimiter or a line end, doubled inside them;
    null: quotes mean nothing."""

    escape: Character | None = None
    """Before a quote, delimiter or line end that means nothing, a backslash say; null: none."""

    comment: Annotated[str, Field(min_length=1)] | None = None
    """Lines of delimited text that begin with this are no records; null: all are."""

    skip_lines: int = Field(default=0, ge=0)
    """Lines before the header (a preamble) that are not read."""

    trailing_delimiter: bool = False
    """Whether every record of delimited text ends with one delimiter more than the header has."""

    encoding: Annotated[str, AfterValidator(_check_encoding)] = "utf-8"
    """Of text, in Python's names. A byte order mark in the file overrides it."""

    null_markers: StringTuple = NULL_MARKERS
    """Texts that mean a missing value, beside the empty text."""

    @property
    def may_grow(self) -> bool:
        """Whether the first bytes of a file are what they were when more are appended to it."""
        return self.format != "parquet"

    @model_validator(mode="after")
    def _delimiter_can_split(self) -> Self:
        if self.delimiter in {"\\t", "tab"}:
            raise ValueError(
                f"delimiter = {self.delimiter!r} is not the tab character: "
                f'write it in double quotes, "\\t"'
            )
        if set(self.delimiter) & {*_BYTES_OF_LINE_ENDS, self.quote}:
            raise ValueError(f"delimiter = {self.delimiter!r} holds a line end or the quote")
        if self.escape is not None and self.escape in {self.quote, *self.delimiter, "\n", "\r"}:
            raise ValueError(f"escape = {self.escape!r} is the quote, the delimiter or a line end")
        return self

    def check_columns(self, columns: Config) -> None:
        """Check that columns are named the way this format names them, and apart from each other.

        Raises:
            ValueError: a column is a position where names are needed or the other way round, or
                two fields are mapped to the same column.
        """
        by_position = self.format == "delimited" and not self.header
        mapped = {key: column for key, column in columns if column is not None}
        for field, column in mapped.items():
            if by_position and not isinstance(column, int):
                raise ValueError(
                    f"columns.{field} = {column!r}: without a header, columns are positions (0, 1)"
                )
            if not by_position and not isinstance(column, str):
                raise ValueError(
                    f"columns.{field} = {column!r}: must be the name of a column "
                    f"(positions are for delimited text with header: false)"
                )
            same = [other for other in mapped if mapped[other] == column and other != field]
            if same:
                raise ValueError(f"columns.{field} and columns.{same[0]} are both {column!r}")


class TitlesFormat(LogFormat):
    """How the titles file is laid out."""

    columns: TitleColumns

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        self.check_columns(self.columns)
        return self


class IngestConfig(LogFormat):
    """Section `ingest` of params.yaml: how to read the raw logs, and how bad they may be."""

    columns: ColumnMapping

    timestamp_format: TimestampFormats = ("seconds",)
    """seconds, milliseconds, microseconds or nanoseconds since 1970, iso8601, or a strptime
    pattern. Of a list, the first counts by which the time can be read and is plausible."""

    timezone: Annotated[str, AfterValidator(check_timezone)] | None = None
    """Zone of times without an offset, such as Europe/Berlin; null: UTC. Of an hour that happens
    twice the first is meant; a time that the change of clocks skips is rejected."""

    decimal: Literal[".", ","] = "."
    """Before the fraction of a number in text."""

    not_before: UtcTime = FIRST
    """Events before this time are rejected."""

    not_after: UtcTime | None = None
    """Events after this time are rejected; null: a day after the ingest runs."""

    event_types: StringTuple | None = None
    """Keep these only, the others are set aside; null: all."""

    without_user: Literal["reject", "set_aside"] = "reject"
    """Events without a user (guests): damage that max_rejected_share counts, or expected."""

    without_item: Literal["reject", "set_aside"] = "reject"
    """Events without an item (searches), likewise."""

    max_rejected_share: float = Field(default=0.01, ge=0, le=1)
    """A larger share of rejected rows fails the stage: of all rows, or, where more than ten of its
    rows were rejected, of a single file's."""

    titles: TitlesFormat | None = None
    """How to read the titles file; not needed when list_raw.titles is null."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.check_columns(self.columns)
        if self.not_after and self.not_after <= self.not_before:
            raise ValueError(
                f"not_before = {self.not_before} must be before not_after = {self.not_after}"
            )
        if self.event_types is not None and self.columns.event_type is None:
            raise ValueError("event_types needs columns.event_type")
        return self
