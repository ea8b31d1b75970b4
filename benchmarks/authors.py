"""Train the DiffRec authors' own code with several seeds: how much of one row of theirs is chance.

  REFERENCE=checkout DIFFREC_BENCH_DATA=folder make bench-authors
  MODELS="diffrec t_diffrec" SEEDS="1 2 3" make bench-authors

Protocol A, with the settings of the preset ml-1m-clean, as their main.py does it: a validation
every 5 epochs, the end once the best is 20 epochs old, and the test of that epoch. Each training
takes minutes, in a process of its own; what is finished is kept in reports/bench/authors.json, and
done again if the settings changed.
"""

import argparse
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import _authors
from benchmarks._ml1m import METRICS, data_folder, missing_data
from benchmarks._paper_table import spread
from benchmarks._specs import settings_of
from diffrec_core.common.artifacts import read_json, sha256_json, write_json
from diffrec_core.common.errors import ConfigError
from pipeline_steps.runtime.command import command_line

log = logging.getLogger("pipeline")

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the choices: options, or environment variables of the same names."""
    for name, default, meaning in (
        ("MODELS", "t_diffrec", f"of {', '.join(_authors.PEERS)} (default: t_diffrec)"),
        ("SEEDS", "1 2 3", "one training of each model for each (default: 1 2 3)"),
    ):
        chosen = (os.environ.get(name) or default).split()
        parser.add_argument(f"--{name.lower()}", nargs="*", default=chosen, help=meaning)
    parser.add_argument(
        "--reference", default=os.environ.get("REFERENCE", ""), help="the authors' checkout"
    )
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), metavar="FOLDER")


def main(args: argparse.Namespace) -> None:
    """Train what is not finished, and show means and standard deviations.

    Raises:
        ConfigError: a choice is unknown.
    """
    folder = data_folder()
    if folder is None or not args.reference:
        why = missing_data() if folder is None else "REFERENCE names no checkout of the authors'."
        log.warning("%s", why)
        return
    for name in args.models:
        if name not in _authors.PEERS:
            known = ", ".join(_authors.PEERS)
            raise ConfigError(f"MODELS: {name!r} is not known; known: {known}")
    path = args.out / "authors.json"
    rows: list[Row] = read_json(path) if path.is_file() else []
    for model in args.models:
        for seed in map(int, args.seeds):
            told = {"model": model, "seed": seed, "settings": sha256_json(settings_of(model))}
            if not any(row.items() >= told.items() for row in rows):
                log.info("%s seed %d", model, seed)
                found = _in_own_process(model, seed, args.reference, folder)
                others = [row for row in rows if (row["model"], row["seed"]) != (model, seed)]
                rows = [*others, {**told, "protocol": "A", **found}]
                write_json(path, rows)
    _show(args.models, rows)


def _in_own_process(model: str, seed: int, reference: str, data: Path) -> Row:
    settings = {
        **{"reference": reference, "data": str(data), "workers": 0, "seed": seed},
        "model": settings_of(model),
    }
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found: Row = pool.submit(_authors.to_early_stopping, model, settings).result()
    log.info("  recall@20 %.4f, epoch %d", found["recall@20"], found["best_epoch"])
    return found


def _show(models: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table(box=box.SIMPLE, title="The authors' code, protocol A")
    for heading in ("model", *METRICS, "seeds"):
        table.add_column(heading)
    for model in models:
        own = [row for row in rows if row["model"] == model]
        cells = (spread([row[metric] for row in own]) for metric in METRICS)
        table.add_row(model, *cells, str(len(own)))
    console = Console()
    if not console.is_terminal:
        console.width = 140
    console.print(table)


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
