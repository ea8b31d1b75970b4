"""Speed and memory beside the DiffRec authors' code, RecBole, and what no code can pass.

  DIFFREC_BENCH_DATA=folder REFERENCE=checkout RECBOLE=checkout make bench
  CASES="diffrec.train_epoch lightgcn" THREADS=1 REPEATS=3 make bench

Both sides of a comparison run in turns, each in a process of its own, on the same data with the
same threads; a number is the median over the turns. For others' code, the ratio tells how many
times faster ours is; for a limit, how many times the limit ours takes. REFERENCE is a checkout of
the DiffRec authors' code, RECBOLE one of RecBole, RECBOLE_PYTHON a Python with what RecBole needs,
KMEANS_PYTORCH a checkout of kmeans_pytorch. None of them is part of this project; without one, its
rows are left empty. Rows go to reports/bench/speed.json, where those that were not measured this
time stay.

Threads that wait for each other spin for a moment and then sleep, on all sides, as they do in our
steps (see pipeline_steps/__init__.py); WAIT_POLICY=ACTIVE lets them spin on. Memory is that of a
side's main process: the loader's workers, which the authors' code starts, are not counted.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks._cases import groups
from benchmarks._comparison import FAILED, Group, Row, SideSpec
from benchmarks._laps import Side
from benchmarks._ml1m import data_folder, load_split, missing_data
from benchmarks._specs import NOT_MEASURED, Others
from diffrec_core.common.artifacts import read_json, write_json
from diffrec_core.common.errors import ConfigError, DiffRecError
from pipeline_steps.runtime.command import command_line

log = logging.getLogger("pipeline")

_CHECKOUTS = {
    "REFERENCE": "DiffRec/main.py",
    "RECBOLE": "recbole/__init__.py",
    "KMEANS_PYTORCH": "kmeans_pytorch/__init__.py",
}
"""Variables that name a checkout, and a file that is in it."""

_SPINS = {"PASSIVE": os.environ["GOMP_SPINCOUNT"], "ACTIVE": "INFINITE"}
"""How long a thread spins by WAIT_POLICY; our own steps' way is in the environment."""


class SpeedError(DiffRecError):
    """Some comparisons failed; the log says why, and all others are in the table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the choices: options, or environment variables of the same names."""
    cores = str(os.cpu_count())
    for name, default, meaning in (
        ("THREADS", cores, "of every side (default: as many as there are cores)"),
        ("REPEATS", "5", "turns of every side (default: 5)"),
        (
            "WAIT_POLICY",
            "PASSIVE",
            "of all threads: PASSIVE, as in our steps (default), or ACTIVE",
        ),
        *((name, "", f"a checkout, with {file}") for name, file in _CHECKOUTS.items()),
        ("RECBOLE_PYTHON", sys.executable, "runs RecBole (default: our own)"),
    ):
        chosen = os.environ.get(name) or default
        option = f"--{name.lower().replace('_', '-')}"
        parser.add_argument(option, default=chosen, help=meaning)
    cases = os.environ.get("CASES", "").split()
    parser.add_argument("--cases", nargs="*", default=cases, help="or their beginnings")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), metavar="FOLDER")


def main(args: argparse.Namespace) -> None:
    """Measure what was chosen, and show the table.

    Raises:
        ConfigError: a choice is unknown.
        SpeedError: a comparison failed.
    """
    known = groups(_others(args), _whole_number("REPEATS", args.repeats))
    order = [(comparison.case, comparison.against) for g in known for comparison in g.comparisons]
    environment = _environment(args)
    rows: list[Row] = []
    for group in choose(known, args.cases):
        rows += measure(group, environment)
        write_rows(args.out / "speed.json", rows, order)
    show(rows)
    if failed := [row.case for row in rows if row.note.startswith(FAILED)]:
        raise SpeedError(f"{len(failed)} of {len(rows)} comparisons failed: {', '.join(failed)}")


def _others(args: argparse.Namespace) -> Others:
    """Find the data and the checkouts."""
    others = Others(
        reference=_checkout("REFERENCE", args.reference),
        recbole=_checkout("RECBOLE", args.recbole),
        recbole_python=args.recbole_python,
        kmeans_pytorch=_checkout("KMEANS_PYTORCH", args.kmeans_pytorch),
    )
    folder = data_folder()
    if folder is None:
        log.warning("%s on MovieLens-1M; the synthetic cases do without.", missing_data()[:-1])
        return others
    split = load_split(folder)
    return others._replace(
        data=str(folder.resolve()), users=len(split.train), items=len(split.items)
    )


def _checkout(name: str, value: str) -> str:
    """The path of a checkout, or an empty one when none is given.

    Raises:
        ConfigError: what is given is not a checkout.
    """
    if not value:
        return ""
    path = Path(value).resolve()
    if not (path / _CHECKOUTS[name]).is_file():
        raise ConfigError(f"{name}: {value} is no checkout of it: {_CHECKOUTS[name]} is not there")
    return str(path)


def _whole_number(name: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"{name}: {value!r} is not a whole number, 1 or more")
    return int(value)


def _environment(args: argparse.Namespace) -> dict[str, str]:
    threads = str(_whole_number("THREADS", args.threads))
    if args.wait_policy not in _SPINS:
        raise ConfigError(f"WAIT_POLICY: {args.wait_policy!r} is neither PASSIVE nor ACTIVE")
    libraries = ("OMP", "MKL", "OPENBLAS")
    return {
        "OMP_WAIT_POLICY": args.wait_policy,
        "GOMP_SPINCOUNT": _SPINS[args.wait_policy],
        **{f"{library}_NUM_THREADS": threads for library in libraries},
    }


def choose(known: Sequence[Group], cases: Sequence[str]) -> list[Group]:
    """Keep the comparisons that are asked for.

    Raises:
        ConfigError: nothing begins with one of `cases`.
    """
    for case in cases:
        if not any(group.only([case]).comparisons for group in known):
            names = dict.fromkeys(c.case for group in known for c in group.comparisons)
            raise ConfigError(f"CASES: nothing begins with {case!r}; known: {', '.join(names)}")
    return [kept for group in known if (kept := group.only(cases)).comparisons]


def measure(group: Group, environment: dict[str, str]) -> list[Row]:
    """Run a group."""
    cases = list(dict.fromkeys(comparison.case for comparison in group.comparisons))
    log.info("%s", ", ".join(cases))

    def start(spec: SideSpec) -> Side:
        python = spec.python or sys.executable
        return Side(spec.function, spec.settings, environment=environment, python=python)

    rows = group.run(start)
    for row in rows:
        if row.ratio is not None:
            log.info("  %s against %s: ratio %.2f", row.case, row.against, row.ratio)
    return rows


def write_rows(path: Path, rows: Sequence[Row], order: Sequence[tuple[str, str]]) -> None:
    """Write the rows as JSON, among those that are there of other comparisons.

    A row that was not measured leaves an earlier one that was in its place.

    Args:
        path: of the file.
        rows: of this run.
        order: case and `against` of all comparisons that there are; rows of others are dropped.
    """
    kept = {_label(row): row for row in read_json(path)} if path.exists() else {}
    for row in map(_rounded, rows):
        measured_before = kept.get(_label(row), {}).get("ratio") is not None
        if not (measured_before and str(row["note"]).startswith(NOT_MEASURED)):
            kept[_label(row)] = row
    write_json(path, [kept[label] for label in order if label in kept])


def _label(row: Mapping[str, object]) -> tuple[object, object]:
    return row["case"], row["against"]


def _rounded(row: Row) -> dict[str, object]:
    """A row with numbers of five digits: more would be noise."""
    return {
        name: float(f"{value:.5g}") if isinstance(value, float) and np.isfinite(value) else value
        for name, value in asdict(row).items()
    }


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table(rows))


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal, ratios first."""
    view = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("case", "against"):
        view.add_column(heading)
    for heading in ("ratio", "target", "met", "ours", "other", "unit", "peak MiB"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("note")
    for row in rows:
        style = {True: "green", False: "red", None: ""}[row.met]
        view.add_row(*map(Text, _cells(row)), style=style)
    return view


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "no", None: ""}[row.met]
    numbers = [_number(value) for value in (row.ratio, row.ours, row.other)]
    peak = "" if row.peak_mib is None else f"{row.peak_mib:,.0f}"
    ratio, ours, other = numbers
    return (row.case, row.against, ratio, row.target, met, ours, other, row.unit, peak, row.note)


def _number(value: float | None) -> str:
    """Three digits, or all of those before the point.

    >>> _number(0.01234), _number(1234.5), _number(None)
    ('0.0123', '1,234', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
