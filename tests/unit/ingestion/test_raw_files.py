import gzip
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffrec_core.common.artifacts import sha256_file, write_json
from diffrec_core.common.config import load_section
from diffrec_core.common.errors import ArtifactError, ConfigError, DataError, StorageError
from diffrec_core.ingestion import checksums
from diffrec_core.ingestion.checksums import ChecksumCache
from diffrec_core.ingestion.raw_files import ListRawConfig, expand, list_raw_files
from diffrec_core.ingestion.raw_manifest import RawFile, RawManifest, Wanted, read_raw_manifest
from diffrec_core.ingestion.text_lines import read_text

# SHA-256 of b"abc", from FIPS 180-2
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(name: str, data: bytes = b"abc") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(patterns: list[str]) -> list[str]:
    return sorted(path.as_posix() for path in expand(patterns))


def listing(logs: list[str], titles: str | None = None) -> RawManifest:
    return list_raw_files(ListRawConfig(logs=tuple(logs), titles=titles), ChecksumCache())


def test_a_file_is_recorded_with_path_size_and_sha256():
    put("raw/a.csv")
    assert listing(["raw/a.csv"]).logs == (RawFile("raw/a.csv", 3, ABC),)


def test_absolute_paths_stay_absolute_and_relative_ones_relative(tmp_path):
    put("raw/a.csv")
    put("raw/b.csv", b"b")
    manifest = listing([str(tmp_path / "raw/a.csv"), "./raw/b.csv"])
    assert [file.path for file in manifest.logs] == [f"{tmp_path}/raw/a.csv", "raw/b.csv"]


def test_a_folder_means_all_files_below_it_but_hidden_ones():
    for name in ["raw/b.csv", "raw/x/y/a.csv", "raw/.hidden", "raw/.cache/c.csv"]:
        put(name)
    assert names(["raw"]) == ["raw/b.csv", "raw/x/y/a.csv"]


def test_patterns_match_files_and_folders_and_go_down_with_two_stars():
    for name in ["raw/2024-01/a.csv", "raw/2024-02/b.csv", "raw/2023-12/c.csv", "raw/d.txt"]:
        put(name)
    assert names(["raw/2024-*"]) == ["raw/2024-01/a.csv", "raw/2024-02/b.csv"]
    assert names(["raw/**/*.csv"]) == [
        "raw/2023-12/c.csv",
        "raw/2024-01/a.csv",
        "raw/2024-02/b.csv",
    ]


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern():
    put("raw/log[1].csv")
    put("raw/log1.csv")
    assert names(["raw/log[1].csv"]) == ["raw/log[1].csv"]


def test_logs_are_sorted_and_a_file_counts_once_however_often_it_is_named(tmp_path):
    put("raw/b.csv", b"b")
    put("raw/a.csv")
    Path("raw/link.csv").symlink_to("b.csv")
    manifest = listing(["raw/b.csv", "raw", "raw/*.csv", str(tmp_path / "raw/a.csv")])
    assert [Path(file.path).name for file in manifest.logs] == ["a.csv", "b.csv"]


def test_the_titles_file_is_recorded_and_is_no_log():
    put("raw/log.csv")
    put("raw/titles.csv", b"t")
    manifest = listing(["raw"], titles="raw/titles.csv")
    assert [file.path for file in manifest.logs] == ["raw/log.csv"]
    assert manifest.titles is not None
    assert manifest.titles.path == "raw/titles.csv"


def test_nothing_but_a_titles_file_is_refused():
    put("raw/titles.csv")
    with pytest.raises(DataError, match="nothing but the titles file"):
        listing(["raw"], titles="raw/titles.csv")


@pytest.mark.parametrize(
    ("logs", "message"),
    [
        ("elsewhere", "there is nothing at elsewhere; the nearest folder, .*, holds empty, raw"),
        ("raw/missing.csv", "there is nothing at raw/missing.csv; .*raw, holds a.csv, void.csv"),
        ("raw/*.tsv", r"no file matches raw/\*.tsv; .*raw, holds a.csv, void.csv"),
        ("empty", "the folder empty holds no files"),
        ("raw/void.csv", "holds empty files only: raw/void.csv"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(logs, message):
    put("raw/a.csv")
    put("raw/void.csv", b"")
    put("empty/.hidden")
    with pytest.raises(DataError, match=message):
        listing([logs])


SPARK = ["_SUCCESS", "._SUCCESS.crc", "_temporary/0/part-1.csv", "_delta_log/0.json", "_started_7"]
LEFT = ["a.csv~", "#a.csv#", "b.csv.part", "b.csv.crdownload", "a.csv.md5", "c.csv._COPYING_"]


@pytest.mark.parametrize("pattern", ["raw", "raw/*", "raw/**", "raw/**/*"])
def test_what_writers_editors_and_downloads_leave_is_passed_over_and_said(pattern, caplog):
    for name in ["a.csv", "_day=1/b.csv", *SPARK, *LEFT]:
        put(f"raw/{name}", name.encode())
    os.mkfifo("raw/pipe")
    Path("raw/gone.csv").symlink_to("nowhere.csv")
    if pattern != "raw":
        Path("raw/pipe").unlink()
        Path("raw/gone.csv").unlink()
    with caplog.at_level(logging.INFO):
        manifest = listing([pattern])
    assert [file.path for file in manifest.logs] == ["raw/_day=1/b.csv", "raw/a.csv"]
    assert "left by an editor, a download or a copy, or a checksum: raw/#a.csv#" in caplog.text
    skipped = [each.partition(":")[0] for each in manifest.skipped]
    assert {"raw/_SUCCESS", "raw/a.csv~", "raw/c.csv._COPYING_"} <= set(skipped)
    if pattern == "raw":
        assert {"raw/pipe", "raw/gone.csv", "raw/_delta_log"} <= set(skipped)


def test_a_file_that_is_named_itself_is_read_whatever_its_name():
    put("raw/_a.csv.bak")
    assert names(["raw/_a.csv.bak"]) == ["raw/_a.csv.bak"]


def test_linked_folders_are_followed_once():
    put("archive/old.csv", b"old")
    put("raw/new.csv")
    Path("raw/2024-02").symlink_to("../archive")
    Path("raw/again").symlink_to("../archive")
    Path("archive/loop").symlink_to("../raw")
    assert names(["raw"]) == ["raw/2024-02/old.csv", "raw/new.csv"]
    assert [file.path for file in listing(["raw/**"]).logs] == [
        "raw/2024-02/old.csv",
        "raw/new.csv",
    ]


def test_a_folder_that_may_not_be_listed_is_an_error(monkeypatch):
    for name in ("raw/a/a.csv", "raw/b/b.csv", "raw/c/c.csv"):
        put(name)
    original = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path.name in ("a", "b"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(
        DataError, match=r"raw/a \(Permission denied\), raw/b \(Permission denied\)"
    ):
        listing(["raw"])


def test_a_pattern_that_finds_nothing_beside_others_is_a_warning(caplog):
    put("raw/a.csv")
    Path("empty").mkdir()
    with caplog.at_level(logging.WARNING):
        assert names(["raw", "empty", "raw/*.tsv"]) == ["raw/a.csv"]
    assert "the folder empty holds no files" in caplog.text
    assert "no file matches raw/*.tsv" in caplog.text


def test_a_missing_path_says_how_to_get_sample_data():
    with pytest.raises(DataError, match=r"make sample.*list_raw.logs in params.yaml"):
        listing(["data/raw/*.inter"])


@pytest.mark.parametrize(
    ("titles", "message"), [("nowhere.csv", "does not exist"), ("raw", "is a folder")]
)
def test_a_titles_path_that_is_no_file_is_refused(titles, message):
    put("raw/a.csv")
    with pytest.raises(DataError, match=f"list_raw.titles: {titles} {message}"):
        listing(["raw"], titles=titles)


def test_a_path_that_is_no_regular_file_is_refused():
    os.mkfifo("pipe")
    with pytest.raises(DataError, match="pipe is neither a regular file nor a folder"):
        listing(["pipe"])


def while_hashing(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen to the file after it was hashed for the first time."""
    original, pending = checksums.sha256_of_starts, [happens]

    def hash_and_change(path: Path, *sizes: int) -> list[str]:
        result = original(path, *sizes)
        if pending:
            pending.pop()()
        return result

    monkeypatch.setattr(checksums, "sha256_of_starts", hash_and_change)


def test_a_file_that_cannot_be_read_is_refused(monkeypatch):
    put("raw/a.csv")

    def refuse(path: Path, *_: int) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checksums, "sha256_of_starts", refuse)
    with pytest.raises(DataError, match=r"raw/a.csv cannot be read \(Permission denied\)"):
        listing(["raw"])


@pytest.mark.parametrize("first", [b"a\nb\n", b"a\nb\nhalf"])
def test_of_a_text_that_grows_meanwhile_the_whole_lines_are_listed(monkeypatch, first):
    path = put("raw/a.csv", first)
    while_hashing(monkeypatch, lambda: path.write_bytes(first + b" a line\nc\n"))
    cache = ChecksumCache()
    expected = RawFile("raw/a.csv", 4, hashlib.sha256(b"a\nb\n").hexdigest())
    assert list_raw_files(ListRawConfig(logs=("raw",)), cache).logs == (expected,)
    assert cache.to_json() == {"files": {}}  # nothing to go by next time


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\n", b"a\n"),
        (b"a\nb\n", b"a\nc\n"),
        (b"a\nb\n", b"a\nc\nd\n"),
        (b"a\nb\n", None),
        (gzip.compress(b"a\n"), gzip.compress(b"a\n") * 2),
        (b"PAR1\n", b"PAR1\nPAR1"),
    ],
    ids=["shrunk", "edited", "edited and grown", "removed", "gzip", "parquet"],
)
def test_any_other_change_meanwhile_is_an_error_that_is_tried_again(monkeypatch, before, after):
    path = put("raw/a.csv", before)
    while_hashing(monkeypatch, lambda: path.write_bytes(after) if after else path.unlink())
    with pytest.raises(StorageError, match=r"raw/a.csv was written, replaced or removed while"):
        listing(["raw"])


def test_a_titles_file_may_not_grow_meanwhile(monkeypatch):
    put("raw/a.csv")
    path = put("titles.csv", b"i,t\n")
    cache = ChecksumCache()
    cache.record(Path("raw/a.csv"))
    while_hashing(monkeypatch, lambda: path.write_bytes(b"i,t\nj,u\n"))
    config = ListRawConfig(logs=("raw",), titles="titles.csv")
    with pytest.raises(StorageError, match=r"titles.csv was written"):
        list_raw_files(config, ChecksumCache(cache.to_json()["files"]))


def test_a_half_line_counts_unless_somebody_is_writing_it():
    path = put("raw/a.csv", b"abc\nde")
    with path.open("ab"):
        (listed,) = listing(["raw"]).logs
    assert listed == RawFile("raw/a.csv", 4, hashlib.sha256(b"abc\n").hexdigest())
    with path.open("rb"):
        (listed,) = listing(["raw"]).logs
    assert listed == RawFile("raw/a.csv", 6, hashlib.sha256(b"abc\nde").hexdigest())


def test_empty_files_are_skipped_with_a_warning(caplog):
    put("raw/a.csv")
    put("raw/b.csv", b"")
    with put("raw/c.csv", b"user,it").open("ab"), caplog.at_level(logging.WARNING):
        manifest = listing(["raw"])
    assert [file.path for file in manifest.logs] == ["raw/a.csv"]
    assert manifest.empty == ("raw/b.csv", "raw/c.csv")
    assert "2 empty files are skipped: raw/b.csv, raw/c.csv" in caplog.text


def test_an_empty_titles_file_is_refused():
    put("raw/a.csv")
    put("titles.csv", b"")
    with pytest.raises(DataError, match=r"list_raw.titles: titles.csv is empty"):
        listing(["raw"], titles="titles.csv")


def test_copies_are_read_with_a_warning(caplog):
    put("raw/a.csv")
    put("raw/b.csv")
    put("raw/c.csv", b"other")
    with caplog.at_level(logging.WARNING):
        assert len(listing(["raw"]).logs) == 3
    assert "same content are all read: raw/a.csv, raw/b.csv" in caplog.text
    assert "c.csv" not in caplog.text


def test_unchanged_files_are_not_hashed_again(monkeypatch):
    config = ListRawConfig(logs=("raw",))
    put("raw/a.csv")
    put("raw/b.csv", b"b")
    first = ChecksumCache()
    before = list_raw_files(config, first)
    put("raw/b.csv", b"bb")
    hashed = []
    original = checksums.sha256_of_starts

    def count(path: Path, *sizes: int) -> list[str]:
        hashed.append(path.name)
        return original(path, *sizes)

    monkeypatch.setattr(checksums, "sha256_of_starts", count)
    second = ChecksumCache(first.to_json()["files"])
    after = list_raw_files(config, second)
    assert hashed == ["b.csv"]
    assert second.lookups == {"remembered": 1, "hashed": 1}
    assert after.logs[0] == before.logs[0]
    assert after.logs[1] == RawFile("raw/b.csv", 2, sha256_file(Path("raw/b.csv")))


def test_a_touched_file_is_hashed_again():
    path = put("raw/a.csv")
    first = ChecksumCache()
    first.record(path)
    os.utime(path, ns=(1, 1))
    assert path.stat().st_mtime_ns == 1
    second = ChecksumCache(first.to_json()["files"])
    assert second.record(path).sha256 == ABC
    assert second.lookups == {"hashed": 1}


def test_a_correction_that_keeps_size_and_time_is_noticed():
    path = put("raw/a.csv")
    before = path.stat()
    first = ChecksumCache()
    first.record(path)
    path.write_bytes(b"abd")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = ChecksumCache(first.to_json()["files"])
    assert second.record(path).sha256 == hashlib.sha256(b"abd").hexdigest()
    other = put("other", b"abe")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    third = ChecksumCache(second.to_json()["files"])
    assert third.record(path).sha256 == hashlib.sha256(b"abe").hexdigest()


def test_where_times_are_too_coarse_to_show_a_write_nothing_is_remembered(monkeypatch):
    path = put("raw/a.csv")
    stat = path.stat()
    seconds = int(stat.st_ctime) * 10**9
    fields = {"st_ctime_ns": seconds, "st_mtime_ns": seconds}
    coarse = SimpleNamespace(**{name: getattr(stat, name) for name in dir(stat)} | fields)
    assert checksums._may_hide_a_write(coarse)
    monkeypatch.setattr(checksums.time, "time_ns", lambda: seconds + 4 * 10**9)
    assert not checksums._may_hide_a_write(coarse)


def test_the_cache_forgets_files_that_are_gone():
    first = ChecksumCache()
    first.record(put("raw/a.csv"))
    second = ChecksumCache(first.to_json()["files"])
    second.record(put("raw/b.csv"))
    assert list(second.to_json()["files"]) == ["raw/b.csv"]


@pytest.mark.parametrize(
    "content",
    [
        "{not json",
        "[]",
        '{"files": []}',
        '{"files": {"raw/a.csv": {"size": 3}}}',
        '{"files": {"raw/a.csv": {"size": 3, "mtime_ns": 1, "sha256": "short"}}}',
        '{"files": {"a": {"inode": 1, "size": 3, "mtime_ns": 1, "ctime_ns": 1, "sha256": "x"}}}',
    ],
)
def test_a_corrupt_cache_is_ignored_with_a_warning(content, caplog):
    Path("cache.json").write_text(content)
    with caplog.at_level(logging.WARNING):
        cache = ChecksumCache.load(Path("cache.json"))
    assert "cache.json is corrupt and ignored" in caplog.text
    assert cache.record(put("raw/a.csv")).sha256 == ABC


def test_the_cache_survives_a_round_trip():
    cache = ChecksumCache()
    path = put("raw/a.csv")
    cache.record(path)
    write_json(Path("cache.json"), cache.to_json())
    again = ChecksumCache.load(Path("cache.json"))
    again.record(path)
    assert again.lookups == {"remembered": 1}


@pytest.mark.parametrize("titles", [None, RawFile("t.csv", 1, ABC)])
def test_a_manifest_survives_a_round_trip(titles):
    files = (RawFile("a.csv", 3, ABC), RawFile("b.csv", 4, ABC))
    wanted = Wanted.parse({"event_types": ["buy"], "start": "2024-01-01", "min_value": 4.0}, "")
    manifest = RawManifest(files, titles, ("c.csv",), ("_SUCCESS: hidden",), wanted)
    write_json(Path("manifest.json"), manifest.to_json())
    assert read_raw_manifest(Path("manifest.json")) == manifest
    assert json.loads(Path("manifest.json").read_text())["schema"] == "raw/1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": "raw/0", "logs": [], "titles": None}, "has schema 'raw/0', expected 'raw/1'"),
        ({"schema": "raw/1"}, "is not a raw manifest"),
        ({"schema": "raw/1", "logs": [{"path": "a"}], "titles": None}, "is not a raw manifest"),
        ([1], "is not a raw manifest"),
    ],
)
def test_another_kind_of_manifest_is_refused(content, message):
    write_json(Path("manifest.json"), content)
    with pytest.raises(ArtifactError, match=message):
        read_raw_manifest(Path("manifest.json"))


def read(file: RawFile) -> bytes:
    return b"".join(chunk.data for chunk in read_text(file, chunk_bytes=2))


def test_a_file_is_checked_against_its_record():
    put("a.csv")
    file = RawFile("a.csv", 3, ABC)
    with file.open() as opened:
        assert opened.read() == b"abc"
    put("a.csv", b"abcd")
    message = r"a.csv has changed since list_raw: 4 bytes now, 3 listed"
    with pytest.raises(DataError, match=message), file.open():
        pass
    put("a.csv", b"abd")
    with pytest.raises(DataError, match=r"its SHA-256 differs.*list_raw"):
        read(file)
    Path("a.csv").unlink()
    with pytest.raises(DataError, match=r"a.csv was listed by list_raw and is gone"):
        read(file)


def test_a_file_that_may_grow_is_checked_as_far_as_it_was_listed():
    file = RawFile("a.csv", 4, hashlib.sha256(b"abc\n").hexdigest())
    for content, message in (
        (b"abc", "3 bytes now, 4 listed"),
        (b"abd\n", "its SHA-256 differs"),
        (b"abd\nefg\n", "its SHA-256 differs"),
    ):
        put("a.csv", content)
        with pytest.raises(DataError, match=message):
            read(file)
    put("a.csv", b"abc\nefg\n")
    assert read(file) == b"abc\n"


def test_a_file_that_is_exchanged_while_it_is_read_is_refused():
    path = put("a.csv", b"abc\n" * 100_000)
    (file,) = listing(["a.csv"]).logs
    chunks = read_text(file, chunk_bytes=4)
    next(chunks)
    with path.open("r+b") as opened:
        opened.seek(300_000)
        opened.write(b"x")
    with pytest.raises(DataError, match="its SHA-256 differs"):
        list(chunks)


def test_a_last_line_that_was_listed_unfinished_is_left_out_once_it_has_grown():
    put("a.csv", b"abc\nde")
    (listed,) = listing(["a.csv"]).logs
    assert read(listed) == b"abc\nde"
    put("a.csv", b"abc\ndef\n")
    assert read(listed) == b"abc\n"
    packed = gzip.compress(b"abc")
    put("a.csv.gz", packed)
    (listed,) = listing(["a.csv.gz"]).logs
    put("a.csv.gz", packed * 2)
    assert read(listed) == b"abc"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"logs": []}, "list_raw.logs = .*at least 1 item"),
        ({"logs": [""]}, "at least 1 character"),
        ({"logs": "data/raw"}, "list_raw.logs = 'data/raw'"),
        ({}, "list_raw.logs is required"),
        ({"logs": ["a"], "title": "b"}, "list_raw.title is not a known key .*'titles'"),
    ],
)
def test_a_bad_section_is_refused(section, message):
    with pytest.raises(ConfigError, match=message):
        load_section({"list_raw": section}, "list_raw", ListRawConfig)


def test_a_name_that_is_not_utf8_is_refused():
    if sys.platform == "darwin":
        pytest.skip("macOS keeps no such names")
    Path("raw").mkdir()
    Path(os.fsdecode(b"raw/\xff.csv")).write_bytes(b"abc")
    with pytest.raises(DataError, match="not valid UTF-8: rename it"):
        listing(["raw"])
