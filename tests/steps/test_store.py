"""The store of small files: what is written appears whole, and one of several creates a name."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from diffrec_core.common.errors import ArtifactError, ConfigError, StorageError
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.store import ExistsError, Store
from tests.faults import DISK_BYTES, forks, killed_at_every_step, small_disk


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    urls: dict[str, Callable[[], str]] = {
        "folder": lambda: str(tmp_path / "a store"),
        "memory": lambda: f"memory://{uuid4().hex}",
    }
    return Store(urls[request.param]())


def test_what_is_written_is_read(store: Store) -> None:
    store.write("runs/1/state.json", b"one")
    assert store.read("runs/1/state.json") == b"one"
    store.write("runs/1/state.json", b"two")
    assert store.read("runs/1/state.json") == b"two"


def test_names_are_sorted_and_of_a_folder(store: Store) -> None:
    assert store.names() == []
    for name in ("b/2", "b/1", "a/deep/er", "c"):
        store.write(name, b"")
    assert store.names() == ["a/deep/er", "b/1", "b/2", "c"]
    assert store.names("b") == ["b/1", "b/2"]
    assert store.names("absent") == []


def test_what_is_not_there(store: Store) -> None:
    assert store.read_if_there("nothing") is None
    with pytest.raises(ArtifactError, match="nothing is missing"):
        store.read("nothing")


def test_create_does_not_replace(store: Store) -> None:
    store.create("promotions/1", b"first")
    with pytest.raises(ExistsError, match="promotions/1 is there already"):
        store.create("promotions/1", b"second")
    assert store.read("promotions/1") == b"first"
    assert store.names() == ["promotions/1"]


def test_of_many_that_create_at_once_one_succeeds(tmp_path: Path) -> None:
    url, start = str(tmp_path), threading.Barrier(8)
    won: list[int] = []

    def race(number: int) -> None:
        own = Store(url)
        for turn in range(20):
            start.wait()
            try:
                own.create(f"turn/{turn}", b"%d" % number * 1000)
            except ExistsError:
                continue
            won.append(turn)

    threads = [threading.Thread(target=race, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(20))
    store = Store(url)
    assert len(store.names()) == 20  # nothing temporary is left
    for name in store.names():  # whole, and of one author
        assert len(set(store.read(name).split())) == 1
        assert len(store.read(name)) == 1000


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    store, size = Store(str(tmp_path)), 200_000
    store.write("state", b"0" * size)
    done = threading.Event()

    def rewrite() -> None:
        for number in range(40):
            store.write("state", b"%d" % (number % 10) * size)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        content = store.read("state")
        assert len(content) == size
        assert len(set(content)) == 1
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(str(tmp_path))
    for action in (store.write, store.create):
        with pytest.raises(StorageError, match="file/below cannot be written"):
            action("file/below", b"")
    assert store.names() == ["file"]


def test_an_unknown_kind_of_url() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        Store("nowhere://bucket/prefix")


def test_the_project_store_lies_in_the_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIFFREC_REMOTE", raising=False)
    settings(tmp_path).store.write("a", b"")
    assert (tmp_path / ".nightly/remote/store/a").is_file()
    monkeypatch.setenv("DIFFREC_REMOTE", str(tmp_path / "elsewhere"))
    settings(tmp_path).store.write("b", b"")
    assert (tmp_path / "elsewhere/store/b").is_file()


def test_a_folder_is_read_at_once(store: Store) -> None:
    files = {"a.json": b"1", "deep/b.json": b"2"}
    for name, content in files.items():
        store.write(f"runs/x/{name}", content)
    store.write("runs/xy/c.json", b"3")

    assert store.read_folder("runs/x") == files
    assert store.read_folder("nothing") == {}


def test_a_full_disk_leaves_what_was_there_and_nothing_more(tmp_path: Path) -> None:
    content = b"x" * 2 * DISK_BYTES
    with small_disk(tmp_path / "disk") as disk:
        store = Store(str(disk))
        store.write("folder/state", b"old")
        for _ in range(3):
            for action in (
                lambda: store.write("folder/state", content),
                lambda: store.write_all({"folder/state": b"new", "folder/other": content}),
                lambda: store.create("folder/new", content),
            ):
                with pytest.raises(StorageError, match="cannot be written"):
                    action()
                assert store.read("folder/state") == b"old"
                assert [path.name for path in (disk / "folder").iterdir()] == ["state"]


@forks
def test_files_that_belong_together_appear_in_order(tmp_path: Path) -> None:
    """A kill can part them; but never is a later one new beside an earlier one that is old."""

    def write(folder: Path, text: bytes) -> None:
        Store(str(folder)).write_all({"gate.json": text, "deep/report.html": text})

    seen = set()
    for folder in killed_at_every_step(
        tmp_path, lambda folder: write(folder, b"old"), lambda folder: write(folder, b"new")
    ):
        store = Store(str(folder))
        assert store.names() == ["deep/report.html", "gate.json"]
        seen.add((store.read("gate.json"), store.read("deep/report.html")))
    assert seen == {(b"old", b"old"), (b"new", b"old"), (b"new", b"new")}


def test_files_are_removed(store: Store) -> None:
    store.write("a/b", b"")
    store.remove("a/b")
    store.remove("a/b")  # it is gone already
    assert store.names() == []
