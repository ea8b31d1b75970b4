"""The input of a report: the models of a run, measured alike, and the data."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffrec_core.evaluation.metrics import headline, shown_cutoff
from diffrec_core.report.changes import Changes

BASELINE = "popularity"
"""The model that every other one should beat; the headline compares with it if it took part."""

MOST_RANKS = 20
"""Ranks of a recommended list that are shown and counted, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainty:
    """Certainty of a model's numbers on one part.

    Attributes:
        intervals: lower and upper end for each metric.
        group: letter, shared with the group's best model and those that do not differ
            significantly from that one, by the metric of the choice.
        place: of that group, 0 being the best.
        p: of the difference to the winner in that metric, corrected for the number of models;
            None for the winner itself.
        differs: that difference is significant.
    """

    intervals: dict[str, tuple[float, float]]
    group: str
    place: int
    p: float | None
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelResult:
    """One model of the run.

    Attributes:
        name: as in params.yaml.
        selected: it is the winner.
        validation: `users` and metrics such as `recall@20` on the validation part.
        test: likewise on the test part.
        fit_seconds: training time.
        parameters: how many numbers were learned.
        peak_memory_mib: largest resident size while it was trained, in MiB.
        curve: one record per epoch: `epoch`, losses, and `validation` where it was measured;
            empty for models that are not trained in epochs.
        item_counts: (I,) lists of the test part with each item among the first `list_length`.
        top_items: for each sample user index (item index, is a hit) pairs, best first.
        certainty: by part; none where it was not tested.
        seeds: how many trainings the numbers are means over.
        sd: by part, the standard deviation of each metric over several seeds.
        slices: of the test part, by kind, as `diffrec_core.evaluation.slices` gives them.
        popularity_groups: of the test part: shares of head, torso and tail.
    """

    name: str
    selected: bool
    validation: dict[str, float]
    test: dict[str, float]
    fit_seconds: float
    parameters: int
    peak_memory_mib: float
    curve: list[dict[str, float]]
    item_counts: NDArray[np.int64]
    top_items: dict[int, list[tuple[int, bool]]]
    certainty: dict[str, Certainty] = field(default_factory=dict)
    seeds: int = 1
    sd: dict[str, dict[str, float]] = field(default_factory=dict)
    slices: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    popularity_groups: dict[str, dict[str, float]] = field(default_factory=dict)

    def metrics(self, part: str) -> dict[str, float]:
        """The metrics of the `validation` or the `test` part."""
        return self.validation if part == "validation" else self.test


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportData:
    """A whole run.

    Attributes:
        title: of the page.
        created_from: origin of the run (commit, data window, …), shown in the header.
        selected_on: part and metric of the choice, such as `validation recall@20`.
        protocol: what the numbers mean, nested; with the facts of each part under `parts`.
        data_card: counts after each stage, by stage; may be nested.
        models: the winner, then the others by the metric of the choice, best first.
        item_titles: (I,) titles, or ids.
        item_popularity: (I,) interactions of each item in the train part.
        sample_histories: user index to item indices, oldest first.
        user_ids: external id of each sample user index.
        left_out: models that have no results, and why.
        changes: what is different from the previous run.
    """

    title: str
    created_from: dict[str, str]
    selected_on: str
    protocol: dict[str, Any]
    data_card: dict[str, dict[str, Any]]
    models: list[ModelResult]
    item_titles: list[str]
    item_popularity: NDArray[np.int64]
    sample_histories: dict[int, list[int]]
    user_ids: dict[int, str]
    left_out: dict[str, str] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    @property
    def metric(self) -> str:
        """The metric that the winner was chosen on."""
        return self.selected_on.partition(" ")[2]

    @property
    def cutoffs(self) -> list[int]:
        """Every k that the models were measured at, ascending."""
        return sorted({int(key.partition("@")[2]) for key in self.models[0].test if "@" in key})

    @property
    def list_length(self) -> int:
        """Ranks that `item_counts` counts: lists are stored up to the largest k."""
        return min(MOST_RANKS, self.cutoffs[-1])

    @property
    def cutoff(self) -> int:
        """The k shown first."""
        return shown_cutoff(self.metric, self.cutoffs)

    @property
    def headline(self) -> list[str]:
        """Keys of the metrics shown first."""
        return headline(self.cutoff)
