"""Every model on the paper's MovieLens-1M split, beside the numbers of the paper and its code.

  DIFFREC_BENCH_DATA=folder make bench-paper
  MODELS="diffrec ease" SEEDS="1 2 3" PROTOCOLS=A SETTINGS=authors make bench-paper
  MODELS=diffrec PRECISION="float32 bfloat16" make bench-paper

Recent popularity is not measured: it needs times, which the split does not have.

Each fit runs in a process of its own. What is finished is kept in reports/bench/paper.json, so the
same command continues where it was stopped, and fits again only what depends on code or settings
that changed since. The table goes to the terminal and to reports/bench/paper.md.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import _paper_table as tables
from benchmarks._fit import Task
from benchmarks._fits import EMBEDDINGS, PRECISIONS, SETTINGS, Fit, Row, Rows, plan
from benchmarks._ml1m import PROTOCOLS, data_folder, load_split, missing_data
from diffrec_core.common.artifacts import read_json, sha256_file, write_text
from diffrec_core.common.errors import ConfigError, DiffRecError
from pipeline_steps.params import presets
from pipeline_steps.runtime.command import command_line, repository_root

log = logging.getLogger("pipeline")


class FitError(DiffRecError):
    """A fit ended with an error of its own, which it has printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the choices: options, or environment variables of the same names."""
    for name, default, meaning in (
        ("MODELS", "", "entries under `train` in the presets (default: all)"),
        ("SEEDS", "1 2 3", "one fit of each model for each (default: 1 2 3)"),
        ("PROTOCOLS", "A C", "A: the authors'; C: chronological (default: both)"),
        ("SETTINGS", "authors ours", "presets ml-1m-clean, ml-1m-tuned (default: both)"),
        ("EMBEDDINGS", "ours published", "of latent models' categories (default: both)"),
        ("PRECISION", "", "of the DiffRec family: float32, bfloat16 (default: the preset's)"),
    ):
        chosen = (os.environ.get(name) or default).split()
        parser.add_argument(f"--{name.lower()}", nargs="*", default=chosen, help=meaning)
    parser.add_argument("--presets", type=Path, default=presets.PRESETS, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), metavar="FOLDER")


def main(args: argparse.Namespace) -> None:
    """Run what is not finished, and show the table.

    Raises:
        ConfigError: a choice is unknown.
        FitError: some fits failed; all others are finished.
    """
    folder = data_folder()
    if folder is None:
        log.warning("%s", missing_data())
        return
    bench = Bench(folder, args.presets, args.out)
    choices = (args.models, args.seeds, args.protocols, args.settings, args.embeddings)
    fits = bench.plan(*choices, precisions=args.precision)
    failed = bench.run(fits)
    bench.show()
    if failed:
        raise FitError(f"{len(failed)} of {len(fits)} fits failed: {', '.join(failed)}")


class Bench:
    """The fits over one data folder.

    Args:
        data: folder of the split.
        presets: folder of the presets.
        out: folder for rows, table and cached embeddings.
        start: does a task; a process of its own unless a test has another way.
    """

    def __init__(
        self,
        data: Path,
        presets: Path,
        out: Path,
        start: Callable[[Task], Row] | None = None,
    ) -> None:
        self.data, self.presets, self.out = data, presets, out
        self.rows = Rows(out / "paper.json")
        self.start = start or _in_own_process

    def plan(
        self,
        models: Sequence[str] = (),
        seeds: Sequence[str] = ("1", "2", "3"),
        protocols: Sequence[str] = tuple(PROTOCOLS),
        settings: Sequence[str] = tuple(SETTINGS),
        embeddings: Sequence[str] = EMBEDDINGS,
        *,
        precisions: Sequence[str] = (),
        device: str = "",
    ) -> list[Fit]:
        """List the fits of these choices; without a precision, that of the preset."""
        for seed in seeds:
            if not seed.isdigit():
                raise ConfigError(f"SEEDS: {seed!r} is not a whole number, 0 or more")
        sources = self._sources(_chosen("EMBEDDINGS", embeddings, EMBEDDINGS))
        return plan(
            {name: self._preset(name) for name in _chosen("SETTINGS", settings, SETTINGS)},
            models=models,
            protocols=_chosen("PROTOCOLS", protocols, PROTOCOLS),
            seeds=map(int, seeds),
            embeddings=sources,
            split=load_split(self.data).fingerprint,
            precisions=_chosen("PRECISION", precisions, PRECISIONS) or ("",),
            device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        )

    def _preset(self, setting: str) -> dict[str, Any]:
        """A setting's preset, without what it has from another's: that would be the same row."""
        preset = presets.read_preset(SETTINGS[setting], self.presets)
        others = set(SETTINGS.values()) - {preset.name}
        values = preset.values
        for model in [name for name, origin in preset.origins.items() if origin in others]:
            del values["train"][model]
        return values

    def _sources(self, names: Sequence[str]) -> dict[str, str]:
        """Fingerprints of the sources of embeddings that there are."""
        path = self.data / "reference_item_embeddings.npy"
        sources = {"ours": "", "published": sha256_file(path) if path.is_file() else None}
        for name in names:
            if sources[name] is None:
                log.warning("%s is missing: no rows with published embeddings", path)
        return {name: found for name in names if (found := sources[name]) is not None}

    def run(self, fits: Sequence[Fit]) -> list[str]:
        """Run the fits whose rows are missing; returns the names of those that failed."""
        failed = []
        for number, fit in enumerate(fits, start=1):
            row = self.rows.find(fit)
            if row is None:
                log.info("%d/%d %s", number, len(fits), fit.name)
                row = self._fit(fit)
            if row is None:
                failed.append(fit.name)
            else:
                self.rows.add(row)
        return failed

    def _fit(self, fit: Fit) -> Row | None:
        task = Task(asdict(fit), str(self.data))
        try:
            if fit.embeddings == "ours":
                task = task._replace(embeddings=str(self.pretrained(fit, task)))
            row = {**fit.label, **self.start(task)}
        except FitError as error:
            log.error("%s: %s", fit.name, error)
            return None
        log.info("  recall@20 %.4f in %.1f s", row["recall@20"], row["fit_seconds"])
        return row

    def pretrained(self, fit: Fit, task: Task) -> Path:
        """The folder of LightGCN's embeddings for a fit, which are trained once for many."""
        folder = self.out / "cache" / f"item_embeddings-{fit.pretrain_key[:16]}"
        if not folder.exists():
            self.start(task._replace(embeddings=str(folder), pretrain=True))
        return folder

    def show(self) -> None:
        """Print the table of all rows, and write it as a document."""
        rows = self.rows.read()
        current = self._current(rows)
        content = {
            name: tables.lines(name, rows, lambda row: row["key"] in current) for name in PROTOCOLS
        }
        console = Console()
        if not console.is_terminal:
            console.width = 140
        for name, lines in content.items():
            console.print(tables.terminal_table(name, lines), "")
        path = self.out / "paper.md"
        write_text(path, tables.markdown(content, _machine()))
        console.print(f"{path} and {self.rows.path}", soft_wrap=True)

    def _current(self, rows: Sequence[Row]) -> set[str]:
        """The keys that rows of these seeds, precisions and devices have today."""
        seeds = sorted({str(row["seed"]) for row in rows})
        kinds = {(row.get("precision", ""), row.get("device", "cpu")) for row in rows}
        return {
            fit.key
            for precision, device in kinds
            for fit in self.plan(
                seeds=seeds, precisions=[precision] if precision else [], device=device
            )
        }


def _chosen(
    name: str, values: Sequence[str], known: Mapping[str, Any] | Sequence[str]
) -> list[str]:
    for value in values:
        if value not in known:
            raise ConfigError(f"{name}: {value!r} is not known; known: {', '.join(known)}")
    return list(values)


def _in_own_process(task: Task) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        command = [sys.executable, "-m", "benchmarks._fit"]
        content = json.dumps(task._replace(out=str(out))._asdict())
        environment = {**os.environ, "PYTHONPATH": str(repository_root())}
        result = subprocess.run(command, input=content, text=True, env=environment, check=False)
        if result.returncode:
            raise FitError(f"its process ended with {result.returncode}")
        row: Row = read_json(out)
        return row


def _machine() -> str:
    kind = platform.machine()
    return (
        f"This machine: {kind}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{'with' if torch.cuda.is_available() else 'without'} CUDA."
    )


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
