"""Accuracy metrics with binary relevance: one function each, in the registry `ACCURACY`.

A metric takes `hit` (U, k), whether each of the first k ranks of U users holds a target, and
`n_targets` (U,), the number of targets, at least 1. It returns (U,) values between 0 and 1, the
more the better. Its name is the function's, its definition the docstring.

All else follows from the registry: values per user, `select.metric` and `gate.metric`, leaderboard,
CSV, report, significance, MLflow, and the table in docs/evaluation-protocol.md, which
`python -m scripts.metric_tables` writes.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Annotated, Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from scipy import sparse

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]
PerUser = dict[str, Values]
"""Metric key, such as `recall@20`, to one value per evaluated user."""

Compute = TypeVar("Compute", bound=Callable[..., Any])

_USUAL_CUTOFF = 20


@dataclass(frozen=True, slots=True)
class Metric(Generic[Compute]):
    """A registered metric: name without @k, formula and edge cases in one paragraph, function."""

    name: str
    definition: str
    compute: Compute


class MetricRegistry(dict[str, Metric[Compute]]):
    """Metrics of one kind by name, in the order in which they are shown."""

    def register(self, compute: Compute) -> Compute:
        """Add a function as the metric of its name, without trailing underscores; a decorator.

        Raises:
            ValueError: the name is taken, or the function has no docstring.
        """
        name, definition = compute.__name__.rstrip("_"), getdoc(compute)
        if name in self:
            raise ValueError(f"metric {name} is registered twice")
        if not definition:
            raise ValueError(f"metric {name} needs a docstring: its definition")
        self[name] = Metric(name, " ".join(definition.split()), compute)
        return compute


ACCURACY: Final[MetricRegistry[Callable[[Hits, Counts], Values]]] = MetricRegistry()

HEADLINE: Final = ("recall", "ndcg")
"""Shown in summaries and measured on slices."""


@ACCURACY.register
def recall(hit: Hits, n_targets: Counts) -> Values:
    """Hits among the first k / number of targets."""
    values: Values = hit.sum(axis=1) / n_targets
    return values


@ACCURACY.register
def precision(hit: Hits, n_targets: Counts) -> Values:
    """Hits among the first k / k, also where there are fewer than k targets."""
    values: Values = hit.sum(axis=1) / hit.shape[1]
    return values


@ACCURACY.register
def ndcg(hit: Hits, n_targets: Counts) -> Values:
    """DCG@k / ideal DCG@k; a hit counts 1 / log2(rank + 1).

    The ideal ranking begins with all targets and is cut at k.
    """
    k = hit.shape[1]
    discount = 1.0 / np.log2(np.arange(1, k + 1) + 1)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    values: Values = _sum(hit * discount) / ideal[np.minimum(n_targets, k)]
    return values


@ACCURACY.register
def map_(hit: Hits, n_targets: Counts) -> Values:
    """Average precision: Σ over the hits of the precision at their rank, / min(targets, k).

    A perfect ranking has 1. Other definitions divide by the number of targets or of hits.
    """
    k = hit.shape[1]
    precisions = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    values: Values = _sum(hit * precisions) / np.minimum(n_targets, k)
    return values


@ACCURACY.register
def mrr(hit: Hits, n_targets: Counts) -> Values:
    """1 / rank of the first hit among the first k; 0 without one."""
    values: Values = np.where(hit.any(axis=1), 1.0 / (hit.argmax(axis=1) + 1), 0.0)
    return values


@ACCURACY.register
def hit_rate(hit: Hits, n_targets: Counts) -> Values:
    """1 with a hit among the first k, else 0."""
    values: Values = (hit.sum(axis=1) > 0).astype(np.float64)
    return values


def _sum(terms: Values) -> Values:
    """(U,) sums added up rank by rank, so that they do not depend on how k divides into blocks."""
    sums: Values = np.cumsum(terms, axis=1)[:, -1]
    return sums


def is_accuracy(key: str) -> bool:
    """True for a key of an accuracy metric.

    >>> is_accuracy("recall@20"), is_accuracy("gini@20"), is_accuracy("users")
    (True, False, False)
    """
    name, _, k = key.partition("@")
    return name in ACCURACY and re.fullmatch("[1-9][0-9]*", k) is not None


def split_key(key: str) -> tuple[str, int]:
    """Split the key of an accuracy metric into its name and k.

    >>> split_key("ndcg@20")
    ('ndcg', 20)
    """
    name, _, k = key.partition("@")
    return name, int(k)


def _check_key(key: str) -> str:
    if not is_accuracy(key):
        names = {"names": ", ".join(ACCURACY)}
        text = "must be one of {names}, with @ and a whole number from 1 on, such as recall@20"
        raise PydanticCustomError("metric", text, names)
    return key


MetricKey = Annotated[str, AfterValidator(_check_key)]
"""Field of a configuration: the key of an accuracy metric."""


def shown_cutoff(chosen: str, cutoffs: Collection[int]) -> int:
    """The k that summaries show: 20 if it was measured, else that of the chosen metric.

    >>> shown_cutoff("ndcg@10", [10, 20]), shown_cutoff("ndcg@10", [10, 50])
    (20, 10)
    """
    return _USUAL_CUTOFF if _USUAL_CUTOFF in cutoffs else split_key(chosen)[1]


def headline(k: int) -> list[str]:
    """Keys of the metrics that summaries show.

    >>> headline(20)
    ['recall@20', 'ndcg@20']
    """
    return [f"{name}@{k}" for name in HEADLINE]


def per_user_metrics(
    hit: Hits, n_targets: Counts, cutoffs: Sequence[int], names: Iterable[str] | None = None
) -> PerUser:
    """Compute metrics at every cutoff for every user.

    Args:
        hit: (U, K) which ranks hold a target, K at least the largest cutoff.
        n_targets: (U,) number of targets, each at least 1.
        cutoffs: the k of each metric.
        names: of `ACCURACY`; None: all.

    Raises:
        DataError: K is less than a cutoff.

    >>> m = per_user_metrics(np.array([[False, True]]), np.array([2]), [2], ["recall", "ndcg"])
    >>> {key: round(float(value[0]), 4) for key, value in m.items()}
    {'recall@2': 0.5, 'ndcg@2': 0.3869}
    """
    if hit.shape[1] < max(cutoffs):
        raise DataError(f"rankings of {hit.shape[1]} items cannot give metrics at {max(cutoffs)}")
    chosen = [ACCURACY[name] for name in (ACCURACY if names is None else names)]
    return {
        f"{metric.name}@{k}": metric.compute(hit[:, :k], n_targets)
        for k in cutoffs
        for metric in chosen
    }


def mean_metrics(per_user: PerUser) -> dict[str, float]:
    """Average each metric over the users."""
    return {key: float(values.mean()) for key, values in per_user.items()}


def hits(top_items: NDArray[np.integer], targets: Histories) -> Hits:
    """Mark which recommended items are targets: (U, k) bool.

    Args:
        top_items: (U, k) item indices, best first, `NO_ITEM` for none.
        targets: U rows.

    Raises:
        DataError: the numbers of rows differ.
    """
    if len(top_items) != len(targets):
        raise DataError(f"{len(top_items)} rankings but {len(targets)} users with targets")
    # one column more than items: NO_ITEM, -1, looks up the last one, which is empty
    width = 2 + max(int(top_items.max(initial=0)), int(targets.items.max(initial=0)))
    entries = np.ones(len(targets.items), dtype=np.bool_), targets.items, targets.offsets
    wanted = sparse.csr_matrix(entries, shape=(len(targets), width))
    rows = np.repeat(np.arange(len(top_items), dtype=np.int32), top_items.shape[1])
    return np.asarray(wanted[rows, top_items.ravel()]).reshape(top_items.shape)
