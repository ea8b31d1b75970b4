"""The tables of the report that have a row per model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffrec_core.data.splits import EVALUATED_PARTS
from diffrec_core.evaluation.beyond_accuracy import CATALOGUE, LISTS
from diffrec_core.evaluation.metrics import ACCURACY, Metric, split_key
from diffrec_core.report.data import ModelResult, ReportData
from diffrec_core.report.facts import words


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
        value: reads the number of a model.
        write: formats it.
        more_is_better: the highest number is marked and, when sorted, first.
        definition: of the metric; empty for costs.
    """

    group: str
    heading: str
    value: Callable[[ModelResult], float]
    write: Callable[[float], str] = "{:.4f}".format
    more_is_better: bool = True
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as it is, for sorting, and as it is shown; `best` of its column of metrics.

    `small` has its interval and its deviation over seeds, where there are any.
    """

    value: float
    text: str
    best: bool
    small: list[str] = field(default_factory=list)


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
    """The headline metrics, the metric of the choice, and each model's cost."""
    metrics = list(dict.fromkeys([*data.headline, data.metric]))
    tested = [part for part in EVALUATED_PARTS if all(part in model.certainty for model in models)]
    groups = {part: _group_columns(models, part) for part in tested if len(models) > 1}
    return _leaderboard(models, data, metrics, _COSTS, groups)


def detail_tables(models: Sequence[ModelResult], data: ReportData) -> list[tuple[int, Leaderboard]]:
    """Every accuracy metric that was measured, a table per cutoff."""
    return [
        (k, _leaderboard(models, data, [f"{name}@{k}" for name in ACCURACY], ()))
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
    for part in EVALUATED_PARTS:
        columns += [_metric_column(part, key) for key in shown]
        columns += (groups or {}).get(part, ())
    columns += costs
    if costs and any(model.seeds > 1 for model in models):
        columns.append(Column("cost", "seeds", lambda m: m.seeds, "{:.0f}".format, False))
    return table_of(models, columns, _groups(columns, models[0]), (data.part, data.metric))


def table_of(
    models: Sequence[ModelResult],
    columns: list[Column],
    groups: list[tuple[str, int]],
    chosen: tuple[str, str] = ("", ""),
) -> Leaderboard:
    """Lay out columns of numbers.

    Args:
        models: the rows, best first.
        columns: what to read of each.
        groups: headings above the columns, with the number of columns that each spans.
        chosen: group and heading of the column that the rows are sorted by.
    """
    cells = [_cells(models, column) for column in columns]
    rows = [(model, [column[row] for column in cells]) for row, model in enumerate(models)]
    return Leaderboard(groups, columns, rows, chosen)


def beyond_table(models: Sequence[ModelResult], cutoff: int) -> Leaderboard | None:
    """Metrics beyond accuracy on the test part; None if none was measured for all models."""
    metrics: list[Metric[Any]] = [*CATALOGUE.values(), *LISTS.values()]
    columns = [
        Column(
            "test",
            words(metric.name),
            _reader(f"{metric.name}@{cutoff}"),
            more_is_better=False,
            definition=metric.definition,
        )
        for metric in metrics
        if all(f"{metric.name}@{cutoff}" in model.test for model in models)
    ]
    return table_of(models, columns, [(f"First {cutoff} items", len(columns))]) if columns else None


def _reader(key: str) -> Callable[[ModelResult], float]:
    return lambda model: model.test[key]


def _metric_column(part: str, key: str) -> Column:
    definition = ACCURACY[split_key(key)[0]].definition
    return Column(part, key, lambda model: model.metrics(part)[key], definition=definition)


def _group_columns(models: Sequence[ModelResult], part: str) -> tuple[Column, Column]:
    """Group of models without significant differences, and the p-value against the winner."""
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
            _small_print(model, column),
        )
        for model, value in zip(models, values, strict=True)
    ]


def _small_print(model: ModelResult, column: Column) -> list[str]:
    certainty = model.certainty.get(column.group)
    ends = certainty.intervals.get(column.heading) if certainty else None
    deviation = model.sd.get(column.group, {}).get(column.heading)
    return [
        *(["–".join(map(_short, ends))] if ends else []),
        *([f"± {_short(deviation)}"] if deviation is not None else []),
    ]


def _short(value: float) -> str:
    """Write a number of the small print: a table has many.

    >>> _short(0.1234), _short(1.0)
    ('.1234', '1.0000')
    """
    return f"{value:.4f}".removeprefix("0")


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
