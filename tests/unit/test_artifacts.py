"""Artifacts appear whole or not at all, and say when they are damaged."""

import errno
import json
import os
import time
from pathlib import Path

import pytest

from diffrec_core.common.artifacts import (
    atomic_directory,
    canonical_json,
    fingerprint,
    read_json,
    read_manifest,
    sha256_file,
    storage_errors,
    verify_files,
    write_json,
    write_manifest,
    write_text,
)
from diffrec_core.common.errors import ArtifactError, StorageError
from tests.faults import DISK_BYTES, forks, killed_at_every_step, small_disk


def test_a_directory_appears_complete(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_directory(target) as directory:
        (directory / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_directory(target) as directory:
        (directory / "a").write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic_directory(target) as directory:
        (directory / "a").write_text("new")
        raise ValueError("stop")
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.12345.tmp").mkdir()
    (tmp_path / ".out.12345.tmp" / "half").write_text("x")
    with atomic_directory(tmp_path / "out") as directory:
        (directory / "a").write_text("1")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def put(path: Path, text: str) -> None:
    """A directory of two files with the same text."""
    with atomic_directory(path) as directory:
        for name in ("a", "b"):
            (directory / name).write_text(text)


def texts(path: Path) -> list[str]:
    return [file.read_text() for file in sorted(path.iterdir())]


def fail_at(turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one of the next renames fail."""
    replace, left = Path.replace, [turn]

    def failing(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)


@pytest.mark.parametrize("turn", [1, 2])
def test_a_rename_that_fails_leaves_the_old_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    put(tmp_path / "out", "old")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output"):
        fail_at(turn, patch)
        put(tmp_path / "out", "new")
    assert texts(tmp_path / "out") == ["old", "old"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_old_directory_that_cannot_be_put_back_at_once_is_put_back_by_the_next_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "out", "old")
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target.name == "out":
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output"):
        patch.setattr(Path, "replace", failing)
        put(tmp_path / "out", "new")
    with pytest.raises(ValueError, match="stop"), atomic_directory(tmp_path / "out"):
        assert texts(tmp_path / "out") == ["old", "old"]
        raise ValueError("stop")
    assert texts(tmp_path / "out") == ["old", "old"]


@forks
def test_a_kill_at_any_step_loses_no_directory(tmp_path: Path) -> None:
    def old(folder: Path) -> None:
        put(folder / "out", "old")

    seen = set()
    for folder in killed_at_every_step(tmp_path, old, lambda folder: put(folder / "out", "new")):
        with pytest.raises(ValueError, match="stop"), atomic_directory(folder / "out"):
            raise ValueError("stop")  # the next try fails, too
        found = texts(folder / "out")
        assert found in (["old", "old"], ["new", "new"])
        assert [path.name for path in folder.iterdir()] == ["out"]
        seen.add(found[0])
    assert seen == {"old", "new"}


@forks
def test_a_kill_while_the_old_directory_is_removed_does_not_bring_half_of_it_back(
    tmp_path: Path,
) -> None:
    def old(folder: Path) -> None:
        put(folder / "out", "old")

    for folder in killed_at_every_step(tmp_path, old, lambda folder: put(folder / "out", "new")):
        if (folder / "out").exists() and texts(folder / "out") == ["new", "new"]:
            for file in (folder / "out").iterdir():  # as DVC removes an output before its stage
                file.unlink()
            (folder / "out").rmdir()
            with pytest.raises(ValueError, match="stop"), atomic_directory(folder / "out"):
                raise ValueError("stop")
            assert not (folder / "out").exists() or texts(folder / "out") == ["old", "old"]


def test_directories_of_similar_names_leave_each_others_files(tmp_path: Path) -> None:
    (tmp_path / ".out.json.1f.tmp").write_text("of out.json, which another process writes")
    put(tmp_path / "out", "new")
    assert (tmp_path / ".out.json.1f.tmp").exists()


def test_writes_to_a_full_disk_leave_nothing_behind(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        write_text(disk / "file", "old")
        for _ in range(3):
            with pytest.raises(StorageError, match=r"cannot write .*file: (no space|a file grew)"):
                write_text(disk / "file", "x" * 2 * DISK_BYTES)
            assert [path.name for path in disk.iterdir()] == ["file"]
            with pytest.raises(StorageError, match="cannot write"):
                put(disk / "out", "x" * 2 * DISK_BYTES)
            assert [path.name for path in disk.iterdir()] == ["file"]
        assert (disk / "file").read_text() == "old"


def test_what_killed_writers_left_is_removed_when_nobody_can_be_at_it(tmp_path: Path) -> None:
    (fresh := tmp_path / ".file.1.tmp").write_text("of a writer that may live")
    (stale := tmp_path / ".file.2.tmp").write_text("of a writer that was killed")
    (other := tmp_path / ".file.json.3.tmp").write_text("another file's")
    for path in (stale, other):
        two_days_ago = time.time() - 2 * 86400
        os.utime(path, (two_days_ago, two_days_ago))
    write_text(tmp_path / "file", "new")
    assert fresh.exists()
    assert other.exists()
    assert not stale.exists()


@pytest.mark.parametrize(
    ("code", "text"),
    [(errno.ENOSPC, "no space is left"), (errno.EROFS, "read-only"), (errno.EACCES, "permission")],
)
def test_storage_errors_are_told_in_words(tmp_path: Path, code: int, text: str) -> None:
    with pytest.raises(StorageError, match=text), storage_errors(tmp_path):
        raise OSError(code, "boom")


def test_storage_errors_wrapped_by_a_library_are_recognised(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no space is left"), storage_errors(tmp_path):
        raise RuntimeError("ComputeError: No space left on device (os error 28)")


def test_our_own_errors_keep_their_kind_whatever_they_quote(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="Permission denied"), storage_errors(tmp_path):
        raise ArtifactError("row 3 says 'Permission denied'")


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(KeyError), storage_errors(tmp_path):
        raise KeyError("x")


def test_a_full_device_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_text(target, "old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="Nothing was left half-written"):
        write_text(target, "new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_json_is_canonical() -> None:
    assert canonical_json({"b": 1, "a": [1, "é"]}) == canonical_json({"a": [1, "é"], "b": 1})
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


def test_manifest_lists_files_and_has_no_time(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("1")
    write_manifest(tmp_path, schema="x/1", params={"p": 1}, inputs={"i": "f"}, extra_fact=3)
    assert read_manifest(tmp_path, "x/1") == {
        "schema": "x/1",
        "params": {"p": 1},
        "inputs": {"i": "f"},
        "extra_fact": 3,
        "files": {"sub/a.txt": sha256_file(tmp_path / "sub" / "a.txt")},
    }


def test_another_schema_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, schema="x/1")
    with pytest.raises(ArtifactError, match=r"has schema 'x/1', expected 'x/2'"):
        read_manifest(tmp_path, "x/2")


def test_damage_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    files = {"a": sha256_file(file)}
    verify_files(tmp_path, files)
    file.write_text("2")
    with pytest.raises(ArtifactError, match="is corrupt"):
        verify_files(tmp_path, files)
    file.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        verify_files(tmp_path, files)


def test_fingerprint_follows_content(tmp_path: Path) -> None:
    write_json(tmp_path / "d" / "manifest.json", {"a": 1})
    before = fingerprint(tmp_path / "d")
    write_json(tmp_path / "d" / "manifest.json", {"a": 2})
    assert fingerprint(tmp_path / "d") != before
    with pytest.raises(ArtifactError, match="dvc repro"):
        fingerprint(tmp_path / "nothing")


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
    assert json.loads(canonical_json({})) == {}
