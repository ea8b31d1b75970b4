"""Text files as numbered lines, a chunk at a time: memory does not grow with the file.

A line ends with LF or CRLF; a byte order mark is skipped; gzip is recognised by its first bytes.
A line that is not valid UTF-8 is one bad line, not a bad file.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

import polars as pl

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import RAW, SOURCE_ROW
from diffrec_core.ingestion.raw_bytes import GZIP, HEAD_BYTES, NOT_TEXT
from diffrec_core.ingestion.raw_rows import PROBLEM

CHUNK_BYTES: Final = 8 * 2**20
_MAX_LINE_BYTES: Final = 64 * 2**20
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class LineChunk:
    """Some lines of a file, in order.

    Attributes:
        lines: columns `source_row`, which counts the lines of the file from 1, `raw` and
            `problem`.
        count: how many line ends the bytes hold (the last line may have none); counted apart
            from `lines`, so that one checks the other.
        position: bytes of the file read so far; of a gzip file, compressed ones.
    """

    lines: pl.DataFrame
    count: int
    position: int


def read_line_chunks(
    path: Path, chunk_bytes: int = CHUNK_BYTES, *, size: int | None = None
) -> Iterator[LineChunk]:
    """Read a text file, plain or gzip.

    Args:
        path: the file.
        chunk_bytes: how much to read at a time.
        size: how many of the file's first bytes to read; None: all that there are.

    Raises:
        DataError: the file is no text, a gzip file is damaged, or a line is absurdly long.
    """
    row = 1
    with path.open("rb") as whole:
        file = whole if size is None else cast(IO[bytes], _Start(whole, size))
        for data in _whole_lines(_open_text(path, file), path, chunk_bytes):
            count = data.count(b"\n") + (not data.endswith(b"\n"))
            lines = _to_frame(data, count).select(
                pl.int_range(row, row + count, dtype=pl.Int64).alias(SOURCE_ROW), RAW, PROBLEM
            )
            yield LineChunk(lines, count, file.tell())
            row += count


class _Start:
    """The first bytes of a file, as a file: what somebody appends meanwhile is not seen."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if count < 0 else min(count, left))


def _open_text(path: Path, file: IO[bytes]) -> IO[bytes]:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    for magic, what in NOT_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{path} cannot be read as text lines: it is {what}")
    return cast(IO[bytes], gzip.open(file)) if head.startswith(GZIP) else file


def _whole_lines(stream: IO[bytes], path: Path, chunk_bytes: int) -> Iterator[bytes]:
    """Yield the stream in chunks that end where a line ends; drop the byte order mark."""
    rest = b""
    for block in _blocks(stream, path, chunk_bytes):
        data = rest + block
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut]
        rest = data[cut:]
        if len(rest) > max(_MAX_LINE_BYTES, chunk_bytes):
            raise DataError(
                f"{path} has a line of more than {_MAX_LINE_BYTES // 2**20} MiB: "
                f"it is not a log with one record per line"
            )
    if rest:
        yield rest


def _blocks(stream: IO[bytes], path: Path, chunk_bytes: int) -> Iterator[bytes]:
    first = _read(stream, path, max(chunk_bytes, len(_BYTE_ORDER_MARK)))
    yield first.removeprefix(_BYTE_ORDER_MARK)
    while block := _read(stream, path, chunk_bytes):
        yield block


def _read(stream: IO[bytes], path: Path, size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} is a damaged or incomplete gzip file ({error}): fetch it again"
        ) from error


def _to_frame(data: bytes, count: int) -> pl.DataFrame:
    """Columns `raw` and `problem`, one row per line."""
    lines = _split_valid(data)
    if lines is not None and lines.height == count:
        return lines.with_columns(pl.lit(None, pl.String).alias(PROBLEM))
    rows = [_decode(line.removesuffix(b"\r")) for line in data.split(b"\n")[:count]]
    return pl.DataFrame(rows, schema={RAW: pl.String, PROBLEM: pl.String}, orient="row")


def _split_valid(data: bytes) -> pl.DataFrame | None:
    """Split at native speed; None where that cannot be done and lines must be looked at singly."""
    try:
        # an empty line first: Polars would unpack what looks like a compressed stream
        return pl.scan_lines(b"\n" + data, name=RAW).slice(1).collect()
    except pl.exceptions.ComputeError:  # some line is not UTF-8
        return None


def _decode(line: bytes) -> tuple[str, str | None]:
    try:
        return line.decode(), None
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02x} at position {error.start}"
        return line.decode(errors="backslashreplace"), f"not valid UTF-8: {byte}"
