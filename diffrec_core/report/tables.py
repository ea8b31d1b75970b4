"""The tables of the report: the leaderboard, and nested facts laid out in rows."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffrec_core.report.data import ModelResult, ReportData

METRICS = ("recall", "ndcg", "precision", "mrr", "hit_rate", "map")
MAIN_METRICS = METRICS[:4]
_PARTS = ("validation", "test")

_UTC_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:\+00:00|Z)")


def write_seconds(seconds: float) -> str:
    """Write a duration to a hundredth of a second.

    >>> write_seconds(1234.567), write_seconds(0.002)
    ('1,234.57', '<0.01')
    """
    return f"{seconds:,.2f}" if seconds >= 0.01 else "<0.01"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a leaderboard.

    Attributes:
        group: `validation`, `test` or `cost`.
        heading: the metric's key, or the cost with its unit.
        value: reads the number.
        write: formats it.
        more_is_better: whether the highest number is marked and stands first.
    """

    group: str
    heading: str
    value: Callable[[ModelResult], float]
    write: Callable[[float], str] = "{:.4f}".format
    more_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as it is, for sorting, and as it is shown; `best` of its column of metrics.

    `interval` is the one that the number is known to within, if it was computed.
    """

    value: float
    text: str
    best: bool
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """A row per model.

    Attributes:
        groups: headings above the columns, with the number of columns that each spans.
        columns: the columns after the model's name.
        rows: models with their cells.
        chosen: group and heading of the column that the winner was chosen by.
    """

    groups: list[tuple[str, int]]
    columns: list[Column]
    rows: list[tuple[ModelResult, list[Cell]]]
    chosen: tuple[str, str]


_COSTS = (
    Column("cost", "fit, s", lambda model: model.fit_seconds, write_seconds, False),
    Column("cost", "parameters", lambda model: model.parameters, "{:,.0f}".format, False),
    Column("cost", "peak, MiB", lambda model: model.peak_memory_mib, "{:,.0f}".format, False),
)


def write_p(p: float) -> str:
    """Write a p-value.

    >>> write_p(0.00004), write_p(0.0312), write_p(1.0)
    ('<0.001', '0.031', '1.000')
    """
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def main_table(models: Sequence[ModelResult], data: ReportData) -> Leaderboard:
    """The metrics to look at first, at the usual cutoff, with what each model costs."""
    metrics = [f"{name}@{data.cutoff}" for name in MAIN_METRICS]
    tested = [part for part in _PARTS if all(part in model.certainty for model in models)]
    groups = {part: _group_columns(models, part) for part in tested if len(models) > 1}
    return _leaderboard(models, data, metrics, _COSTS, groups)


def detail_tables(models: Sequence[ModelResult], data: ReportData) -> list[tuple[int, Leaderboard]]:
    """Every metric that was measured, a table per cutoff."""
    return [
        (k, _leaderboard(models, data, [f"{name}@{k}" for name in METRICS], ()))
        for k in data.cutoffs
    ]


def _leaderboard(
    models: Sequence[ModelResult],
    data: ReportData,
    metrics: Sequence[str],
    costs: Sequence[Column],
    groups: Mapping[str, Sequence[Column]] | None = None,
) -> Leaderboard:
    shown = [key for key in metrics if key in models[0].test]
    columns: list[Column] = []
    for part in _PARTS:
        columns += [_metric_column(part, key) for key in shown]
        columns += (groups or {}).get(part, ())
    columns += costs
    cells = [_cells(models, column) for column in columns]
    rows = [(model, [column[row] for column in cells]) for row, model in enumerate(models)]
    return Leaderboard(_groups(columns, models[0]), columns, rows, (data.part, data.metric))


def _metric_column(part: str, key: str) -> Column:
    return Column(part, key, lambda model: model.metrics(part)[key])


def _group_columns(models: Sequence[ModelResult], part: str) -> tuple[Column, Column]:
    """Which models cannot be told apart, and the p-value against the winner."""
    letters = {model.certainty[part].place: model.certainty[part].group for model in models}

    def p(model: ModelResult) -> float:
        value = model.certainty[part].p
        return 1.0 if value is None else value  # against itself

    return (
        Column(
            part,
            "group",
            lambda model: model.certainty[part].place,
            lambda place: letters[int(place)],
            False,
        ),
        Column(part, "p", p, write_p, False),
    )


def _cells(models: Sequence[ModelResult], column: Column) -> list[Cell]:
    values = [column.value(model) for model in models]
    rated = column.more_is_better and len(models) > 1
    return [
        Cell(
            value,
            column.write(value),
            rated and value == max(values),
            _interval(model, column),
        )
        for model, value in zip(models, values, strict=True)
    ]


def _interval(model: ModelResult, column: Column) -> str:
    certainty = model.certainty.get(column.group)
    ends = certainty.intervals.get(column.heading) if certainty else None
    return f"{ends[0]:.4f}–{ends[1]:.4f}" if ends else ""


def _groups(columns: Sequence[Column], winner: ModelResult) -> list[tuple[str, int]]:
    groups: dict[str, int] = {}
    for column in columns:
        users = (
            ""
            if column.group == "cost"
            else f", {winner.metrics(column.group)['users']:,.0f} users"
        )
        heading = f"{column.group.capitalize()}{users}"
        groups[heading] = groups.get(heading, 0) + 1
    return list(groups.items())


def write_value(value: object) -> str:
    """Write a count, a fact or a list of them.

    >>> write_value(1234567), write_value(None), write_value([10, True])
    ('1,234,567', '–', '10, yes')
    >>> write_value("1998-01-02T03:04:05+00:00")
    '1998-01-02 03:04 UTC'
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(write_value, value))
    return _UTC_TIME.sub(r"\1 \2 UTC", str(value))


def words(key: object) -> str:
    """Write a key as words: `new_users` as `new users`."""
    return str(key).replace("_", " ")


def flatten(value: object, label: str = "") -> Iterator[tuple[str, str]]:
    """Yield label and text of every leaf of nested mappings.

    >>> list(flatten({"read": 2, "rejected": {"no_time": 1}}))
    [('read', '2'), ('rejected · no time', '1')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{label} · {words(key)}" if label else words(key))
    else:
        yield label, write_value(value)


@dataclass(frozen=True, slots=True)
class FactTable:
    """A mapping of mappings: a row per outer key, a column per inner one."""

    name: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


def fact_tables(facts: Mapping[str, Any]) -> list[FactTable]:
    """Lay out the entries whose values are all mappings."""
    return [_fact_table(name, rows) for name, rows in facts.items() if _is_table(rows)]


def plain_facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of the other entries."""
    return list(flatten({name: value for name, value in facts.items() if not _is_table(value)}))


def _fact_table(name: str, rows: Mapping[str, Mapping[str, Any]]) -> FactTable:
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    return FactTable(
        words(name),
        [words(key) for key in columns],
        [
            (words(row), [write_value(facts.get(key)) for key in columns])
            for row, facts in rows.items()
        ],
    )


def _is_table(value: object) -> bool:
    inner = list(value.values()) if isinstance(value, Mapping) else []
    return bool(inner) and all(isinstance(row, Mapping) for row in inner)
