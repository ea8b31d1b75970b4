"""The summary that ends `make run`: leaderboard, registered version, recommendations, next steps.

Reads what the pipeline wrote and prints it; computes nothing and changes nothing. Imports neither
torch nor MLflow, so that it answers at once.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import polars as pl
from rich import box
from rich.console import Console, RenderableType
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError, DiffRecError
from diffrec_core.data.schema import ITEM_ID, RANK, TITLE, USER_ID

log = logging.getLogger("pipeline")

METRICS = ("recall@20", "ndcg@20")
SAMPLE_USERS = 3
SAMPLE_RANKS = 3
NEXT_COMMANDS = {
    "make mlflow": "MLflow: runs, curves, the registry",
    "make serve": "the champion behind an HTTP endpoint",
    "make airflow": "the nightly DAG on this machine",
    "source .venv/bin/activate": "makes dvc and mlflow commands, for:",
    "dvc exp run -S train.diffrec.steps=10": "try one value; dvc exp show compares",
}


def main() -> int:
    """Print the summary and return the exit code: 0, or the error's own."""
    args = _parser().parse_args()
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False, show_time=False)],
    )
    console = Console()
    try:
        for part in summary(args):
            console.print(part)
    except DiffRecError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


def summary(args: argparse.Namespace) -> Iterator[RenderableType]:
    """Yield the parts of the summary.

    Raises:
        ArtifactError: a file that the pipeline writes is missing or not what it should be.
    """
    leaderboard = read_json(args.leaderboard)
    registration = read_json(args.registration)
    yield ""
    parts: list[RenderableType] = []
    with _complete(args.leaderboard):
        parts += leaderboard_table(leaderboard), selection_line(leaderboard)
    with _complete(args.registration):
        parts.append(registration_line(registration))
    yield from parts
    yield recommendations_table(args.recommendations, args.items)
    yield ""
    yield places(args)
    yield next_commands()
    if args.up_to_date:
        yield Text("\nnothing to do: everything is up to date", style="bold green")


def leaderboard_table(leaderboard: Mapping[str, Any]) -> Table:
    """Return one row per model, best on validation first, the selected one marked."""
    table = _table("Leaderboard", gap=1)  # eight columns on a terminal of 80
    table.add_column("model")
    for part in ("validation", "test"):
        for metric in METRICS:
            table.add_column(f"{part}\n{metric}", justify="right")
    for heading in ("fit\nseconds", "parameters", "peak\nMiB"):
        table.add_column(heading, justify="right")
    ranked = sorted(
        leaderboard["models"].items(), key=lambda item: -item[1]["validation"][METRICS[0]]
    )
    for name, result in ranked:
        is_selected = name == leaderboard["selected"]
        scores = [score(result, part, key) for part in ("validation", "test") for key in METRICS]
        table.add_row(
            f"{name} *" if is_selected else name,
            *scores,
            f"{result['fit_seconds']:.1f}",
            f"{result['parameters']:,}",
            f"{result['peak_memory_mib']:,.0f}",
            style="bold green" if is_selected else "",
        )
    return table


def score(result: Mapping[str, Any], part: str, metric: str) -> str:
    r"""Write a number, and below it its standard deviation over the seeds if there are several.

    >>> row = {"test": {"recall@20": 0.25}, "sd": {"test": {"recall@20": 0.0012}}}
    >>> score(row, "test", "recall@20")
    '0.2500\n±.0012'
    """
    sd = result["sd"][part].get(metric)
    below = "" if sd is None else f"\n±{sd:.4f}".replace("0.", ".", 1)
    return f"{result[part][metric]:.4f}{below}"


def _table(title: str, gap: int) -> Table:
    """Return an empty table with so many blanks between columns."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, gap - 1, 0, 0),
    )


def selection_line(leaderboard: Mapping[str, Any]) -> Text:
    """Say what the mark in the leaderboard means, and whom it could as well have gone to."""
    significance = leaderboard["significance"]
    alike = [
        name
        for name, row in leaderboard["models"].items()
        if row["against_winner"]["test"].get("p_holm", 0.0) > significance["level"]
    ]
    line = f"* selected on {leaderboard['selected_on']}\n"
    line += "".join(f"  left out: {why}\n" for why in leaderboard["left_out"].values())
    if any(row["seeds"] > 1 for row in leaderboard["models"].values()):
        line += "  means over seeds, with the standard deviation\n"
    if alike:
        found = (
            f"by test {significance['metric']} not significantly different from it (p > "
            f"{significance['level']:g}): {', '.join(alike)}"
        )
        line += fill(found, 80, initial_indent="  ", subsequent_indent="    ") + "\n"
    return Text(line, style="dim")


def registration_line(registration: Mapping[str, Any]) -> Text:
    """Say which version the registry holds, how to address it, and where it came from."""
    name, alias = registration["name"], registration["alias"]
    return Text.assemble(
        ("Registered  ", "bold"),
        f"{name} version {registration['version']}, alias {alias}: models:/{name}@{alias}\n",
        (f"            run {registration['run_id']} in {registration['tracking_uri']}", "dim"),
        "\n",
    )


def recommendations_table(recommendations: Path, items: Path) -> Table:
    """Return the first ranks of the first users: titles, or ids where there are none.

    Args:
        recommendations: folder of parquet files with user_id, rank, item_id, score.
        items: the items' vocabulary: index, item_id, title.

    Raises:
        ArtifactError: a file is missing or is not such a table.
    """
    table = _table("Recommendations", gap=2)
    table.add_column("user_id")
    for rank in range(1, SAMPLE_RANKS + 1):
        table.add_column(f"rank {rank}")
    try:
        sample = _sample(recommendations, items)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtifactError(
            f"{recommendations}/*.parquet with titles from {items} cannot be read ({error}): "
            f"run dvc repro"
        ) from error
    for (user_id,), rows in sample.group_by(USER_ID, maintain_order=True):
        table.add_row(Text(str(user_id)), *map(Text, rows[TITLE]))  # a title is no markup
    return table


def _sample(recommendations: Path, items: Path) -> pl.DataFrame:
    """Read user_id and title of the rows to show, sorted by user and rank."""
    ranked = pl.scan_parquet(recommendations / "*.parquet").filter(pl.col(RANK) <= SAMPLE_RANKS)
    titles = pl.scan_parquet(items).select(ITEM_ID, TITLE)
    users = ranked.select(pl.col(USER_ID).unique().sort().head(SAMPLE_USERS))
    return (
        ranked.join(users, on=USER_ID, how="semi")
        .join(titles, on=ITEM_ID, how="left")
        .sort(USER_ID, RANK)
        .select(USER_ID, pl.coalesce(TITLE, ITEM_ID).alias(TITLE))
        .collect()
    )


@contextmanager
def _complete(path: Path) -> Iterator[None]:
    """Turn a look-up that fails into an error that names the file."""
    try:
        yield
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} lacks what the summary shows ({error!r}): it is of another version or was "
            f"edited; remove it and run dvc repro"
        ) from error


def places(args: argparse.Namespace) -> Text:
    """Say where the files lie that a person opens next."""
    return Text.assemble(
        ("Report      ", "bold"),
        f"{args.html}\n",
        ("Table       ", "bold"),
        f"{args.recommendations}/*.parquet\n",
        ("Details     ", "bold"),
        f"{args.leaderboard}, dvc metrics show, dvc plots show\n",
    )


def next_commands() -> Table:
    """Return the commands that follow a run, each with what it does."""
    table = Table.grid(padding=(0, 2))
    for command, purpose in NEXT_COMMANDS.items():
        table.add_row(Text(command, style="cyan"), purpose)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, default in {
        "--leaderboard": "reports/leaderboard.json",
        "--registration": "reports/registration.json",
        "--html": "reports/report.html",
        "--recommendations": "data/recommendations",
        "--items": "data/interactions/items.parquet",
    }.items():
        parser.add_argument(option, type=Path, default=Path(default), metavar="PATH", help=default)
    parser.add_argument("--up-to-date", action="store_true", help="say that nothing was to be done")
    return parser


if __name__ == "__main__":
    sys.exit(main())
