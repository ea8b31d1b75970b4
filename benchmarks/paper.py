"""Every model on the paper's MovieLens-1M split, beside the numbers of the paper and its code.

  DIFFREC_BENCH_DATA=folder make bench-paper
  MODELS="diffrec ease" SEEDS="1 2 3" PROTOCOLS=A SETTINGS=authors make bench-paper
  MODELS=diffrec PRECISION="float32 bfloat16" make bench-paper

A model that needs times, such as recent popularity, is not measured: the split has none.

Each fit runs in a process of its own. Finished ones stay in reports/bench/paper.json, so the same
command continues where it was stopped, and fits again only what depends on code or settings that
changed since. The table of the chosen fits is Markdown.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fits.fitting import fit_and_measure, item_embeddings
from benchmarks.fits.plan import LABEL, PRECISIONS, SETTINGS, Fit, plan
from benchmarks.fits.table import NOTES, paper_table
from benchmarks.ml1m import PROTOCOLS, find_data, load_split
from benchmarks.processes import WorkError, in_own_process
from benchmarks.results import Results, Row, show
from benchmarks.settings import read_settings

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choices of fits; an empty list stands for the default."""
    add = parser.add_argument
    add("--models", nargs="*", default=[], help="entries under `train` (default: all)")
    add("--seeds", nargs="*", type=int, default=[], help="one fit each (default: 1 2 3)")
    add("--protocols", nargs="*", choices=PROTOCOLS, default=[], help="(default: both)")
    add("--settings", nargs="*", choices=SETTINGS, default=[], help="(default: both)")
    add("--precision", nargs="*", choices=PRECISIONS, default=[], help="of models with a choice")


def main(args: argparse.Namespace) -> None:
    """Run the fits that are not finished, and show the table.

    Raises:
        ConfigError: a choice is unknown.
        WorkError: some fits failed; all others are finished.
    """
    data = find_data(args.data)
    if data is None:
        return
    protocols = args.protocols or tuple(PROTOCOLS)
    fits = plan(
        {name: read_settings(SETTINGS[name]) for name in args.settings or SETTINGS},
        load_split(data),
        models=args.models,
        seeds=args.seeds or (1, 2, 3),
        protocols=protocols,
        precisions=args.precision,
    )
    results = Results(args.out / "paper.json", LABEL)
    rows = run(fits, data, results)
    tables = [paper_table(name, rows) for name in protocols]
    show(*tables, NOTES)
    if len(rows) < len(fits):
        raise WorkError(f"{len(fits) - len(rows)} of {len(fits)} fits failed")


def run(fits: Sequence[Fit], data: Path, results: Results) -> list[Row]:
    """Run the fits whose rows are missing; returns the rows of all that succeeded."""
    rows = []
    for number, fit in enumerate(fits, start=1):
        row = results.find(fit.key)
        if row is None:
            log.info("%d/%d %s", number, len(fits), fit.name)
            try:
                embeddings = item_embeddings(fit, data, results.path.parent / "cache")
                row = in_own_process(fit_and_measure, fit, data, embeddings)
            except WorkError as error:
                log.error("%s: %s", fit.name, error)
                continue
            log.info("  recall@20 %.4f in %.1f s", row["recall@20"], row["fit_seconds"])
        rows.append({**row, **fit.label})
        results.add(rows[-1])
    return rows
