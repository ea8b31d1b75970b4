"""What `publish` finds: specified runs, tables that recommend-champion has left, latest.json."""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.data.tables import RECOMMENDATIONS
from pipeline_steps.champion import publish
from pipeline_steps.nights.runs import Run, RunSpec
from pipeline_steps.nights.store import Store
from pipeline_steps.runtime.command import execute
from tests.steps.registries import MODEL

END = "2026-11-24T00:00:00+00:00"
ROWS = [
    ("u1", 1, "i1", 0.9, "history"),
    ("u1", 2, "i2", 0.5, "history"),
    ("u2", 1, "i2", 0.7, "popularity"),
]


def a_run(tmp_path: Path, name: str, end: str | None = END, created: str = "") -> Run:
    spec = RunSpec(
        run=name, commit="c0ffee", start=None, end=end, dry_run=False, previous=None,
        created=created,
    )  # fmt: skip
    run = Run(Store(str(tmp_path / "remote" / "store")), spec)
    run.specify("")
    run.leave_entry("register", {"cmd": "register"})
    return run


def write_table(
    published: Path, run: str, rows: Sequence[tuple[Any, ...]] = ROWS, version: str = "3",
    recipe: str | None = "ease",
) -> Path:  # fmt: skip
    """What recommend-champion leaves."""
    folder = published / "recommendations" / run
    folder.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(rows, schema=RECOMMENDATIONS, orient="row")
    content = io.BytesIO()
    table.write_parquet(content)
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    path = folder / f"recommendations-{sha256[:12]}.parquet"
    path.write_bytes(content.getvalue())
    manifest = {
        "schema": "recommendations/2", "run": run, "file": path.name, "sha256": sha256,
        "model": {"name": MODEL, "version": version}, "recipe": recipe,
        "users": table["user_id"].n_unique(), "rows": len(table),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return path


def call(monkeypatch: pytest.MonkeyPatch, run: str, *more: str) -> int:
    monkeypatch.setattr("sys.argv", ["publish", "--run", run, *more])
    with pytest.raises(SystemExit) as end:
        execute(publish.run)
    return int(end.value.code or 0)


def latest(published: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((published / "recommendations/latest.json").read_text())
    return found


def users(
    *names: str, items: str = "abcd", source: str = "history", shift: int = 0
) -> list[tuple[Any, ...]]:
    """The same items for each of some users, beginning with another one each."""
    turned = items[shift:] + items[:shift]
    return [
        (name, rank, item, 1.0 / rank, source)
        for name in names
        for rank, item in enumerate(turned, 1)
    ]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])
