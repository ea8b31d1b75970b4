"""Write the tables of metrics in docs/evaluation-protocol.md from the docstrings of the metrics.

A table stands between `<!-- metrics: accuracy -->`, or `lists` or `catalogue`, and
`<!-- /metrics -->`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from diffrec_core.evaluation.beyond_accuracy import CATALOGUE, LISTS
from diffrec_core.evaluation.metrics import ACCURACY, Metric

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "evaluation-protocol.md"
_KINDS: Final[Mapping[str, Mapping[str, Metric[Any]]]] = {
    "accuracy": ACCURACY,
    "lists": LISTS,
    "catalogue": CATALOGUE,
}
_BLOCK: Final = re.compile(r"(<!-- metrics: (\w+) -->\n).*?(<!-- /metrics -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """Replace the tables in a document by those of the registries.

    Raises:
        KeyError: a block names an unknown kind of metrics.
    """
    return _BLOCK.sub(lambda block: f"{block[1]}{_table(_KINDS[block[2]])}{block[3]}", text)


def _table(metrics: Mapping[str, Metric[Any]]) -> str:
    rows = [("Metric", "Definition"), ("---", "---")]
    rows += [(f"{metric.name}@k", metric.definition) for metric in metrics.values()]
    return "".join(f"| {name} | {text} |\n" for name, text in rows)


def main() -> None:
    """Rewrite the document."""
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
