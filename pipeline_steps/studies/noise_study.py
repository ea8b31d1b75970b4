"""The fits of `robustness`: each model on each noise with each seed."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.artifacts import read_json, sha256_json, write_json
from diffrec_core.common.errors import ConfigError, DataError, NotEnoughMemoryError
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.noise import add_pairs, divide, low_rated_pairs, random_pairs
from diffrec_core.data.schema import VALUE
from diffrec_core.data.splits import read_part
from diffrec_core.data.vocabulary import Vocabulary, read_items, read_users
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.kinds import build
from diffrec_core.report.noise import NoiseResult
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.fitting import LIGHTGCN, Training, epoch_limit
from pipeline_steps.runtime.item_clusters import fit_item_clusters
from pipeline_steps.runtime.processes import prepare_device
from pipeline_steps.runtime.progress import progress

log = logging.getLogger("pipeline")

METRICS: Final = ("recall@20", "ndcg@20")
_CUTOFFS = (20,)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyData:
    """The clean data.

    Attributes:
        items, users: vocabularies.
        train, validation, test: parts.
        events: of all values, for natural noise.
        paths: the folders of the parts, by part.
    """

    items: Vocabulary
    users: Vocabulary
    train: Histories
    validation: Histories
    test: Histories
    events: pl.LazyFrame
    paths: Mapping[str, Path]

    @classmethod
    def read(cls, interactions: Path, events: Path, paths: Mapping[str, Path]) -> Self:
        """Read the folders of stages."""
        return cls(
            items=read_items(interactions / "items.parquet"),
            users=read_users(interactions / "users.parquet"),
            events=pl.scan_parquet(events / "**/*.parquet", hive_partitioning=False),
            paths=paths,
            **{part: read_part(path) for part, path in paths.items()},
        )

    @property
    def known(self) -> Histories:
        """All three parts."""
        return concatenate(concatenate(self.train, self.validation), self.test)


@dataclass(frozen=True, slots=True)
class _Noise:
    """Noisy data.

    Attributes:
        kind: `none`, `random` or `natural`.
        share: of noisy interactions, of the clean ones.
        train, validation: with the noise.
    """

    kind: str
    share: float
    train: Histories
    validation: Histories

    @property
    def digest(self) -> list[str]:
        """What tells these data from others."""
        return [_digest(self.train), _digest(self.validation)]


@dataclass(frozen=True, slots=True)
class _Fit:
    """One fit: a model by name, on a noise, with the number of a seed."""

    model: str
    noise: _Noise
    seed: int


class NoiseStudy:
    """All fits; those that an earlier, interrupted run has finished are not run again.

    Args:
        params: all of params.yaml.
        data: the clean data.
        finished: file of the finished fits.

    Raises:
        ConfigError: a model is not under `train`, or natural noise is asked for and there is none.
    """

    def __init__(self, params: Params, data: StudyData, finished: Path) -> None:
        self.params, self.data, self.config = params, data, params.robustness
        for name in self.config.models:
            if name not in params.train:
                raise ConfigError(
                    f"params.yaml: robustness.models: {name!r} is not under `train`; "
                    f"known: {', '.join(params.train)}"
                )
        # before any fit: a fault of it is to be told now, not after hours
        self.natural = self._natural() if self.config.natural else None
        self._path = finished
        self._finished: dict[str, list[float]] = read_json(finished) if finished.exists() else {}
        self._clusters: tuple[tuple[str, float, int], NDArray[np.int64]] | None = None

    def run(self) -> Iterator[NoiseResult]:
        """Yield the result of each fit; a model that runs out of memory is left out."""
        fits = list(self._fits())
        with progress("robustness", len(fits)) as advance:
            for done, fit in enumerate(fits, 1):
                noise = fit.noise
                try:
                    recall, ndcg = self._measure(fit)
                    yield NoiseResult(fit.model, noise.kind, noise.share, fit.seed, recall, ndcg)
                except NotEnoughMemoryError as error:
                    log.warning("%s is left out: %s", fit.model, error)
                advance(done, f"{fit.model}, {noise.kind} noise {noise.share:.0%}")

    def _fits(self) -> Iterator[_Fit]:
        for seed in range(self.config.seeds):
            for noise in self._noises(seed):
                yield from (_Fit(name, noise, seed) for name in self.config.models)

    def _noises(self, seed: int) -> Iterator[_Noise]:
        yield _Noise("none", 0.0, self.data.train, self.data.validation)
        for share in self.config.random_shares:
            yield self._random(share, seed)
        if self.natural:
            yield self.natural

    def _random(self, share: float, seed: int) -> _Noise:
        """Pairs in both parts, none of them in the two: validation would ask for what is known."""

        def noisy(name: str, part: Histories, known: Histories) -> Histories:
            draw = derive_seed(self.params.seed, name, seed)
            n_items = len(self.data.items)
            return add_pairs(
                part, random_pairs(part, known, share=share, n_items=n_items, seed=draw)
            )

        train = noisy("train", self.data.train, self.data.known)
        known = concatenate(self.data.known, train)
        return _Noise("random", share, train, noisy("validation", self.data.validation, known))

    def _natural(self) -> _Noise:
        data, bound = self.data, self.params.build_interactions.min_value
        if bound is None:
            raise ConfigError(
                "params.yaml: robustness.natural adds what build_interactions.min_value leaves "
                "out, but that is null: set it, or natural to false"
            )
        events = data.events.filter(pl.col(VALUE) < bound).collect()
        pairs = low_rated_pairs(events, bound, data.users, data.items, data.known)
        if not len(pairs.rows):
            raise DataError(
                f"no event of a known user and item has a value below {bound:g}: there is no "
                f"natural noise; set robustness.natural to false"
            )
        for_train, for_validation = divide(pairs, data.train, data.validation)
        share = len(pairs.rows) / (len(data.train.items) + len(data.validation.items))
        return _Noise(
            "natural",
            share,
            add_pairs(data.train, for_train),
            add_pairs(data.validation, for_validation),
        )

    @cached_property
    def _excluded(self) -> Histories | None:
        """What natural noise adds, excluded from the ranking of every fit alike.

        Who is trained on a low rating is never asked for that item again. Were it left to the
        others to recommend it, noise would seem to help.
        """
        if self.natural is None:
            return None
        return concatenate(self.natural.train, self.natural.validation)

    def _measure(self, fit: _Fit) -> list[float]:
        """Recall and NDCG of a fit, which is run unless it has been."""
        config = self.params.train[fit.model]
        model = build(config, prepare_device(self.params.runtime))
        key = self._key(model, fit)
        if key not in self._finished:
            metrics = self._fit(model, fit)
            self._finished[key] = [metrics[metric] for metric in METRICS]
            write_json(self._path, self._finished)
        return self._finished[key]

    def _key(self, model: Recommender, fit: _Fit) -> str:
        """Hash all that a row is a function of."""
        embedding = self.params.pretrain_item_embeddings, self.params.cluster_items
        excluded = None if self._excluded is None else _digest(self._excluded)
        noise, needs_clusters = fit.noise, model.needs_item_clusters
        sections = [section.model_dump(mode="json") for section in embedding]
        own = self._training(fit).key(model.config)
        what: list[Any] = [own, fit.seed, noise.kind, noise.share, noise.digest, excluded]
        return sha256_json([*what, sections if needs_clusters else None])

    def _training(self, fit: _Fit, what: str | None = None) -> Training:
        name = f"{what or fit.model}-{fit.noise.kind}-{fit.noise.share:.4f}-{fit.seed}"
        entry = self.params.models.get(fit.model)
        return Training(
            name=f"robustness/{name}",
            seed=derive_seed(self.params.seed, f"robustness/{name}"),
            code=LIGHTGCN if what else Path(entry.code if entry else "diffrec_core/models"),
            inputs=self.data.paths,
            runtime=self.params.runtime,
        )

    def _fit(self, model: Recommender, fit: _Fit) -> dict[str, float]:
        noise = fit.noise
        data = TrainingData(
            histories=noise.train,
            items=self.data.items,
            validation=RankingTask("validation", noise.train, noise.validation),
            item_clusters=self._item_clusters(fit) if model.needs_item_clusters else None,
        )
        with self._training(fit).options(model.config, epoch_limit(model.config)) as options:
            model.fit(data, options)
        histories = concatenate(noise.train, noise.validation)
        return evaluate_task(
            model.score,
            RankingTask("test", histories, self.data.test, self._excluded),
            EvaluationConfig(cutoffs=_CUTOFFS, batch_size=self.params.evaluate.batch_size),
        ).metrics

    def _item_clusters(self, fit: _Fit) -> NDArray[np.int64]:
        """(I,) cluster of each item on this noise, the same for every latent model."""
        noise = fit.noise
        key = (noise.kind, noise.share, fit.seed)
        if self._clusters is None or self._clusters[0] != key:
            clusters = fit_item_clusters(
                noise.train,
                len(self.data.items),
                self.params.pretrain_item_embeddings,
                self.params.cluster_items,
                training=self._training(fit, "item_embeddings"),
                seed=self.params.seed,
                validation=RankingTask("validation", noise.train, noise.validation),
            )
            self._clusters = key, clusters
        return self._clusters[1]


def _digest(histories: Histories) -> str:
    return hashlib.sha256(histories.items.tobytes()).hexdigest()
