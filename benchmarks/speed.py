"""Time and memory beside the DiffRec authors' code and the limits of the machine.

  DIFFREC_BENCH_DATA=folder REFERENCE=checkout make bench
  CASES="diffrec.train_epoch evaluation.large" THREADS=1 REPEATS=3 make bench

Both sides of a comparison run in turns, each in a process of its own, on the same data with the
same threads; a number is the median over the turns. For another implementation, the ratio is how
many times faster ours is; for a limit, how many times the limit ours takes. REFERENCE is a checkout
of the DiffRec authors' code, which is no part of this project; without it, its rows are left empty.
Rows go to reports/bench/speed.json, where those that were not measured this time stay.

Threads that wait spin for a moment and then sleep, on all sides (see pipeline_steps/__init__.py;
OMP_WAIT_POLICY and GOMP_SPINCOUNT override it). Memory is the peak of a side's main process.
"""

import logging
import os
from collections.abc import Sequence

from rich import box
from rich.table import Table

from benchmarks.diffrec_authors import checkout
from benchmarks.inputs import BenchInputs
from benchmarks.ml1m import find_data
from benchmarks.results import Results, Row, show
from benchmarks.timing.cases import Available, all_cases
from benchmarks.timing.comparisons import FAILED, NOT_MEASURED
from diffrec_core.common.errors import ConfigError, DiffRecError

log = logging.getLogger("pipeline")

_NUMBERS = ("ratio", "target", "met", "ours", "other", "unit")


class SpeedError(DiffRecError):
    """Some comparisons failed; the log says why, and all others are in the table."""


class SpeedInputs(BenchInputs):
    """The choice of cases and how they are measured."""

    reference: str = ""
    """Checkout of the DiffRec authors' code."""

    cases: tuple[str, ...] = ()
    """Names of cases; by default all."""

    threads: int = os.cpu_count() or 1
    """Of every side."""

    repeats: int = 5
    """Turns of every side."""


def run(inputs: SpeedInputs) -> None:
    """Measure what was chosen, and show the table.

    Raises:
        SpeedError: a comparison failed.
    """
    cases, data = all_cases(), find_data(inputs.data)
    if unknown := [case for case in inputs.cases if case not in cases]:
        raise ConfigError(f"--cases: {', '.join(unknown)} unknown; known: {', '.join(cases)}")
    available = Available(str(data or ""), checkout(inputs.reference), inputs.repeats)
    for library in ("OMP", "MKL", "OPENBLAS"):  # of the processes to come
        os.environ[f"{library}_NUM_THREADS"] = str(inputs.threads)
    results, rows = Results(inputs.out / "speed.json", ("case", "against")), []
    for case in inputs.cases or cases:
        log.info("%s", case)
        measured = cases[case](available)
        keep(results, measured)
        rows += measured
    show(table(rows))
    if failed := [row["case"] for row in rows if row["note"].startswith(FAILED)]:
        raise SpeedError(f"{len(failed)} of {len(rows)} comparisons failed: {', '.join(failed)}")


def keep(results: Results, rows: Sequence[Row]) -> None:
    """Write rows; one that was not measured leaves an earlier one that was."""
    measured = {results.label(row) for row in results.rows() if row["ratio"] is not None}
    for row in rows:
        if not (row["note"].startswith(NOT_MEASURED) and results.label(row) in measured):
            results.add(row)


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    view = Table("case", "against", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in _NUMBERS:
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("note")
    words, styles = {True: "yes", False: "no"}, {True: "green", False: "red"}
    for row in rows:
        ratio, ours, other = (_number(row[name]) for name in ("ratio", "ours", "other"))
        numbers = (ratio, row["target"], words.get(row["met"], ""), ours, other, row["unit"])
        style = styles.get(row["met"])
        view.add_row(row["case"], row["against"], *numbers, row["note"], style=style)
    return view


def _number(value: float | None) -> str:
    """Three digits, or all of those before the point.

    >>> _number(0.01234), _number(1234.5), _number(None)
    ('0.0123', '1,234', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
