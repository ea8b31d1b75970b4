"""How raw logs are laid out, and reading them: one text per mapped field, nothing interpreted yet.

Three formats, one result: batches of `source_row`, `problem` and the mapped fields. What the
texts mean is `validation`'s business; a row that cannot even be taken apart has its `problem`
set and goes on, to be rejected there with all others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from diffrec_core.common.config import Config
from diffrec_core.ingestion.delimited import read_delimited
from diffrec_core.ingestion.jsonl import read_jsonl
from diffrec_core.ingestion.parquet import read_parquet
from diffrec_core.ingestion.raw_rows import Columns, RawBatch, Source
from diffrec_core.ingestion.timestamps import check_timestamp_format

Column = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)]
"""A column by name (JSON lines: dotted path), or by position from 0 where there is no header."""


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
    """How a raw file is laid out. Text may be compressed with gzip."""

    format: Literal["delimited", "jsonl", "parquet"] = "delimited"

    delimiter: Annotated[str, Field(min_length=1)] = ","
    """Between the fields of delimited text; may have several characters."""

    header: bool = True
    """Whether delimited text begins with a line of column names; false: columns are positions."""

    quote: Annotated[str, Field(min_length=1, max_length=1)] | None = '"'
    """Around fields of delimited text that hold the delimiter; null: quotes mean nothing."""

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
        if set(self.delimiter) & {"\n", "\r", self.quote}:
            raise ValueError(f"delimiter = {self.delimiter!r} holds a line end or the quote")
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

    timestamp_format: Annotated[str, AfterValidator(check_timestamp_format)] = "seconds"
    """seconds, milliseconds or microseconds since 1970, iso8601, or a strptime pattern."""

    max_rejected_share: float = Field(default=0.01, ge=0, le=1)
    """A larger share of rejected rows fails the stage: of all rows, or, where more than ten of its
    rows were rejected, of a single file's."""

    titles: TitlesFormat | None = None
    """How to read the titles file; not needed when list_raw.titles is null."""

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        self.check_columns(self.columns)
        return self


def read_batches(
    path: Path, layout: LogFormat, columns: Columns, source: Source, *, size: int | None = None
) -> Iterator[RawBatch]:
    """Read a raw file, batch by batch, in the order of its rows.

    Args:
        path: the file.
        layout: its format.
        columns: our name -> its column; the batches have one column per name.
        source: names the file and the section of params.yaml in errors.
        size: how many of its first bytes to read, where it is text; None: all.

    Raises:
        ConfigError: a column does not exist; says which there are and which is nearest.
        DataError: the file is not of this format.
    """
    if layout.format == "jsonl":
        return read_jsonl(path, columns, source, size=size)
    if layout.format == "parquet":
        return read_parquet(path, columns, source)
    return read_delimited(
        path,
        columns,
        source,
        delimiter=layout.delimiter,
        quote=layout.quote,
        header=layout.header,
        size=size,
    )
