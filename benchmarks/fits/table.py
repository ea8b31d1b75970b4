"""The table of `paper`: mean ± standard deviation over seeds, beside numbers to compare with."""

import csv
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Final

from rich import box
from rich.table import Table

from benchmarks.fits.plan import LABEL
from benchmarks.ml1m import METRICS, PROTOCOLS
from benchmarks.results import Row, spread

HEADINGS: Final = ("model", "settings", *METRICS, "fit s", "peak MiB", "seeds")
NOTES: Final = """\
Mean over seeds ± standard deviation, over all users. "authors" and "ours" are the presets
ml-1m-clean and ml-1m-tuned; latent models group items by "our" LightGCN embeddings or by those that
the authors "published". Seconds include validations, but not LightGCN; peak MiB is that of the
whole process. [1] Measured with the authors' code (github.com/YiyanXu/DiffRec, commit
d35a6c6) and the settings of their checkpoints on two CPU cores, at the best recall@20 on valid.
[2] Measured with that formula or library on two CPU cores. [3] As published: the paper (arXiv
2304.04971), issue 13 of the authors' repository, the read-me of GiffCF."""

Line = tuple[str, ...]
"""The cells of a line, one per heading."""


def paper_table(protocol: str, rows: Sequence[Row]) -> Table:
    """The lines of one protocol, as Markdown."""
    title = f"Protocol {protocol}, {PROTOCOLS[protocol]}"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.MARKDOWN)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for line in table_lines(protocol, rows):
        table.add_row(*line, style="dim" if line[1].endswith("]") else None)
    return table


def table_lines(protocol: str, rows: Sequence[Row]) -> list[Line]:
    """The lines of one protocol, `A` or `C`, each model's published numbers before its own."""
    text = Path(__file__).with_name("published.csv").read_text(encoding="utf-8")
    published, measured = (
        [row for row in source if row["protocol"] == protocol]
        for source in (list(csv.DictReader(text.splitlines())), rows)
    )
    lines: list[Line] = []
    for model in dict.fromkeys(row["model"] for row in [*published, *measured]):
        lines += [_published_line(row) for row in published if row["model"] == model]
        own = sorted((row for row in measured if row["model"] == model), key=_but_for_the_seed)
        lines += [_measured_line(list(group)) for _, group in groupby(own, _but_for_the_seed)]
    return lines


def _but_for_the_seed(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in LABEL if name != "seed")


def _published_line(row: Row) -> Line:
    return (*(row[name] for name in ("model", "settings", *METRICS, "fit_seconds")), "", "")


def _measured_line(rows: Sequence[Row]) -> Line:
    first = rows[0]
    embeddings = {"ours": "our emb.", "published": "published emb."}.get(first["embeddings"], "")
    device = first["device"].replace("cpu", "")
    parts = (first["setting"], embeddings, first["precision"], device)
    return (
        first["model"],
        ", ".join(filter(None, parts)),
        *(spread([row[metric] for row in rows]) for metric in METRICS),
        f"{mean(row['fit_seconds'] for row in rows):.1f}",
        f"{max(row['peak_mib'] for row in rows):,.0f}",
        str(len(rows)),
    )
