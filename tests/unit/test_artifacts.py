"""Artifacts appear whole or not at all, and say when they are damaged."""

import errno
import json
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
