"""The contract of every model, and what all share: cold users, saving, loading, catalogue.

A model directory holds `weights.safetensors`, `items.parquet` (the catalogue: the vocabulary in
index order with titles and popularity) and `model.json` (kind, configuration, vocabulary
fingerprint, training window, checksums). It needs nothing else to score anybody.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffrec_core.common.artifacts import (
    check_schema,
    read_json,
    sha256_file,
    verify_files,
    write_json,
)
from diffrec_core.common.config import Config
from diffrec_core.common.errors import ArtifactError, DataError, NotFittedError
from diffrec_core.common.trial import Trial
from diffrec_core.data.histories import Histories
from diffrec_core.data.recency import RecencyConfig, recency_weights, suggest_recency
from diffrec_core.data.schema import MODEL_SCHEMA
from diffrec_core.data.vocabulary import Vocabulary, read_items
from diffrec_core.evaluation.evaluator import recall_at
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.memory import memory_limit
from diffrec_core.training.trainer import TrainingOptions, TrainingReport

_WEIGHTS, _ITEMS, _MODEL = "weights.safetensors", "items.parquet", "model.json"
_POPULARITY = "popularity"


class ModelConfig(Config):
    """Settings of every model."""

    kind: str
    """The implementation: a name known to `kinds.py`, or `package.module:Class`."""

    recency: RecencyConfig = RecencyConfig()
    """Weight of each history entry by its age or place."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Settings to try, by dotted key; all others stay as configured."""
        return suggest_recency(trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Data that a model is fitted on.

    Attributes:
        histories: one row per user, oldest item first.
        items: the item vocabulary; its length is I.
        validation: the task that stops training early; None when refitting.
        item_clusters: (I,) cluster of each item, for latent models.
    """

    histories: Histories
    items: Vocabulary
    validation: RankingTask | None = None
    item_clusters: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items that a model can score.

    Attributes:
        items: the vocabulary.
        popularity: (I,) int64, users who had the item in the training histories.
    """

    items: Vocabulary
    popularity: NDArray[np.int64]

    def write(self, path: Path) -> None:
        """Write as `items.parquet` with a popularity column."""
        frame = self.items.to_items_frame()
        column = pl.Series(_POPULARITY, self.popularity, dtype=pl.Int64)
        frame.with_columns(column).write_parquet(path, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        popularity = pl.read_parquet(path, columns=[_POPULARITY])[_POPULARITY]
        return cls(read_items(path), popularity.to_numpy().astype(np.int64))


class _Fitted(NamedTuple):
    """Data of a fitted or loaded model, apart from what it learned."""

    catalogue: Catalogue
    training_window: tuple[str, str]


class Recommender(ABC):
    """A model that scores every item for a user's history.

    Subclasses implement `_fit`, `_score`, `_tensors` and `_restore`, and name their `Config`.

    Args:
        config: its settings.
        device: where it trains and scores.
    """

    Config: ClassVar[type[ModelConfig]]
    needs_item_clusters: bool = False
    uses_seed: ClassVar[bool] = True
    """Another seed gives another model."""
    reads_history: ClassVar[bool] = True
    """Scores depend on the history at all."""
    reads_order: ClassVar[bool] = False
    """Scores depend on the order of the history even without a recency option."""

    def __init__(self, config: ModelConfig, device: torch.device | None = None) -> None:
        self.config = config
        self.device = device or torch.device("cpu")
        self._fitted: _Fitted | None = None

    @abstractmethod
    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        """Learn from `data`."""

    @abstractmethod
    def _score(self, histories: Histories) -> Tensor:
        """Score all items, (B, I) float32, for histories that each have an item."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """Return everything learned, by name; nothing per user: weights cannot be erased from."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        """Restore what `_tensors` returned."""

    def fit(self, data: TrainingData, options: TrainingOptions | None = None) -> TrainingReport:
        """Learn from histories.

        Raises:
            DataError: there is no interaction, or item clusters are needed and missing.
            NotEnoughMemoryError: it needs more memory than the options allow, or than there is.
        """
        if len(data.histories.items) == 0:
            raise DataError("cannot fit a model: the training histories hold no interaction")
        if self.needs_item_clusters and data.item_clusters is None:
            raise DataError(f"a latent {self.config.kind} model needs item clusters")
        options = options or TrainingOptions(device=self.device)
        popularity = np.bincount(data.histories.items, minlength=len(data.items))
        self._fitted = _Fitted(
            Catalogue(data.items, popularity), _window(data.histories.timestamps)
        )
        started = time.perf_counter()
        try:
            with memory_limit(self.config.kind, options):
                report = self._fit(data, options)
        except BaseException:
            self._fitted = None  # a fit that failed leaves nothing to score or to save
            raise
        # a training loop that was resumed knows of the time before; others took this long
        return replace(report, seconds=max(report.seconds, time.perf_counter() - started))

    @torch.no_grad()
    def score(self, histories: Histories) -> Tensor:
        """Score every item for every history; seen items are scored too, callers mask them.

        A history without items gets the items' popularity, on a scale of its own: scores are
        comparable within a row only.

        Shapes: B histories to (B, I) float32 on the model's device.
        """
        catalogue = self.catalogue
        scores = torch.empty(len(histories), len(catalogue.items), device=self.device)
        warm = histories.lengths > 0
        if warm.any():
            rows = torch.from_numpy(np.flatnonzero(warm)).to(self.device)
            scores[rows] = self._score(histories.take(np.flatnonzero(warm))).to(torch.float32)
        if not warm.all():
            popularity = torch.from_numpy(catalogue.popularity).to(scores)
            scores[torch.from_numpy(~warm).to(self.device)] = popularity
        return scores

    @property
    def catalogue(self) -> Catalogue:
        """The items that the model scores.

        Raises:
            NotFittedError: before `fit` or `load`.
        """
        return self._state.catalogue

    @property
    def training_window(self) -> tuple[str, str]:
        """First and last training timestamp, ISO 8601, both inclusive."""
        return self._state.training_window

    @property
    def _state(self) -> _Fitted:
        if self._fitted is None:
            raise NotFittedError(self.config.kind)
        return self._fitted

    @property
    def n_parameters(self) -> int:
        """Number of learned values."""
        return sum(t.numel() for t in self._tensors().values() if t.is_floating_point())

    def save(self, directory: Path) -> None:
        """Write the model directory (see the module's docstring) into an existing folder."""
        catalogue = self.catalogue
        tensors = {name: t.detach().cpu().contiguous() for name, t in self._tensors().items()}
        save_file(tensors, directory / _WEIGHTS)
        catalogue.write(directory / _ITEMS)
        start, end = self.training_window
        description = {
            "schema": MODEL_SCHEMA,
            "config": self.config.model_dump(mode="json"),
            "vocabulary": catalogue.items.fingerprint,
            "n_items": len(catalogue.items),
            "training_window": {"first": start, "last": end},
            "files": {name: sha256_file(directory / name) for name in (_WEIGHTS, _ITEMS)},
        }
        write_json(directory / _MODEL, description)

    @classmethod
    def load(cls, directory: Path, device: torch.device | None = None) -> Self:
        """Read a model directory.

        Raises:
            ArtifactError: a file is missing, corrupt, of another schema, or of another model.
        """
        description = read_description(directory)
        try:
            config = cls.Config.model_validate_json(json.dumps(description["config"]))
        except ValidationError as error:
            raise ArtifactError(
                f"{directory / _MODEL} does not fit {cls.__name__}: {error}"
            ) from error
        model = cls(config, device)
        catalogue = Catalogue.read(directory / _ITEMS)
        if catalogue.items.fingerprint != description["vocabulary"]:
            raise ArtifactError(f"{directory}: items.parquet is not the vocabulary of the weights")
        window = description["training_window"]
        model._restore(load_file(directory / _WEIGHTS), len(catalogue.items))
        model._fitted = _Fitted(catalogue, (window["first"], window["last"]))
        return model

    def input_weights(self, histories: Histories) -> NDArray[np.float32]:
        """(N,) weight of every entry: its own times its recency."""
        return histories.weights * recency_weights(histories, self.config.recency)

    def input_rows(self, histories: Histories, *, with_recency: bool = True) -> SparseRows:
        """Histories as the model is to see them, on its device."""
        weights = self.input_weights(histories) if with_recency else histories.weights
        return SparseRows.from_histories(histories, weights, len(self.catalogue.items), self.device)

    def validate(self, task: RankingTask | None, *, batch_size: int = 1024) -> float | None:
        """Return recall@20, which early stopping watches; None without a validation part."""
        return None if task is None else recall_at(self.score, task, batch_size=batch_size)


def read_description(directory: Path) -> dict[str, Any]:
    """Read `model.json` and verify the files that it lists.

    Raises:
        ArtifactError: see `Recommender.load`.
    """
    description: dict[str, Any] = read_json(directory / _MODEL)
    check_schema(description, MODEL_SCHEMA, directory, "train it anew with this version")
    verify_files(directory, description["files"])
    return description


def _window(timestamps: NDArray[np.int64]) -> tuple[str, str]:
    first, last = (np.datetime64(int(t), "us") for t in (timestamps.min(), timestamps.max()))
    return f"{first}+00:00", f"{last}+00:00"
