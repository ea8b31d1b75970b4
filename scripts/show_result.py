"""Print the summary that ends `make run`: leaderboard, registered version, recommendations.

Reads what the pipeline wrote; computes nothing and changes nothing. Imports neither torch nor
MLflow, so that it starts at once.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import polars as pl
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError, DiffRecError
from diffrec_core.data.schema import ITEM_ID, RANK, TITLE, USER_ID
from diffrec_core.data.splits import EVALUATED_PARTS
from diffrec_core.evaluation.metrics import headline, shown_cutoff

LEADERBOARD = Path("reports/leaderboard.json")
REGISTRATION = Path("reports/registration.json")
REPORT = Path("reports/report.html")
RECOMMENDATIONS = Path("data/recommendations")
ITEMS = Path("data/interactions/items.parquet")

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--up-to-date", action="store_true", help="say that nothing was to be done")
    args = parser.parse_args()
    console = Console()
    try:
        for part in summary():
            console.print(part)
    except DiffRecError as error:
        sys.stderr.write(f"ERROR {error}\n")
        return error.exit_code
    if args.up_to_date:
        console.print(Text("\nnothing to do: everything is up to date", style="bold green"))
    return 0


def summary() -> list[RenderableType]:
    """Return the parts of the summary.

    Raises:
        ArtifactError: a file that the pipeline writes is missing or lacks a key or column.
    """
    with _reading(LEADERBOARD):
        leaderboard = read_json(LEADERBOARD)
        parts: list[RenderableType] = ["", leaderboard_table(leaderboard)]
        parts.append(selection_line(leaderboard))
    with _reading(REGISTRATION):
        parts.append(registration_line(read_json(REGISTRATION)))
    with _reading(RECOMMENDATIONS / "*.parquet", ITEMS):
        parts.append(recommendations_table())
    return [*parts, "", places(), next_commands()]


@contextmanager
def _reading(*paths: Path) -> Iterator[None]:
    """Turn a failed look-up into an error that names the files."""
    try:
        yield
    except (KeyError, TypeError, pl.exceptions.PolarsError, OSError) as error:
        names = " or ".join(map(str, paths))
        raise ArtifactError(
            f"{names} is missing, damaged or of another version ({error!r}): "
            f"remove it and run dvc repro"
        ) from error


def leaderboard_table(leaderboard: Mapping[str, Any]) -> Table:
    """Return one row per model, best on validation first, the selected one marked."""
    table = _table("Leaderboard", gap=1)  # eight columns on a terminal of 80
    table.add_column("model")
    columns = _metric_columns(leaderboard)
    for heading in (*map("\n".join, columns), "fit\nseconds", "parameters", "peak\nMiB"):
        table.add_column(heading, justify="right")
    chosen = leaderboard["significance"]["metric"]
    best_first = sorted(
        leaderboard["models"].items(), key=lambda row: -row[1]["validation"][chosen]
    )
    for name, row in best_first:
        is_selected = name == leaderboard["selected"]
        table.add_row(
            f"{name} *" if is_selected else name,
            *(_score(row, part, metric) for part, metric in columns),
            f"{row['fit_seconds']:.1f}",
            f"{row['parameters']:,}",
            f"{row['peak_memory_mib']:,.0f}",
            style="bold green" if is_selected else "",
        )
    return table


def _metric_columns(leaderboard: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Part and key of each metric that is shown."""
    chosen, cutoffs = leaderboard["significance"]["metric"], leaderboard["protocol"]["cutoffs"]
    metrics = headline(shown_cutoff(chosen, cutoffs))
    return [(part, metric) for part in EVALUATED_PARTS for metric in metrics]


def _score(row: Mapping[str, Any], part: str, metric: str) -> str:
    r"""Format a metric, with its standard deviation below if there are several seeds.

    >>> row = {"test": {"recall@20": 0.25}, "sd": {"test": {"recall@20": 0.0012}}}
    >>> _score(row, "test", "recall@20")
    '0.2500\n±.0012'
    """
    sd = row["sd"][part].get(metric)
    below = "" if sd is None else f"\n±{sd:.4f}".replace("0.", ".", 1)
    return f"{row[part][metric]:.4f}{below}"


def _table(title: str, gap: int) -> Table:
    """Return an empty table with `gap` blanks between columns."""
    return Table(
        title=title, title_justify="left", title_style="bold",
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap - 1, 0, 0),
    )  # fmt: skip


def selection_line(leaderboard: Mapping[str, Any]) -> Text:
    """Return what the mark means, which models were left out, and which are as good."""
    rows, significance = leaderboard["models"], leaderboard["significance"]
    lines = [f"* selected on {leaderboard['selected_on']}"]
    lines += [f"  left out: {why}" for why in leaderboard["left_out"].values()]
    if any(row["seeds"] > 1 for row in rows.values()):
        lines.append("  means over seeds, with the standard deviation")
    level = significance["level"]
    tests = {name: row["against_winner"]["test"] for name, row in rows.items()}
    alike = [name for name, test in tests.items() if test.get("p_holm", 0.0) > level]
    if alike:
        text = (
            f"by test {significance['metric']} not significantly different from it "
            f"(p > {level:g}): {', '.join(alike)}"
        )
        lines.append(fill(text, 80, initial_indent="  ", subsequent_indent="    "))
    return Text("\n".join([*lines, ""]), style="dim")


def registration_line(registration: Mapping[str, Any]) -> Text:
    """Return which version the registry holds, how to address it, and where it came from."""
    name, alias = registration["name"], registration["alias"]
    return Text.assemble(
        ("Registered  ", "bold"),
        f"{name} version {registration['version']}, alias {alias}: models:/{name}@{alias}\n",
        (f"            run {registration['run_id']} in {registration['tracking_uri']}\n", "dim"),
    )


def recommendations_table() -> Table:
    """Return the first ranks of the first users: titles, or ids where there are none."""
    table = _table("Recommendations", gap=2)
    table.add_column("user_id")
    for rank in range(1, SAMPLE_RANKS + 1):
        table.add_column(f"rank {rank}")
    ranked = pl.scan_parquet(RECOMMENDATIONS / "*.parquet").filter(pl.col(RANK) <= SAMPLE_RANKS)
    users = ranked.select(pl.col(USER_ID).unique().sort().head(SAMPLE_USERS))
    titles = pl.scan_parquet(ITEMS).select(ITEM_ID, TITLE)
    shown = ranked.join(users, on=USER_ID, how="semi").join(titles, on=ITEM_ID, how="left")
    rows = shown.sort(USER_ID, RANK).with_columns(pl.coalesce(TITLE, ITEM_ID)).collect()
    for (user_id,), group in rows.group_by(USER_ID, maintain_order=True):
        table.add_row(Text(str(user_id)), *map(Text, group[TITLE]))  # a title is no markup
    return table


def places() -> Text:
    """Return where the files are that a person opens next."""
    return Text.assemble(
        *(("Report      ", "bold"), f"{REPORT}\n"),
        *(("Table       ", "bold"), f"{RECOMMENDATIONS}/*.parquet\n"),
        *(("Details     ", "bold"), f"{LEADERBOARD}, dvc metrics show, dvc plots show\n"),
    )


def next_commands() -> Table:
    """Return the commands that follow a run, each with its purpose."""
    table = Table.grid(padding=(0, 2))
    for command, purpose in NEXT_COMMANDS.items():
        table.add_row(Text(command, style="cyan"), purpose)
    return table


if __name__ == "__main__":
    sys.exit(main())
