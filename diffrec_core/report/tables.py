"""The tables of the report that have a row per model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
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


def write_p(p: float) -> str:
    """Write a p-value.

    >>> write_p(0.00004), write_p(0.0312), write_p(1.0)
    ('<0.001', '0.031', '1.000')
    """
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a leaderboard.

    Attributes:
        group: heading above it and its neighbours of the same group.
        heading: the metric's key, or the cost with its unit.
        value: reads the number of a model.
        write: formats it.
        more_is_better: the highest number is marked and, when sorted, first.
        definition: of the metric; empty for costs.
        small_print: of a model: interval and deviation over seeds, where there are any.
        chosen: the rows are sorted by it.
    """

    group: str
    heading: str
    value: Callable[[ModelResult], float]
    write: Callable[[float], str] = "{:.4f}".format
    more_is_better: bool = True
    definition: str = ""
    small_print: Callable[[ModelResult], list[str]] = lambda model: []
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as it is, for sorting, and as it is shown; `best` of its column of metrics."""

    value: float
    text: str
    best: bool
    small: list[str]


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Columns, and rows of models with a cell for each column."""

    columns: list[Column]
    rows: list[tuple[ModelResult, list[Cell]]]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings above the columns, with the number of columns that each spans."""
        return [(name, len([*span])) for name, span in groupby(self.columns, lambda c: c.group)]


_COSTS = (
    Column("Cost", "fit, s", lambda model: model.fit_seconds, write_seconds, False),
    Column("Cost", "parameters", lambda model: model.parameters, "{:,.0f}".format, False),
    Column("Cost", "peak, MiB", lambda model: model.peak_memory_mib, "{:,.0f}".format, False),
)
_SEEDS = Column("Cost", "seeds", lambda model: model.seeds, "{:.0f}".format, False)


def main_table(data: ReportData) -> Leaderboard:
    """The headline metrics, the metric of the choice, and each model's cost."""
    keys = list(dict.fromkeys([*data.headline, data.metric]))
    columns: list[Column] = []
    for part in EVALUATED_PARTS:
        columns += _metric_columns(data, part, keys)
        if len(data.models) > 1 and all(part in model.certainty for model in data.models):
            columns += _significance_columns(data, part)
    columns += _COSTS
    if any(model.seeds > 1 for model in data.models):
        columns.append(_SEEDS)
    return table_of(data.models, columns)


def detail_tables(data: ReportData) -> list[tuple[int, Leaderboard]]:
    """Every accuracy metric that was measured, a table per cutoff."""
    tables = []
    for k in data.cutoffs:
        keys = [f"{name}@{k}" for name in ACCURACY]
        columns = [c for part in EVALUATED_PARTS for c in _metric_columns(data, part, keys)]
        tables.append((k, table_of(data.models, columns)))
    return tables


def beyond_table(models: Sequence[ModelResult], cutoff: int) -> Leaderboard:
    """Metrics beyond accuracy on the test part."""
    metrics: dict[str, Metric[Any]] = {**CATALOGUE, **LISTS}
    columns = [
        Column(
            f"First {cutoff} items",
            words(name),
            _reader("test", f"{name}@{cutoff}"),
            more_is_better=False,
            definition=metric.definition,
        )
        for name, metric in metrics.items()
        if f"{name}@{cutoff}" in models[0].test
    ]
    return table_of(models, columns)


def table_of(models: Sequence[ModelResult], columns: list[Column]) -> Leaderboard:
    """Lay out columns of numbers; a row per model, in their order."""
    cells = [_cells(models, column) for column in columns]
    rows = [(model, [column[row] for column in cells]) for row, model in enumerate(models)]
    return Leaderboard(columns, rows)


def _cells(models: Sequence[ModelResult], column: Column) -> list[Cell]:
    values = [column.value(model) for model in models]
    best = max(values) if column.more_is_better and len(models) > 1 else None
    return [
        Cell(value, column.write(value), value == best, column.small_print(model))
        for model, value in zip(models, values, strict=True)
    ]


def _metric_columns(data: ReportData, part: str, keys: Sequence[str]) -> list[Column]:
    return [
        Column(
            _heading(data, part),
            key,
            _reader(part, key),
            definition=ACCURACY[split_key(key)[0]].definition,
            small_print=_small_print(part, key),
            chosen=(part, key) == ("validation", data.metric),
        )
        for key in keys
        if key in data.models[0].test
    ]


def _heading(data: ReportData, part: str) -> str:
    return f"{part.capitalize()}, {data.models[0].metrics(part)['users']:,.0f} users"


def _reader(part: str, key: str) -> Callable[[ModelResult], float]:
    return lambda model: model.metrics(part)[key]


def _small_print(part: str, key: str) -> Callable[[ModelResult], list[str]]:
    def lines(model: ModelResult) -> list[str]:
        intervals = model.certainty[part].intervals if part in model.certainty else {}
        deviation = model.sd.get(part, {}).get(key)
        return [
            *(["–".join(map(_short, intervals[key]))] if key in intervals else []),
            *([f"± {_short(deviation)}"] if deviation is not None else []),
        ]

    return lines


def _short(value: float) -> str:
    """Write a number of the small print: a table has many.

    >>> _short(0.1234), _short(1.0)
    ('.1234', '1.0000')
    """
    return f"{value:.4f}".removeprefix("0")


def _significance_columns(data: ReportData, part: str) -> tuple[Column, Column]:
    """Group of models without significant differences, and the p-value against the winner."""
    known = {model.name: model.certainty[part] for model in data.models}
    letters = {certainty.place: certainty.group for certainty in known.values()}

    def p(model: ModelResult) -> float:
        value = known[model.name].p
        return 1.0 if value is None else value  # against itself

    def place(model: ModelResult) -> float:
        return known[model.name].place

    heading = _heading(data, part)
    return (
        Column(heading, "group", place, lambda number: letters[int(number)], False),
        Column(heading, "p", p, write_p, False),
    )
