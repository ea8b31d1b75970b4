"""The fits of `robustness`. Loaded only when there are any."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.artifacts import read_json, sha256_json, write_json, write_text
from diffrec_core.common.config import lookup
from diffrec_core.common.errors import ConfigError, DataError, NotEnoughMemoryError
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.interactions import InteractionsConfig
from diffrec_core.data.noise import add_pairs, divide, low_rated_pairs, random_pairs
from diffrec_core.data.schema import VALUE
from diffrec_core.data.splits import PARTS, read_part
from diffrec_core.data.vocabulary import read_items, read_users
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from diffrec_core.report.noise import NoiseResult, noise_picture
from pipeline_steps.runtime.command import Step
from pipeline_steps.runtime.fitting import (
    epoch_limit,
    key_of,
    model_section,
    prepare_device,
    training_options,
)
from pipeline_steps.studies.robustness import HEADER, RobustnessConfig

log = logging.getLogger("pipeline")

_METRICS = ("recall@20", "ndcg@20")


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


def retrain(step: Step, config: RobustnessConfig) -> None:
    """Fit every model on every noise with every seed, and write rows and picture."""
    fits = _Fits(step, config)
    rows = list(fits.run())
    lines = [
        ",".join([r.model, r.noise, f"{r.share:.4f}", str(r.seed), f"{r.recall}", f"{r.ndcg}"])
        for r in rows
    ]
    write_text(step.args.out / "rows.csv", "\n".join([HEADER, *lines]) + "\n")
    write_text(step.args.out / "drop.svg", noise_picture(rows))
    step.report |= {"fits": len(rows)}


class _Fits:
    """All fits of the run; those that are kept from an earlier one are not run again."""

    def __init__(self, step: Step, config: RobustnessConfig) -> None:
        self.step, self.config, self.args = step, config, step.args
        known = list(lookup(step.params, "models") or {})
        for name in config.models:
            if name not in known:
                raise ConfigError(
                    f"params.yaml: robustness.models: {name!r} is not under `models`; "
                    f"known: {', '.join(known)}"
                )
        self.items = read_items(self.args.interactions / "items.parquet")
        self.users = read_users(self.args.interactions / "users.parquet")
        self.train, self.validation, self.test = (read_part(getattr(self.args, p)) for p in PARTS)
        self.known = concatenate(concatenate(self.train, self.validation), self.test)
        # before any fit: what is wrong with it should not be told after hours
        self.natural = self._natural() if config.natural else None
        self.kept: dict[str, Any] = read_json(self.args.kept) if self.args.kept.exists() else {}

    def run(self) -> Iterator[NoiseResult]:
        config = self.config
        per_seed = 1 + len(config.random_shares) + config.natural
        total, done = config.seeds * per_seed * len(config.models), 0
        with self.step.progress("robustness", total) as advance:
            for seed in range(config.seeds):
                for noise in self._noises(seed):
                    clusters = _Clusters(self, noise, seed)
                    for name in config.models:
                        row = self._measure_if_it_fits(name, noise, seed, clusters)
                        done += 1
                        advance(done, f"{name}, {noise.kind} noise {noise.share:.0%}")
                        if row:
                            yield row

    def _measure_if_it_fits(
        self, name: str, noise: _Noise, seed: int, clusters: "_Clusters"
    ) -> NoiseResult | None:
        try:
            return self._measure(name, noise, seed, clusters)
        except NotEnoughMemoryError as error:
            log.warning("%s is left out: %s", name, error)
            return None

    def _noises(self, seed: int) -> Iterator[_Noise]:
        yield _Noise("none", 0.0, self.train, self.validation)
        for share in self.config.random_shares:
            yield self._random(share, seed)
        if self.natural:
            yield self.natural

    def _random(self, share: float, seed: int) -> _Noise:
        """Pairs in both parts, none of them in the two: validation would ask for what is known."""

        def noisy(name: str, part: Histories, known: Histories) -> Histories:
            draw = derive_seed(self.step.seed, name, seed)
            pairs = random_pairs(part, known, share=share, n_items=len(self.items), seed=draw)
            return add_pairs(part, pairs)

        train = noisy("train", self.train, self.known)
        validation = noisy("validation", self.validation, concatenate(self.known, train))
        return _Noise("random", share, train, validation)

    def _natural(self) -> _Noise:
        bound = self.step.section("build_interactions", InteractionsConfig).min_value
        if bound is None:
            raise ConfigError(
                "params.yaml: robustness.natural adds what build_interactions.min_value leaves "
                "out, but that is null: set it, or natural to false"
            )
        files = self.args.events / "**/*.parquet"
        events = pl.scan_parquet(files, hive_partitioning=False).filter(pl.col(VALUE) < bound)
        pairs = low_rated_pairs(events.collect(), bound, self.users, self.items, self.known)
        if not len(pairs.rows):
            raise DataError(
                f"no event of a known user and item has a value below {bound:g}: there is no "
                f"natural noise; set robustness.natural to false"
            )
        for_train, for_validation = divide(pairs, self.train, self.validation)
        added = len(for_train.rows) + len(for_validation.rows)
        clean = len(self.train.items) + len(self.validation.items)
        return _Noise(
            "natural",
            added / clean,
            add_pairs(self.train, for_train),
            add_pairs(self.validation, for_validation),
        )

    def _barred(self) -> Histories | None:
        """What natural noise adds, for every fit alike.

        Who is trained on a low rating is never asked for that item again. Were it left to the
        others to recommend it, noise would seem to help.
        """
        if self.natural is None:
            return None
        return concatenate(self.natural.train, self.natural.validation)

    def _measure(self, name: str, noise: _Noise, seed: int, clusters: "_Clusters") -> NoiseResult:
        """Fit and evaluate, unless it has been done."""
        tuned = self.args.tuned and self.args.tuned / f"{name}.json"
        section = model_section(self.step, name, tuned)
        model = create(section, f"train.{name}", prepare_device(self.step))
        key = self._key(model, noise, seed)
        if key not in self.kept:
            values = self._fit(name, model, noise, seed, clusters)
            self.kept[key] = [values[metric] for metric in _METRICS]
            write_json(self.args.kept, self.kept)
        recall, ndcg = self.kept[key]
        return NoiseResult(name, noise.kind, noise.share, seed, recall, ndcg)

    def _key(self, model: Recommender, noise: _Noise, seed: int) -> str:
        """Hash all that a row is a function of."""
        inputs = [getattr(self.args, part) for part in PARTS]
        embedding = [
            self.step.params.get(name) if model.needs_item_clusters else None
            for name in ("pretrain_item_embeddings", "cluster_items")
        ]
        noisy = [
            hashlib.sha256(part.items.tobytes()).hexdigest()
            for part in (noise.train, noise.validation)
        ]
        barred = self._barred()
        ranked = None if barred is None else hashlib.sha256(barred.items.tobytes()).hexdigest()
        base = key_of(self.step.seed, model.config, inputs)
        return sha256_json([base, seed, noise.kind, noise.share, embedding, noisy, ranked])

    def _fit(
        self, name: str, model: Recommender, noise: _Noise, seed: int, clusters: "_Clusters"
    ) -> dict[str, float]:
        task = RankingTask("validation", noise.train, noise.validation)
        data = TrainingData(
            histories=noise.train,
            items=self.items,
            validation=task,
            item_clusters=clusters.get() if model.needs_item_clusters else None,
        )
        with training_options(
            self.step,
            f"robustness/{name}-{noise.kind}-{noise.share:.4f}-{seed}",
            config=model.config,
            inputs=[self.args.train, self.args.validation],
            epochs=epoch_limit(model.config),
        ) as options:
            model.fit(data, options)
        batch_size = self.step.section("evaluate", EvaluationConfig).batch_size
        histories = concatenate(noise.train, noise.validation)
        return evaluate_task(
            model.score,
            RankingTask("test", histories, self.test, self._barred()),
            EvaluationConfig(cutoffs=(20,), batch_size=batch_size),
        ).metrics


class _Clusters:
    """The item categories that noisy data lead to, computed when a latent model first asks."""

    def __init__(self, fits: _Fits, noise: _Noise, seed: int) -> None:
        self.fits, self.noise, self.seed = fits, noise, seed
        self.found: NDArray[np.int64] | None = None

    def get(self) -> NDArray[np.int64]:
        """(I,) category of each item."""
        if self.found is None:
            self.found = self._cluster()
        return self.found

    def _cluster(self) -> NDArray[np.int64]:
        step, noise = self.fits.step, self.noise
        config = step.section("pretrain_item_embeddings", LightGCNConfig)
        task = RankingTask("validation", noise.train, noise.validation)
        with training_options(
            step,
            f"robustness/item_embeddings-{noise.kind}-{noise.share:.4f}-{self.seed}",
            config=config,
            inputs=[step.args.train, step.args.validation],
            epochs=config.epochs,
        ) as options:
            n_items = len(self.fits.items)
            embeddings, _ = fit_lightgcn(
                noise.train, n_items, config, options, task, name="pretrain_item_embeddings"
            )
        clustering = step.section("cluster_items", ClusteringConfig)
        read_out = embeddings.read_out.cpu().numpy()
        return cluster_items(read_out, clustering, seed=derive_seed(step.seed, "cluster_items"))
