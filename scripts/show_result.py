"""Print the summary that ends `make run`: leaderboard, registered version, recommendations.

Imports neither torch nor MLflow, so that it starts at once.
"""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.schema import ITEM_ID, RANK, TITLE, USER_ID
from diffrec_core.data.splits import EVALUATED_PARTS
from diffrec_core.evaluation.metrics import headline, shown_cutoff
from pipeline_steps.runtime.command import Inputs, execute

LEADERBOARD = Path("reports/leaderboard.json")
REGISTRATION = Path("reports/registration.json")
RECOMMENDATIONS = Path("data/recommendations/*.parquet")
ITEMS = Path("data/interactions/items.parquet")

SAMPLE_USERS = 3
SAMPLE_RANKS = 3
FILES = {
    "Report": "reports/report.html",
    "Table": str(RECOMMENDATIONS),
    "Details": f"{LEADERBOARD}, dvc metrics show, dvc plots show",
}
NEXT_COMMANDS = {
    "make mlflow": "MLflow: runs, curves, the registry",
    "make serve": "the champion behind an HTTP endpoint",
    "make airflow": "the nightly DAG on this machine",
    "source .venv/bin/activate": "makes dvc and mlflow commands, for:",
    "dvc exp run -S train.diffrec.steps=10": "try one value; dvc exp show compares",
}


class SummaryInputs(Inputs):
    """The outcome of `dvc repro`."""

    up_to_date: bool = False
    """There was nothing to do."""


def run(inputs: SummaryInputs) -> None:
    """Print the summary.

    Raises:
        ArtifactError: a file that the pipeline writes is missing.
    """
    leaderboard, console = read_json(LEADERBOARD), Console()
    parts = [
        leaderboard_table(leaderboard),
        selection_line(leaderboard),
        registration_line(read_json(REGISTRATION)),
        recommendations_table(),
    ]
    console.print("", *parts, "", sep="\n")
    for name, path in FILES.items():
        console.print(Text.assemble((f"{name:12}", "bold"), path))
    console.print()
    commands = Table.grid(padding=(0, 2))
    for command, purpose in NEXT_COMMANDS.items():
        commands.add_row(Text(command, style="cyan"), purpose)
    console.print(commands)
    if inputs.up_to_date:
        console.print("\nnothing to do: everything is up to date", style="bold green")


def leaderboard_table(leaderboard: Mapping[str, Any]) -> Table:
    """One row per model, best on validation first, the selected one marked."""
    chosen, cutoffs = leaderboard["significance"]["metric"], leaderboard["protocol"]["cutoffs"]
    metrics = headline(shown_cutoff(chosen, cutoffs))
    columns = [(part, metric) for part in EVALUATED_PARTS for metric in metrics]
    table = _table("Leaderboard", gap=1)  # eight columns on a terminal of 80
    table.add_column("model")
    for heading in (*map("\n".join, columns), "fit\nseconds", "parameters", "peak\nMiB"):
        table.add_column(heading, justify="right")
    rows = sorted(leaderboard["models"].items(), key=lambda row: -row[1]["validation"][chosen])
    for name, row in rows:
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
    """An empty table with `gap` blanks between columns."""
    return Table(
        title=title, title_justify="left", title_style="bold",
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap - 1, 0, 0),
    )  # fmt: skip


def selection_line(leaderboard: Mapping[str, Any]) -> Text:
    """The meaning of the mark, the models left out, and those as good as the selected."""
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
    """The version that the registry holds, how to address it, and where it came from."""
    name, alias = registration["name"], registration["alias"]
    return Text.assemble(
        ("Registered  ", "bold"),
        f"{name} version {registration['version']}, alias {alias}: models:/{name}@{alias}\n",
        (f"            run {registration['run_id']} in {registration['tracking_uri']}\n", "dim"),
    )


def recommendations_table() -> Table:
    """The first ranks of the first users: titles, or ids where there are none.

    Raises:
        ArtifactError: a table cannot be read.
    """
    table = _table("Recommendations", gap=2)
    table.add_column("user_id")
    for rank in range(1, SAMPLE_RANKS + 1):
        table.add_column(f"rank {rank}")
    ranked = pl.scan_parquet(RECOMMENDATIONS).filter(pl.col(RANK) <= SAMPLE_RANKS)
    users = ranked.select(pl.col(USER_ID).unique().sort().head(SAMPLE_USERS))
    titles = pl.scan_parquet(ITEMS).select(ITEM_ID, TITLE)
    shown = ranked.join(users, on=USER_ID, how="semi").join(titles, on=ITEM_ID, how="left")
    try:
        rows = shown.sort(USER_ID, RANK).with_columns(pl.coalesce(TITLE, ITEM_ID)).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtifactError(f"{error}: is {RECOMMENDATIONS} or {ITEMS} missing?") from error
    for (user_id,), group in rows.group_by(USER_ID, maintain_order=True):
        table.add_row(Text(str(user_id)), *map(Text, group[TITLE]))  # a title is no markup
    return table


if __name__ == "__main__":
    execute(run)
