"""restore: a version's folder is what dvc.yaml and its own params name, no more and no less."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline_steps.nights import restore
from pipeline_steps.nights.runs import Run
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry.versions import Version
from tests.steps.tiny_runs import PARAMS, Tiny

FEWER = PARAMS.partition("  b:")[0]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A run of two models, then of one; the entries of both are there."""
    made = Tiny(tmp_path / "tiny")
    made.specify("night")
    made.run_all("night", machine="one")
    made.specify("night", FEWER)
    made.run_all("night", ("list_raw", "build", "train@a", "register"), machine="one")
    monkeypatch.setenv("DIFFREC_REPOSITORY", str(made.root))
    monkeypatch.setenv("DIFFREC_REMOTE", str(made.folder / "remote"))
    monkeypatch.setenv("DIFFREC_CACHE", str(made.machine("another") / "cache"))
    monkeypatch.chdir(tmp_path)
    return made


def registered(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1, as it was registered by those who kept the entries of all models in its lock."""
    text = StringIO()
    stages = Run.load(tiny.store, "night").entries()
    assert "train@b" in stages
    YAML().dump({"schema": "2.0", "stages": stages}, text)
    files = {"dvc.lock": text.getvalue(), "params.yaml": FEWER}
    tags = {"commit": tiny.git("rev-parse", "HEAD"), "run": "night"}

    @contextmanager
    def anywhere(_: str) -> Iterator[str]:
        yield "sqlite://"

    monkeypatch.setattr(restore, "tracking", anywhere)
    monkeypatch.setattr(
        restore.versions, "get_version", lambda name, number: Version(name, number, "r", tags)
    )
    monkeypatch.setattr(restore.versions, "read_file", lambda _, name: files[name])


def test_a_version_whose_run_had_more_models_before(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tiny, monkeypatch)
    out = Path.cwd() / "old"
    restore.run(restore.RestoreInputs(version="1", out=out), RegisterConfig())
    assert (out / "models/a.txt").read_text() == "model a 1\n"
    assert (out / "reports/best.txt").read_text() == "result a 1 built-one\n"
    assert not (out / "models/b.txt").exists()
    lock = YAML(typ="safe").load((out / "dvc.lock").read_text())
    assert set(lock["stages"]) == {"list_raw", "build", "train@a", "register"}
