"""Time and memory beside the DiffRec authors' code and the limits of the machine.

  DIFFREC_BENCH_DATA=folder REFERENCE=checkout make bench
  CASES="diffrec.train_epoch evaluation.large" THREADS=1 REPEATS=3 make bench

Both sides of a comparison run in turns, each in a process of its own, on the same data with the
same threads; a number is the median over the turns. For another implementation, the ratio is how
many times faster ours is; for a limit, how many times the limit ours takes. REFERENCE is a checkout
of the DiffRec authors' code, which is no part of this project; without it or the data, their rows
are left out. Rows go to reports/bench/speed.json, where those of other runs stay.

Threads that wait spin for a moment and then sleep, on all sides (see pipeline_steps/__init__.py;
OMP_WAIT_POLICY and GOMP_SPINCOUNT override it). Memory is the peak of a side's main process.
"""

import logging
import os
from collections.abc import Sequence

from rich import box
from rich.table import Table

from benchmarks.diffrec_authors import checkout
from benchmarks.ml1m import find_data
from benchmarks.processes import WorkError
from benchmarks.results import Results, Row, show
from benchmarks.settings import BenchInputs
from benchmarks.timing.cases import Available, all_cases
from diffrec_core.common.errors import ConfigError

log = logging.getLogger("pipeline")


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
        ConfigError: a case is unknown, or a folder does not hold what it is to hold.
        WorkError: some cases failed; the log says why, and all others are in the table.
    """
    cases = all_cases()
    if unknown := [case for case in inputs.cases if case not in cases]:
        raise ConfigError(f"--cases: {', '.join(unknown)} unknown; known: {', '.join(cases)}")
    available = Available(
        str(find_data(inputs.data)) if inputs.data else "",
        checkout(inputs.reference) if inputs.reference else "",
        inputs.repeats,
    )
    for name, given in (("DIFFREC_BENCH_DATA", available.data), ("REFERENCE", available.reference)):
        if not given:
            log.warning("%s is not set: rows that need it are left out", name)
    for library in ("OMP", "MKL", "OPENBLAS"):  # of the processes to come
        os.environ[f"{library}_NUM_THREADS"] = str(inputs.threads)
    results, rows, failed = Results(inputs.out / "speed.json", ("case", "against")), [], []
    for case in inputs.cases or cases:
        log.info("%s", case)
        try:
            measured = cases[case](available)
        except WorkError as error:
            log.error("%s: %s", case, error)
            failed.append(case)
            continue
        for row in measured:
            results.add(row)
        rows += measured
    show(table(rows))
    if failed:
        of = len(inputs.cases or cases)
        raise WorkError(f"{len(failed)} of {of} cases failed: {', '.join(failed)}")


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    view = Table("case", "against", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("ratio", "target", "met", "ours", "other", "unit"):
        view.add_column(heading, justify="right", no_wrap=True)
    words, styles = {True: "yes", False: "no"}, {True: "green", False: "red"}
    for row in rows:
        ratio, ours, other = (f"{row[name]:,.4g}" for name in ("ratio", "ours", "other"))
        cells = (row["case"], row["against"], ratio, row["target"], words.get(row["met"], ""))
        view.add_row(*cells, ours, other, row["unit"], style=styles.get(row["met"]))
    return view
