import bz2
import gzip
import lzma
from pathlib import Path

import polars as pl
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.ingestion.text_lines import read_line_chunks


def write(folder: Path, data: bytes) -> Path:
    path = folder / "log.txt"
    path.write_bytes(data)
    return path


def lines(path: Path, chunk_bytes: int = 1000) -> list[tuple[int, str]]:
    chunks = list(read_line_chunks(path, chunk_bytes))
    schema = {"source_row": pl.Int64(), "raw": pl.String(), "problem": pl.String()}
    assert all(chunk.lines.schema == schema for chunk in chunks)
    assert all(chunk.lines.height == chunk.count for chunk in chunks)
    return [row[:2] for chunk in chunks for row in chunk.lines.iter_rows()]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\nb\n\nc", ["a", "b", "", "c"]),
        (b"\n\n", ["", ""]),
        (b"\r\n", [""]),
        (b"a\rb\n", ["a\rb"]),
        (b"a\r\r\n", ["a\r"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        (b"\xef\xbb\xbf", []),
        (b"", []),
        ("é\u2028\x0b\x00\n€".encode(), ["é\u2028\x0b\x00", "€"]),
        (b"x\x01\xe2\x80\xa8\n", ["x\x01\u2028"]),  # begins like a zlib stream
    ],
)
def test_lines_end_with_lf_or_crlf_and_are_numbered_from_one(tmp_path, data, expected):
    path = write(tmp_path, data)
    for chunk_bytes in (1, 2, 3, 1000):
        assert lines(path, chunk_bytes) == list(enumerate(expected, start=1))


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_behind_the_size_that_is_asked_for_is_not_read(tmp_path, packed):
    first, more = b"\xef\xbb\xbfa\nbc\n", b"d\n"
    pack = gzip.compress if packed else bytes
    path = write(tmp_path, pack(first) + pack(more))
    for chunk_bytes in (1, 2, 3, 1000):
        size = len(pack(first))
        chunks = list(read_line_chunks(path, chunk_bytes, size=size))
        assert [line for chunk in chunks for line in chunk.lines["raw"]] == ["a", "bc"]
        assert max(chunk.position for chunk in chunks) <= size
    assert [text for _, text in lines(path)] == ["a", "bc", "d"]


def test_a_line_that_is_not_utf8_is_one_bad_line(tmp_path):
    path = write(tmp_path, "ok\nna\xefve\r\nü\n".encode("latin-1") + "ü\n".encode())
    (chunk,) = read_line_chunks(path)
    assert chunk.lines.rows() == [
        (1, "ok", None),
        (2, "na\\xefve", "not valid UTF-8: byte 0xef at position 2"),
        (3, "\\xfc", "not valid UTF-8: byte 0xfc at position 0"),
        (4, "ü", None),
    ]


def test_gzip_is_recognised_by_its_content_also_in_several_members(tmp_path):
    path = write(tmp_path, gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    assert lines(path, 2) == [(1, "a"), (2, "bc"), (3, "d")]


def test_the_position_ends_at_the_size_of_the_file(tmp_path):
    for data in (b"a\n" * 5000, gzip.compress(b"a\n" * 5000)):
        path = write(tmp_path, data)
        *_, last = read_line_chunks(path, 100)
        assert last.position == len(data)


def test_a_damaged_gzip_file_is_refused(tmp_path):
    whole = gzip.compress(bytes(range(256)) * 100)
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    for data in (whole[:-20], bytes(broken)):
        with pytest.raises(DataError, match=r"log.txt is a damaged or incomplete gzip file"):
            lines(write(tmp_path, data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PAR1....", "a Parquet file: set its format to parquet"),
        (b"PK\x03\x04..", "a zip archive"),
        (bz2.compress(b"a"), "compressed with bzip2"),
        (lzma.compress(b"a"), "compressed with xz"),
        (b"\x28\xb5\x2f\xfd..", "compressed with zstd"),
        ("a,b\n".encode("utf-16"), "UTF-16 text: convert it to UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_by_name(tmp_path, data, what):
    with pytest.raises(DataError, match=what):
        lines(write(tmp_path, data))


def test_an_absurdly_long_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("diffrec_core.ingestion.text_lines._MAX_LINE_BYTES", 1000)
    with pytest.raises(DataError, match="is not a log with one record per line"):
        lines(write(tmp_path, b"a" * 3000), chunk_bytes=100)
    assert len(lines(write(tmp_path, b"a" * 900 + b"\nb"), chunk_bytes=100)) == 2
