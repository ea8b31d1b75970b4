"""The table of `paper`: mean ± standard deviation over seeds, beside the reference numbers."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from statistics import mean, stdev

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks._fits import Row
from benchmarks._ml1m import METRICS, PROTOCOLS
from benchmarks._reference import REFERENCES, SOURCES, Reference

Line = tuple[str, ...]
"""The cells of a line, one per heading; the second ends in `]` in lines to compare with."""

HEADINGS = ("model", "settings", "R@10", "R@20", "N@10", "N@20", "fit s", "peak MiB", "seeds")
NOTES = f"""\
Mean over seeds ± standard deviation. Recall divides by the number of held-out items, the ideal of
NDCG is cut at k, both are averaged over all users. "authors" and "ours" are the settings, presets
ml-1m-clean and ml-1m-tuned; latent models take their item categories from "our" LightGCN
embeddings or from the ones that the authors "published". Seconds are those of the fit, its
validations included, and after + those of LightGCN. Peak MiB is the largest resident size of the
fit's process, Python, torch and data included. Precision and device are named where they are not
the preset's and the CPU. Recent popularity is not here, for the split has no times. An asterisk
marks what was measured with earlier code or settings. Numbers in brackets mark what there is to
compare with: {SOURCES}"""


def lines(protocol: str, rows: Sequence[Row], is_current: Callable[[Row], bool]) -> list[Line]:
    """The lines of one protocol, each model's reference numbers before its own.

    Args:
        protocol: `A` or `C`.
        rows: of any protocol.
        is_current: whether a row is what its fit would give today.
    """
    references = [row for row in REFERENCES if row.protocol == protocol]
    rows = [row for row in rows if row["protocol"] == protocol]
    table: list[Line] = []
    for model in dict.fromkeys([*(r.model for r in references), *(r["model"] for r in rows)]):
        table += [
            _reference_line(reference) for reference in references if reference.model == model
        ]
        for group in _groups([row for row in rows if row["model"] == model]):
            table.append(_measured_line(group, current=all(map(is_current, group))))
    return table


def _groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that differ in the seed alone."""
    by_kind: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        names = ("setting", "embeddings", "precision")
        kind = *(row.get(name, "") for name in names), row.get("device", "cpu")
        by_kind.setdefault(kind, []).append(row)
    for kind in sorted(by_kind):
        yield by_kind[kind]


def _reference_line(row: Reference) -> Line:
    values = (row.recall_10, row.recall_20, row.ndcg_10, row.ndcg_20)
    cells = ("" if value is None else f"{value:.4f}" for value in values)
    return (row.model, row.what, *cells, row.fit, "", "")


def _measured_line(rows: Sequence[Row], *, current: bool) -> Line:
    first = rows[0]
    source = {"ours": ", our emb.", "published": ", published emb."}
    what = first["setting"] + source.get(first.get("embeddings", ""), "")
    what += f", {first['precision']}" if first.get("precision") else ""
    what += f", {first['device']}" if first.get("device", "cpu") != "cpu" else ""
    seconds = f"{mean(row['fit_seconds'] for row in rows):.1f}"
    pretrain = mean(row.get("pretrain_seconds", 0.0) for row in rows)
    return (
        first["model"],
        what if current else f"{what} *",
        *(spread([row[metric] for row in rows]) for metric in METRICS),
        f"{seconds} + {pretrain:.1f}" if pretrain else seconds,
        f"{max(row['peak_mib'] for row in rows):,.0f}",
        str(len(rows)),
    )


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation; the mean alone for one value.

    >>> spread([0.1, 0.2]), spread([0.1])
    ('0.1500 ± .0707', '0.1000')
    """
    text = f"{mean(values):.4f}"
    return f"{text} ± {stdev(values):.4f}".replace("± 0.", "± .") if len(values) > 1 else text


def terminal_table(protocol: str, table: Sequence[Line]) -> Table:
    """The lines of one protocol for a terminal."""
    title = f"Protocol {protocol}, {PROTOCOLS[protocol].partition(':')[0]}"
    view = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in HEADINGS:
        view.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for line in table:
        is_reference = line[1].endswith("]")
        cells = map(Text, line)  # brackets are no markup
        view.add_row(*cells, style="dim" if is_reference else "bold")
    return view


def markdown(tables: dict[str, list[Line]], machine: str) -> str:
    """The whole as a document."""
    notes = "\n".join(textwrap.wrap(NOTES, 100))
    parts = ["# The paper's MovieLens-1M split\n", f"{notes}\n\n{machine}\n"]
    for protocol, table in tables.items():
        parts.append(f"## Protocol {protocol}\n\n{_sentence(PROTOCOLS[protocol])}\n")
        rule = "|".join(["---", "---", *["---:"] * (len(HEADINGS) - 2)])
        body = ["|".join(line) for line in (HEADINGS, *table)]
        parts.append("\n".join(f"|{line}|" for line in (body[0], rule, *body[1:])) + "\n")
    return "\n".join(parts)


def _sentence(text: str) -> str:
    return "\n".join(textwrap.wrap(text[0].upper() + text[1:], 100))
