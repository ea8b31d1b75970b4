"""Every model on the paper's MovieLens-1M split, beside the numbers of the paper and its code.

  DIFFREC_BENCH_DATA=folder make bench-paper
  MODELS="diffrec ease" SEEDS="1 2 3" PROTOCOLS=A SETTINGS=authors make bench-paper
  MODELS=diffrec PRECISION="float32 bfloat16" make bench-paper

A model that needs times, such as recent popularity, is not measured: the split has none.

Each fit runs in a process of its own. Finished ones stay in reports/bench/paper.json, so the same
command continues where it was stopped, and fits again only what depends on code or settings that
changed since. The table of the chosen fits is Markdown.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from benchmarks.fits.fitting import fit_and_measure, item_embeddings
from benchmarks.fits.plan import LABEL, SETTINGS, Fit, plan
from benchmarks.fits.table import NOTES, paper_table
from benchmarks.ml1m import find_data, load_split
from benchmarks.processes import WorkError, in_own_process
from benchmarks.results import Results, Row, show
from benchmarks.settings import BenchInputs, read_settings

log = logging.getLogger("pipeline")


class PaperInputs(BenchInputs):
    """The choice of fits; nothing named stands for the default."""

    models: tuple[str, ...] = ()
    """Entries under `train`; by default all."""

    seeds: tuple[int, ...] = ()
    """One fit each; by default 1 2 3."""

    protocols: tuple[Literal["A", "C"], ...] = ()
    """A, C or both; by default both."""

    settings: tuple[Literal["authors", "ours"], ...] = ()
    """authors, ours or both; by default both."""

    precision: tuple[Literal["float32", "bfloat16"], ...] = ()
    """Of models with a choice: float32, bfloat16."""


def run(inputs: PaperInputs) -> None:
    """Run the fits that are not finished, and show the table.

    Raises:
        ConfigError: there are no data, or a choice is unknown.
        WorkError: some fits failed; all others are finished.
    """
    data = find_data(inputs.data)
    protocols = inputs.protocols or ("A", "C")
    fits = plan(
        {name: read_settings(SETTINGS[name]) for name in inputs.settings or SETTINGS},
        load_split(data),
        models=inputs.models,
        seeds=inputs.seeds or (1, 2, 3),
        protocols=protocols,
        precisions=inputs.precision,
    )
    results = Results(inputs.out / "paper.json", LABEL)
    rows = run_fits(fits, data, results)
    tables = [paper_table(name, rows) for name in protocols]
    show(*tables, NOTES)
    if len(rows) < len(fits):
        raise WorkError(f"{len(fits) - len(rows)} of {len(fits)} fits failed")


def run_fits(fits: Sequence[Fit], data: Path, results: Results) -> list[Row]:
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
