"""Results in files, which the next run continues from, and in print."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from diffrec_core.common.artifacts import read_json, write_json

Row = dict[str, Any]


class Results:
    """Rows in a JSON file that is complete at any time.

    Args:
        path: of the file.
        label: the entries by which a row replaces an earlier one.
    """

    def __init__(self, path: Path, label: Sequence[str]) -> None:
        self.path, self._names = path, label

    def rows(self) -> list[Row]:
        """All rows; none before the first is added."""
        rows: list[Row] = read_json(self.path) if self.path.exists() else []
        return rows

    def find(self, key: str) -> Row | None:
        """The row whose `key`, a hash of all that it depends on, is this one."""
        return next((row for row in self.rows() if row["key"] == key), None)

    def once(self, key: str, label: Row, measure: Callable[[], Row]) -> Row:
        """The row of this key, which is measured unless it is there."""
        row = self.find(key)
        if row is None:
            row = {"key": key, **label, **measure()}
            self.add(row)
        return row

    def add(self, row: Row) -> None:
        """Write a row, in the place of an earlier one of the same label."""
        others = [other for other in self.rows() if self._label(other) != self._label(row)]
        write_json(self.path, sorted([*others, row], key=self._label))

    def _label(self, row: Row) -> tuple[str, ...]:
        return tuple(str(row.get(name, "")) for name in self._names)


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation; of one value, itself.

    >>> spread([0.1, 0.2]), spread([0.1])
    ('0.1500 ± .0707', '0.1000')
    """
    text = f"{mean(values):.4f}"
    return f"{text} ± {stdev(values):.4f}".replace("± 0.", "± .") if len(values) > 1 else text


def show(*parts: Table | str) -> None:
    """Print tables and lines to standard output."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 160
    for part in parts:
        console.print(part)
