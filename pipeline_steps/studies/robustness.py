"""Retrain models on noisier and noisier data, and see how much worse they rank clean test data.

Noise is added to train and validation: random pairs of users and items, and natural noise, the
events that `build_interactions.min_value` excluded. Finished fits are stored: a killed run resumes
where it stopped. Writes one row for each fit, and a picture of how much each model loses.

  make robustness MODELS="ease diffrec"
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.artifacts import read_json, sha256_json, write_json, write_text
from diffrec_core.common.errors import ConfigError, DataError, NotEnoughMemoryError
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.noise import add_pairs, divide, low_rated_pairs, random_pairs
from diffrec_core.data.schema import VALUE
from diffrec_core.data.splits import PARTS, read_part, read_seen_besides
from diffrec_core.data.vocabulary import read_items, read_users
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.kinds import build
from diffrec_core.report.noise import METRICS, NoiseResult, noise_picture
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.command import Report
from pipeline_steps.runtime.fitting import LIGHTGCN, Training
from pipeline_steps.runtime.inputs import PartsInputs
from pipeline_steps.runtime.item_clusters import fit_item_clusters
from pipeline_steps.runtime.outputs import write_csv
from pipeline_steps.runtime.processes import prepare_device
from pipeline_steps.runtime.progress import progress

log = logging.getLogger("pipeline")


class RobustnessInputs(PartsInputs):
    """The clean data, and the output."""

    events: Path
    """For natural noise."""

    interactions: Path
    """For the vocabulary."""

    test: Path
    """Test part."""

    out: Path
    """Folder to write: rows.csv and drop.svg."""

    finished: Path = Path(".robustness/rows.json")
    """Finished fits, for a run that resumes."""


def run(inputs: RobustnessInputs, params: Params) -> Report:
    """Fit every model on every noise with every seed, and write rows and picture."""
    rows = list(NoiseStudy(params, inputs).run())
    cells = (
        {**asdict(row), "share": f"{row.share:.4f}", **{m: row.value(m) for m in METRICS}}
        for row in rows
    )
    write_csv(inputs.out / "rows.csv", ["model", "noise", "share", "seed", *METRICS], cells)
    write_text(inputs.out / "drop.svg", noise_picture(rows))
    return {"fits": len(rows)}


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


@dataclass(frozen=True, slots=True)
class _Fit:
    """One fit: a model by name, on a noise, with the number of a seed."""

    model: str
    noise: _Noise
    seed: int


class NoiseStudy:
    """All fits; those that an interrupted run has finished are not run again.

    Args:
        params: all of params.yaml.
        inputs: the clean data, and the file of the finished fits.

    Raises:
        ConfigError: a model is not under `train`, or natural noise is asked for and there is none.
    """

    def __init__(self, params: Params, inputs: RobustnessInputs) -> None:
        self.params, self.config, self.inputs = params, params.robustness, inputs
        for name in self.config.models:
            if name not in params.train:
                raise ConfigError(
                    f"params.yaml: robustness.models: {name!r} is not under `train`; "
                    f"known: {', '.join(params.train)}"
                )
        self.items = read_items(inputs.interactions / "items.parquet")
        self.paths = {part: getattr(inputs, part) for part in PARTS}
        self.train, self.validation, self.test = map(read_part, self.paths.values())
        self.known = concatenate(concatenate(self.train, self.validation), self.test)
        seen = {part: read_seen_besides(path) for part, path in self.paths.items()}
        self._seen = {
            "validation": seen["train"],
            "test": concatenate(seen["train"], seen["validation"]),
        }
        self.met = concatenate(self.known, concatenate(self._seen["test"], seen["test"]))
        # before any fit: its errors should be raised now, not after hours
        self.natural = self._natural() if self.config.natural else None
        if (
            self.natural
        ):  # where low ratings are not seen (`seen_event_types: []`): were their items
            # open to the models without natural noise, the noise would seem to help
            natural = concatenate(self.natural.train, self.natural.validation)
            self._seen["test"] = concatenate(self._seen["test"], natural)
        self._finished = read_json(inputs.finished) if inputs.finished.exists() else {}
        self._clusters: tuple[tuple[str, float, int], NDArray[np.int64]] | None = None

    def run(self) -> Iterator[NoiseResult]:
        """Yield the result of each fit; a model that runs out of memory is left out."""
        fits = [
            _Fit(name, noise, seed)
            for seed in range(self.config.seeds)
            for noise in self.noises(seed)
            for name in self.config.models
        ]
        with progress("robustness", len(fits)) as advance:
            for done, fit in enumerate(fits, 1):
                noise = fit.noise
                try:
                    recall, ndcg = self._measure(fit)
                    yield NoiseResult(fit.model, noise.kind, noise.share, fit.seed, recall, ndcg)
                except NotEnoughMemoryError as error:
                    log.warning("%s is left out: %s", fit.model, error)
                advance(done, f"{fit.model}, {noise.kind} noise {noise.share:.0%}")

    def noises(self, seed: int) -> Iterator[_Noise]:
        """Yield the clean data, then the noisy ones."""
        yield _Noise("none", 0.0, self.train, self.validation)
        for share in self.config.random_shares:
            yield self._random(share, seed)
        if self.natural:
            yield self.natural

    def _random(self, share: float, seed: int) -> _Noise:
        """Random pairs in both parts, none in both at once: validation would ask for known ones."""

        def noisy(name: str, part: Histories, met: Histories) -> Histories:
            draw, n_items = derive_seed(self.params.seed, name, seed), len(self.items)
            pairs = random_pairs(part, met, share=share, n_items=n_items, seed=draw)
            return add_pairs(part, pairs)

        train = noisy("train", self.train, self.met)
        met = concatenate(self.met, train)
        return _Noise("random", share, train, noisy("validation", self.validation, met))

    def _natural(self) -> _Noise:
        bound = self.params.build_interactions.min_value
        if bound is None:
            raise ConfigError(
                "params.yaml: robustness.natural adds what build_interactions.min_value leaves "
                "out, but that is null: set it, or natural to false"
            )
        events = pl.scan_parquet(self.inputs.events / "**/*.parquet", hive_partitioning=False)
        pairs = low_rated_pairs(
            events.filter(pl.col(VALUE) < bound).collect(),
            bound,
            read_users(self.inputs.interactions / "users.parquet"),
            self.items,
            self.known,
        )
        if not len(pairs.rows):
            raise DataError(
                f"no event of a known user and item has a value below {bound:g}: there is no "
                f"natural noise; set robustness.natural to false"
            )
        for_train, for_validation = divide(pairs, self.train, self.validation)
        share = len(pairs.rows) / (len(self.train.items) + len(self.validation.items))
        train = add_pairs(self.train, for_train)
        return _Noise("natural", share, train, add_pairs(self.validation, for_validation))

    def _measure(self, fit: _Fit) -> list[float]:
        """Recall and NDCG of a fit, stored or run now."""
        config = self.params.train[fit.model]
        model = build(config, prepare_device(self.params.runtime))
        key = self._key(model, fit)
        if key not in self._finished:
            metrics = self._fit(model, fit)
            self._finished[key] = [metrics[metric] for metric in METRICS]
            write_json(self.inputs.finished, self._finished)
        measured: list[float] = self._finished[key]
        return measured

    def _key(self, model: Recommender, fit: _Fit) -> str:
        """Hash of all that a row is a function of."""
        noise, sections = fit.noise, None
        if model.needs_item_clusters:
            embedding = self.params.pretrain_item_embeddings, self.params.cluster_items
            sections = [section.model_dump(mode="json") for section in embedding]
        digests = [_digest(noise.train), _digest(noise.validation)]
        seen = [_digest(each) for each in self._seen.values()]
        training = self._training(fit).key(model.config)
        return sha256_json([training, fit.seed, noise.kind, noise.share, digests, seen, sections])

    def _training(self, fit: _Fit, what: str | None = None) -> Training:
        """The training of the model, or of the item embeddings that it needs."""
        name = f"{what or fit.model}-{fit.noise.kind}-{fit.noise.share:.4f}-{fit.seed}"
        entry = self.params.models.get(fit.model)
        return Training(
            name=f"robustness/{name}",
            seed=derive_seed(self.params.seed, f"robustness/{name}"),
            code=LIGHTGCN if what else Path(entry.code if entry else "diffrec_core/models"),
            inputs=self.paths,
            runtime=self.params.runtime,
        )

    def _fit(self, model: Recommender, fit: _Fit) -> dict[str, float]:
        noise = fit.noise
        data = TrainingData(
            histories=noise.train,
            items=self.items,
            validation=self._validation(noise),
            item_clusters=self._item_clusters(fit) if model.needs_item_clusters else None,
        )
        with self._training(fit).options(model.config) as options:
            model.fit(data, options)
        histories = concatenate(noise.train, noise.validation)
        return evaluate_task(
            model.score,
            RankingTask.of_unseen("test", histories, self.test, self._seen["test"]),
            EvaluationConfig(cutoffs=(20,), batch_size=self.params.evaluate.batch_size),
        ).metrics

    def _validation(self, noise: _Noise) -> RankingTask:
        seen = self._seen["validation"]
        return RankingTask.of_unseen("validation", noise.train, noise.validation, seen)

    def _item_clusters(self, fit: _Fit) -> NDArray[np.int64]:
        """(I,) cluster of each item on this noise, shared by all latent models."""
        noise = fit.noise
        key = (noise.kind, noise.share, fit.seed)
        if self._clusters is None or self._clusters[0] != key:
            clusters, _ = fit_item_clusters(
                noise.train,
                len(self.items),
                self.params.pretrain_item_embeddings,
                self.params.cluster_items,
                training=self._training(fit, "item_embeddings"),
                seed=self.params.seed,
                validation=self._validation(noise),
            )
            self._clusters = key, clusters
        return self._clusters[1]


def _digest(histories: Histories) -> str:
    return hashlib.sha256(histories.items.tobytes()).hexdigest()
