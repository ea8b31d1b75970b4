"""Text files as whole lines, a chunk at a time: memory does not grow with the file.

A line ends with LF or CRLF, or with CR in a file that has no LF. A byte order mark is skipped and
says the encoding; gzip and zstd are recognised by their first bytes. What comes out is UTF-8; a
line that cannot be decoded is one bad line, not a bad file.
"""

import codecs
import gzip
import io
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import polars as pl
import pyarrow as pa

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import RAW
from diffrec_core.ingestion.raw_bytes import GZIP, HEAD_BYTES, ZSTD, HashedBytes, not_text
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.raw_rows import NOT_DECODABLE, PROBLEM

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 8 * 2**20
_MAX_LINE_BYTES: Final = 64 * 2**20
_LOOKED_AT: Final = 2**16
"""So many first bytes tell how lines end."""

_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # begins like the mark of UTF-16
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Some whole lines of a file, in order.

    Attributes:
        data: the lines with their ends, UTF-8 where they could be decoded; the last line of a
            file may have no end.
        position: bytes of the file read so far; of a compressed file, compressed ones.
        last: nothing comes after it.
        growing: the file is being written, and more lines have come since it was listed.
    """

    data: bytes
    position: int
    last: bool
    growing: bool


def read_text(
    file: RawFile, encoding: str = "utf-8", chunk_bytes: int = CHUNK_BYTES
) -> Iterator[TextChunk]:
    """Read a text file, plain, gzip or zstd; at its end, check that it is the one listed.

    Args:
        file: what to read; lines that were appended since are left to a later run, and so is the
            last line that was listed, where it was unfinished.
        encoding: Python's name of it, unless a byte order mark says another.
        chunk_bytes: how much to read at a time.

    Raises:
        DataError: the file is no text, is damaged or not the one that was listed, or has an
            absurdly long line.
    """
    with file.open(may_grow=True) as opened:
        hashed = HashedBytes(opened, file.size)
        stream = io.BufferedReader(cast(io.RawIOBase, hashed), _LOOKED_AT)
        plain, unpacked = _unpack(stream, file.path)
        blocks = _blocks(unpacked, file.path, encoding, chunk_bytes)
        before: bytes | None = None
        for data in _whole_lines(blocks, file.path, chunk_bytes):
            if before is not None:
                yield TextChunk(before, hashed.position, last=False, growing=False)
            before = data
        file.check(hashed.sha256())
        grown = os.fstat(opened.fileno()).st_size > file.size
        if grown:
            log.info("%s has grown since list_raw: the rest is left to a later run", file.path)
        if before is not None and grown and plain:
            before = before[: before.rfind(b"\n") + 1]
        yield TextChunk(before or b"", file.size, last=True, growing=grown and plain)


def _unpack(stream: "io.BufferedReader[Any]", path: str) -> tuple[bool, "io.BufferedReader[Any]"]:
    """Whether the stream is plain text, and the stream of what is in it."""
    head = stream.peek(HEAD_BYTES)
    unpacked = stream
    if head.startswith(GZIP):
        unpacked = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)))
    elif head.startswith(ZSTD) or head[1:4] == _ZSTD_SKIPPABLE:
        packed = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
        unpacked = io.BufferedReader(packed)
    plain = unpacked is stream
    if not plain:
        head = _guarded(lambda: unpacked.peek(HEAD_BYTES), path)
    what = not_text(head)
    if not plain and head.startswith((GZIP, ZSTD)):
        what = "compressed again: unpack it once"
    if what is not None:
        inside = "" if plain else " inside of its compression"
        raise DataError(f"{path} cannot be read as text lines:{inside} it is {what}")
    return plain, unpacked


def _guarded(read: Callable[[], bytes], path: str) -> bytes:
    """Read; whatever a damaged file or disk makes of it is an error that names the file."""
    try:
        return read()
    except (EOFError, gzip.BadGzipFile, zlib.error, pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged or incomplete ({error}): fetch it again") from error


def _whole_lines(blocks: Iterator[bytes], path: str, chunk_bytes: int) -> Iterator[bytes]:
    """Yield the blocks again, cut where lines end."""
    rest = b""
    for block in blocks:
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


def _blocks(
    stream: "io.BufferedReader[Any]", path: str, encoding: str, chunk_bytes: int
) -> Iterator[bytes]:
    """Yield what the stream holds as UTF-8, without a byte order mark, with LF for lone CRs."""
    first = _guarded(lambda: stream.read(max(chunk_bytes, _LOOKED_AT)), path)
    mark = next((mark for mark in _BYTE_ORDER_MARKS if first.startswith(mark)), b"")
    codec = _BYTE_ORDER_MARKS.get(mark, encoding)
    if codec == "utf-8" and first[:HEAD_BYTES].count(0) > len(first[:HEAD_BYTES]) // 4:
        raise DataError(
            f"{path} cannot be read as text lines: every other byte is 0; if it is UTF-16, say "
            f"so with `encoding: utf-16-le` (or utf-16-be), otherwise it is binary"
        )
    decode = _decoder(codec)
    first = decode(first[len(mark) :] if codec == "utf-8" else first)
    only_cr = b"\r" in first.rstrip(b"\r") and b"\n" not in first
    blocks = [first[at : at + chunk_bytes] for at in range(0, len(first), chunk_bytes)]
    while blocks:
        yield from (block.replace(b"\r", b"\n") if only_cr else block for block in blocks)
        block = decode(_guarded(lambda: stream.read(chunk_bytes), path))
        blocks = [block] if block else []


def _decoder(codec: str) -> Callable[[bytes], bytes]:
    """Turns bytes of an encoding into UTF-8; what cannot be decoded stays undecodable."""
    if codec == "utf-8":
        return bytes
    decoder = codecs.getincrementaldecoder(codec)("diffrec-undecodable")
    return lambda data: decoder.decode(data, final=not data).encode("utf-8", "surrogateescape")


def _undecodable(error: UnicodeError) -> tuple[str, int]:
    """Handle a decoding error: the byte itself where no UTF-8 has it, else one that none has."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    byte = error.object[error.start]
    return chr(0xDC00 + byte) if byte >= 0x80 else "\udcff", error.start + 1


codecs.register_error("diffrec-undecodable", _undecodable)


def split_lines(data: bytes) -> pl.DataFrame:
    """Columns `raw` and `problem`, one row per line of whole lines."""
    count = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
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
        return line.decode(errors="backslashreplace"), f"{NOT_DECODABLE}: {byte}"
