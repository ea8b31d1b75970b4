"""What a run keeps in the store: its specification, its entries, its files, its end."""

import json
from pathlib import Path
from typing import Any

import pytest

from diffrec_core.common.errors import ArtifactError, ConfigError
from pipeline_steps.nights.runs import Run, RunSpec, known_runs, previous_run, run_name
from pipeline_steps.nights.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def a_run(store: Store, name: str = "night", **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "run": name,
        "commit": "c0ffee",
        "start": None,
        "end": "2026-11-24T00:00:00+00:00",
        "dry_run": False,
        "previous": None,
        "created": "2026-11-24T00:01:00+00:00",
    }
    return Run(store, RunSpec(**fields | changes))


def finished(store: Store, name: str, end: str | None, **changes: Any) -> None:
    run = a_run(store, name, end=end, **changes)
    run.leave_entry("register", {"cmd": "register"})
    run.finish()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("night", "night"),
        ("manual__2026-11-24T01:02:03+00:00", "manual__2026-11-24T01-02-03-00-00"),
        ("../../etc/passwd", "etc-passwd"),
        ("a  b/ü", "a-b"),
    ],
)
def test_names_fit_files(text: str, name: str) -> None:
    assert run_name(text) == name
    assert run_name(name) == name


@pytest.mark.parametrize("text", ["", "..", "/", "ü"])
def test_of_some_texts_no_name_is_left(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid run name"):
        run_name(text)


def test_what_is_specified_is_loaded(store: Store) -> None:
    run = a_run(store, start="2026-11-01T00:00:00+00:00", dry_run=True, previous="before")
    run.specify("seed: 7\n")
    loaded = Run.load(store, "night")
    assert loaded.spec == run.spec
    assert loaded.params == "seed: 7\n"
    assert known_runs(store) == ["night"]


def test_a_run_is_found_by_what_the_scheduler_calls_it(store: Store) -> None:
    a_run(store, "manual-2026-00-00").specify("")
    assert Run.load(store, "manual-2026:00+00").spec.run == "manual-2026-00-00"


def test_a_digest_is_of_all_but_the_time_of_the_call(store: Store) -> None:
    first, later = a_run(store), a_run(store, created="2026-11-24T09:00:00+00:00")
    first.specify("seed: 1\n")
    before = Run.load(store, "night").digest
    assert first.digest == before
    later.specify("seed: 1\n")
    assert Run.load(store, "night").digest == before
    digests = {before}
    for changes in ({"commit": "decade"}, {"end": None}, {"dry_run": True}, {"previous": "p"}):
        a_run(store, **changes).specify("seed: 1\n")
        digests.add(Run.load(store, "night").digest)
    first.specify("seed: 2\n")
    assert first.digest == Run.load(store, "night").digest
    assert len(digests | {first.digest}) == 6


def test_specified_anew_keeps_what_stages_left(store: Store) -> None:
    first = a_run(store)
    first.specify("seed: 1\n")
    first.leave_entry("train@ease", {"cmd": "train"})
    first.store_files({"reports/gate.json": b"{}"})
    a_run(store, commit="decade").specify("seed: 2\n")
    again = Run.load(store, "night")
    assert (again.spec.commit, again.params) == ("decade", "seed: 2\n")
    assert again.entries() == {"train@ease": {"cmd": "train"}}
    assert again.file("reports/gate.json") == b"{}"


def test_an_unknown_run_names_known_ones(store: Store) -> None:
    with pytest.raises(ArtifactError, match=r"there is no run 'x'.*start-run.*known: none"):
        Run.load(store, "x")
    for number in range(7):
        a_run(store, f"night-{number}").specify("")
    with pytest.raises(ArtifactError, match=r"known: night-2, night-3, night-4, night-5, night-6$"):
        Run.load(store, "x")


def test_a_run_of_another_version_is_refused(store: Store) -> None:
    run = a_run(store)
    run.specify("")
    fields = json.loads(store.read("runs/night/run.json"))
    for other in (
        {**fields, "schema": "run/0"},
        {k: v for k, v in fields.items() if k != "schema"},
    ):
        store.write("runs/night/run.json", json.dumps({**other, "unknown": 1}).encode())
        with pytest.raises(ArtifactError, match="another version"):
            Run.load(store, "night")


def test_entries_are_by_stage_and_of_this_run(store: Store) -> None:
    run, other = a_run(store), a_run(store, "night-2")
    assert run.entries() == {}
    run.leave_entry("split", {"cmd": "old"})
    run.leave_entry("split", {"cmd": "split", "outs": [{"path": "data/split", "md5": "ab.dir"}]})
    run.leave_entry("train@t_ease", {"cmd": "train"})
    other.leave_entry("select", {"cmd": "select"})
    assert run.entries() == {
        "split": {"cmd": "split", "outs": [{"path": "data/split", "md5": "ab.dir"}]},
        "train@t_ease": {"cmd": "train"},
    }


def test_files_are_bytes_by_path(store: Store) -> None:
    run = a_run(store)
    with pytest.raises(ArtifactError, match=r"gate\.json is missing"):
        run.file("reports/gate.json")
    run.store_files({"reports/status/status.html": b"\xff\x00", "reports/gate.json": b"{}"})
    assert run.file("reports/status/status.html") == b"\xff\x00"
    assert run.file("reports/gate.json") == b"{}"


def test_the_run_before_is_that_of_the_latest_window_which_ends_no_later(store: Store) -> None:
    finished(store, "z-first", "2026-11-22T00:00:00+00:00")
    finished(store, "b-third", "2026-11-24T00:00:00+00:00")
    finished(store, "a-second", "2026-11-23T00:00:00+00:00")  # finished last, and sorted first
    finished(store, "noon", "2026-11-23T12:00:00.500000+00:00")
    for end, before in (
        ("2026-11-21T00:00:00+00:00", None),
        ("2026-11-22T00:00:00+00:00", "z-first"),
        ("2026-11-23T00:00:00+00:00", "a-second"),
        ("2026-11-23T12:00:00+00:00", "a-second"),
        ("2026-11-23T23:00:00+00:00", "noon"),
        ("2026-11-24T00:00:00+00:00", "b-third"),
        ("2027-01-01T00:00:00+00:00", "b-third"),
        (None, "b-third"),
    ):
        assert previous_run(store, "new", end) == before, end


def test_a_run_does_not_take_up_from_itself(store: Store) -> None:
    end = "2026-11-24T00:00:00+00:00"
    finished(store, "a", end)
    finished(store, "b", end)
    assert previous_run(store, "b", end) == "a"
    assert previous_run(store, "c", end) == "b"


def test_an_open_window_ends_last(store: Store) -> None:
    finished(store, "dated", "2999-01-01T00:00:00+00:00")
    finished(store, "all", None)
    assert previous_run(store, "new", None) == "all"
    assert previous_run(store, "new", "2999-06-01T00:00:00+00:00") == "dated"


def test_names_with_two_dashes_are_kept_whole(store: Store) -> None:
    finished(store, "a--b", "2026-11-24T00:00:00+00:00")
    assert previous_run(store, "new", None) == "a--b"


def test_a_dry_run_is_nothing_to_take_up_from(store: Store) -> None:
    finished(store, "dry", None, dry_run=True)
    assert previous_run(store, "new", None) is None


def test_a_run_that_registered_nothing_is_nothing_to_take_up_from(store: Store) -> None:
    run = a_run(store)
    run.leave_entry("build_interactions", {"cmd": "build"})
    run.leave_entry("register@x", {"cmd": "no stage of ours"})
    run.finish()
    assert store.names("finished") == []
