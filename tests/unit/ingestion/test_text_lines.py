import bz2
import gzip
import io
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.ingestion.text_lines import read_text, split_lines
from tests.raw_logs import listed

SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))
    return file.getvalue()


def write(folder: Path, data: bytes) -> Path:
    path = folder / "log.txt"
    path.write_bytes(data)
    return path


def lines(path: Path, chunk_bytes: int = 1000, encoding: str = "utf-8") -> list[tuple[int, str]]:
    chunks = list(read_text(listed(path), encoding, chunk_bytes))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    found = pl.concat(split_lines(chunk.data) for chunk in chunks)
    assert found.schema == {"raw": pl.String(), "problem": pl.String()}
    return list(enumerate(found["raw"], start=1))


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
        start = path.with_name("start")
        start.write_bytes(path.read_bytes()[:size])
        file = replace(listed(start), path=str(path))
        chunks = list(read_text(file, chunk_bytes=chunk_bytes))
        assert b"".join(chunk.data for chunk in chunks) == b"a\nbc\n"
        assert chunks[-1].position == size
        assert chunks[-1].growing is not packed
    assert [text for _, text in lines(path)] == ["a", "bc", "d"]


def test_a_line_that_is_not_utf8_is_one_bad_line(tmp_path):
    path = write(tmp_path, "ok\nna\xefve\r\nü\n".encode("latin-1") + "ü\n".encode())
    (chunk,) = read_text(listed(path))
    assert split_lines(chunk.data).rows() == [
        ("ok", None),
        ("na\\xefve", "not valid UTF-8: byte 0xef at position 2"),
        ("\\xfc", "not valid UTF-8: byte 0xfc at position 0"),
        ("ü", None),
    ]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("a,é\nb,€\n".encode("cp1252"), "cp1252"),
        ("a,é\nb,€\n".encode("utf-16"), "utf-8"),
        (b"\xfe\xff" + "a,é\nb,€\n".encode("utf-16-be"), "latin-1"),
        ("a,é\nb,€\n".encode("utf-32"), "utf-8"),
        ("a,é\nb,€\n".encode("utf-16-le"), "utf-16-le"),
        ("\ufeffa,é\nb,€\n".encode(), "cp1252"),
    ],
)
def test_other_encodings_by_setting_or_byte_order_mark(tmp_path, data, encoding):
    for chunk_bytes in (1, 3, 1000):
        found = lines(write(tmp_path, data), chunk_bytes, encoding)
        assert found == [(1, "a,é"), (2, "b,€")]


def test_what_an_encoding_does_not_have_is_one_bad_line(tmp_path):
    path = write(tmp_path, b"a\n\x81b\nc\n")
    (chunk,) = read_text(listed(path), "cp1252")
    assert split_lines(chunk.data)["problem"].is_null().to_list() == [True, False, True]


def test_lines_may_end_with_cr_alone(tmp_path):
    for chunk_bytes in (1, 1000):
        assert lines(write(tmp_path, b"a\rb\r"), chunk_bytes) == [(1, "a"), (2, "b")]
        assert lines(write(tmp_path, b"a\r\nb\r"), chunk_bytes)[1:] in ([(2, "b")], [(2, "b\r")])


def test_zstd_is_recognised_by_its_content_also_in_several_frames(tmp_path):
    data = zstd(b"a\nb") + SKIPPABLE + zstd(b"c\nd\n")
    for packed in (data, SKIPPABLE + data):
        assert lines(write(tmp_path, packed), 2) == [(1, "a"), (2, "bc"), (3, "d")]
    for damaged in (data[:-3], data + b"more"):
        with pytest.raises(DataError, match=r"log.txt is damaged or incomplete"):
            lines(write(tmp_path, damaged))


def test_gzip_is_recognised_by_its_content_also_in_several_members(tmp_path):
    path = write(tmp_path, gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    assert lines(path, 2) == [(1, "a"), (2, "bc"), (3, "d")]


def test_the_position_ends_at_the_size_of_the_file(tmp_path):
    for data in (b"a\n" * 5000, gzip.compress(b"a\n" * 5000)):
        path = write(tmp_path, data)
        *_, last = read_text(listed(path), chunk_bytes=100)
        assert last.position == len(data)


def test_a_damaged_gzip_file_is_refused(tmp_path):
    whole = gzip.compress(bytes(range(256)) * 100)
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    for data in (whole[:-20], bytes(broken)):
        with pytest.raises(DataError, match=r"log.txt is damaged or incomplete"):
            lines(write(tmp_path, data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PAR1....", "a Parquet file: set its format to parquet"),
        (b"PK\x03\x04..", "a zip archive"),
        (bz2.compress(b"a"), "compressed with bzip2"),
        (lzma.compress(b"a"), "compressed with xz"),
        (b"\x04\x22\x4d\x18..", "compressed with lz4"),
        (b"Obj\x01..", "an Avro file"),
        (b"ORC..", "an ORC file"),
        (b"<!DOCTYPE html>", "a web page"),
        (tar(), "a tar archive"),
        (gzip.compress(tar()), "inside of its compression it is a tar archive"),
        (gzip.compress(gzip.compress(b"a")), "compressed again"),
        (zstd(b"PAR1"), "inside of its compression it is a Parquet file"),
        ("a,b\n".encode("utf-16-le"), "if it is UTF-16, say so with `encoding: utf-16-le`"),
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
