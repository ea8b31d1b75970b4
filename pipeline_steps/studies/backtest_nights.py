"""Nights of a back-test: fit every recipe on what came before, score it on the night, keep both."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter

from diffrec_core.common.artifacts import atomic_directory, read_json, write_json
from diffrec_core.common.errors import ConfigError
from diffrec_core.contest.judging import NightTask, night_task, score_night
from diffrec_core.contest.night import Contestant, Night, Pair, compare, recipe_id
from diffrec_core.contest.replay import replay
from diffrec_core.data.build_interactions import build_interactions
from diffrec_core.data.histories import Histories
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.schema import ITEM_ID, TITLE
from diffrec_core.data.seen import as_histories
from diffrec_core.data.splits import SplitConfig, split_interactions, split_seen
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.metrics import split_key
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.kinds import build, load
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.fitting import LIGHTGCN, Training, epoch_limit
from pipeline_steps.runtime.item_clusters import fit_item_clusters
from pipeline_steps.runtime.processes import prepare_device

EMBEDDINGS: Final = "item_embeddings"
AGES_DAYS: Final = (1, 7, 28)
"""Ages of weights that are scored beside fresh ones, where they are whole nights."""

_NO_TITLES = pl.DataFrame(schema={ITEM_ID: pl.String, TITLE: pl.String})


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model that takes part.

    Attributes:
        id: see `recipe_id`.
        name: its entry under `train`.
        config: its settings.
        code: file or folder of its code.
    """

    id: str
    name: str
    config: ModelConfig
    code: Path


@dataclass(frozen=True, slots=True)
class Record:
    """What a night measured; aggregates only.

    Attributes:
        night: the day it began.
        users: who were scored.
        unknown_share: of the targets, those of items that no weights knew.
        metrics: of the metric that decides, means over the users, by recipe's name.
        pairs: of the recipes' ids.
        seconds: of each fit, by name.
        aged: by name, metric of weights so many days older, by their age.
    """

    night: date
    users: int
    unknown_share: float
    metrics: Mapping[str, float]
    pairs: tuple[Pair, ...]
    seconds: Mapping[str, float]
    aged: Mapping[str, Mapping[int, float]]


_RECORD: Final = TypeAdapter(Record)


def recipes_of(names: tuple[str, ...], params: Params) -> tuple[Recipe, ...]:
    """The recipes of entries under `train`.

    Raises:
        ConfigError: there is no such entry, or two are one recipe.
    """
    recipes: list[Recipe] = []
    for name in names:
        if name not in params.train:
            known = ", ".join(params.train)
            raise ConfigError(f"params.yaml: {name!r} is not under `train`; known: {known}")
        config, entry = params.train[name], params.models.get(name)
        code = Path(entry.code if entry else "diffrec_core/models")
        training = Training(
            name=name, seed=params.seed, code=code, inputs={}, runtime=params.runtime
        )
        settings = config.model_dump(mode="json")
        identity = recipe_id(
            config.kind, settings, seed=params.seed, code=training.key(config)[:16]
        )
        same = next((recipe.name for recipe in recipes if recipe.id == identity), None)
        if same is not None:
            raise ConfigError(f"--models: {same} and {name} are one recipe: name one of them")
        recipes.append(Recipe(identity, name, config, code))
    return tuple(recipes)


class Backtest:
    """The nights of a log, one after the other.

    Args:
        params: all of params.yaml.
        recipes: who takes part; the first is champion before the first night.
        source: folder of events.
        work: folder of finished nights, of this log and these recipes.
        length: of a night.
    """

    def __init__(
        self,
        params: Params,
        recipes: tuple[Recipe, ...],
        source: Path,
        *,
        work: Path,
        length: timedelta,
    ) -> None:
        self.params, self.recipes, self.source = params, recipes, source
        self.events = pl.scan_parquet(source / "**/*.parquet", hive_partitioning=False)
        self.work, self.length = work, length
        self.records: list[Record] = []
        self._metric, self._k = params.contest.metric, split_key(params.contest.metric)[1]

    def night(self, start: datetime) -> Record:
        """Judge a night, or read what an earlier run found."""
        path = self.work / "nights" / f"{start:%Y-%m-%d}.json"
        if path.exists():
            record = _RECORD.validate_python(read_json(path), strict=False)
        else:
            record = self._judge(start)
            write_json(path, _RECORD.dump_python(record, mode="json"))
        self.records.append(record)
        return record

    def ledger(self) -> tuple[Night, ...]:
        """The nights as the contest would have kept them, each with the champion of its time."""
        nights: list[Night] = []
        champion = self.recipes[0].id
        for record in self.records:
            nights.append(self._as_night(record, champion))
            champion = replay(nights, self.params.contest).switch_to or champion
        return tuple(nights)

    def _as_night(self, record: Record, champion: str) -> Night:
        contestants = (
            Contestant(
                recipe=recipe.id,
                name=recipe.name,
                metrics={self._metric: record.metrics[recipe.name]},
                seconds=record.seconds[recipe.name],
            )
            for recipe in self.recipes
        )
        return Night(
            night=record.night,
            data_end=datetime(*record.night.timetuple()[:3], tzinfo=UTC) + self.length,
            metric=self._metric,
            champion=champion,
            users=record.users,
            contestants=tuple(sorted(contestants, key=lambda one: one.recipe)),
            pairs=record.pairs,
            left_out="" if record.users else "nobody with a history came",
        )

    def _judge(self, start: datetime) -> Record:
        before = self._before(start)
        task = night_task(
            before, self.events, self.params.build_interactions, start, start + self.length
        )
        epochs = self._epochs(before, start)
        values, seconds, aged = {}, {}, {}
        for recipe in self.recipes:
            model, seconds[recipe.name] = self._fit(recipe, before, epochs, start)
            values[recipe.id] = self._score(model, task, before.items)
            aged[recipe.name] = self._aged(recipe, task, before.items, start)
        self._forget(start)
        known, wanted = int(task.targets.lengths.sum()), int(task.n_targets.sum())
        return Record(
            night=start.date(),
            users=len(task),
            unknown_share=1.0 - known / wanted if wanted else 0.0,
            metrics={r.name: _mean(values[r.id]) for r in self.recipes},
            pairs=compare(values) if len(task) else (),
            seconds=seconds,
            aged=aged,
        )

    def _before(self, until: datetime) -> Interactions:
        config = self.params.build_interactions.model_copy(update={"end": until})
        interactions, _ = build_interactions(self.events, _NO_TITLES, config)
        return interactions

    def _fit(
        self, recipe: Recipe, before: Interactions, epochs: Mapping[str, int], start: datetime
    ) -> tuple[Recommender, float]:
        """Fit, and keep the weights for the nights on which they are old; also the seconds."""
        model = build(recipe.config, prepare_device(self.params.runtime))
        histories = before.histories()
        clusters, began = None, time.perf_counter()
        if model.needs_item_clusters:
            clusters, _ = self._clusters(histories, len(before.items), epochs[EMBEDDINGS], start)
        data = TrainingData(histories=histories, items=before.items, item_clusters=clusters)
        training = self._training(recipe.name, recipe.code, start, epochs[recipe.name])
        seconds = time.perf_counter() - began
        with training.options(recipe.config) as options:
            seconds += model.fit(data, options).seconds  # and those before a kill
        with atomic_directory(self._weights(recipe, start)) as directory:
            model.save(directory)
        return model, round(seconds, 3)

    def _epochs(self, before: Interactions, start: datetime) -> Mapping[str, int]:
        """Epochs of each model, and of the item embeddings, by a fit that validation stops."""
        path = self.work / "epochs.json"
        if path.exists():
            known: dict[str, int] = read_json(path)
            return known
        task = _validation(before, self.params.split)
        epochs = {recipe.name: 1 for recipe in self.recipes}
        clusters = None
        if any(build(recipe.config).needs_item_clusters for recipe in self.recipes):
            clusters, epochs[EMBEDDINGS] = self._clusters(
                task.histories, len(before.items), None, start, task
            )
        data = TrainingData(
            histories=task.histories, items=before.items, validation=task, item_clusters=clusters
        )
        for recipe in self.recipes:
            if epoch_limit(recipe.config) > 1:
                training = self._training(recipe.name, recipe.code, start, None)
                with training.options(recipe.config) as options:
                    model = build(recipe.config, options.device)
                    epochs[recipe.name] = max(1, model.fit(data, options).best_epoch)
        write_json(path, epochs)
        return epochs

    def _clusters(
        self,
        histories: Histories,
        n_items: int,
        epochs: int | None,
        start: datetime,
        validation: RankingTask | None = None,
    ) -> tuple[NDArray[np.int64], int]:
        return fit_item_clusters(
            histories,
            n_items,
            self.params.pretrain_item_embeddings,
            self.params.cluster_items,
            training=self._training(EMBEDDINGS, LIGHTGCN, start, epochs),
            seed=self.params.seed,
            validation=validation,
        )

    def _training(self, name: str, code: Path, start: datetime, epochs: int | None) -> Training:
        return Training(
            name=f"backtest/{name}-{start:%Y-%m-%d}{'' if epochs else '-scouting'}",
            seed=self.params.seed,
            code=code,
            inputs={"events": self.source},
            runtime=self.params.runtime,
            fixed_epochs=epochs,
        )

    def _score(self, model: Recommender, task: NightTask, items: Vocabulary) -> NDArray[np.float64]:
        """(U,) the metric that decides; items that the model does not know are missed."""
        if not len(task):
            return np.zeros(0)
        known = task.for_items(model.catalogue.items.indices(items.ids))
        return score_night(model.score, known, (self._k,))[self._metric]

    def _aged(
        self, recipe: Recipe, task: NightTask, items: Vocabulary, start: datetime
    ) -> dict[int, float]:
        """The metric of the weights of earlier nights, by their age in days."""
        aged = {}
        for days in AGES_DAYS:
            folder = self._weights(recipe, start - timedelta(days=days))
            if folder.exists() and len(task):
                model = load(folder, prepare_device(self.params.runtime))
                aged[days] = _mean(self._score(model, task, items))
        return aged

    def _weights(self, recipe: Recipe, start: datetime) -> Path:
        return self.work / "weights" / f"{start:%Y-%m-%d}" / recipe.name

    def _forget(self, start: datetime) -> None:
        """Remove weights that no later night needs."""
        oldest = start - timedelta(days=max(AGES_DAYS))
        for folder in (self.work / "weights").iterdir():
            if folder.name < f"{oldest:%Y-%m-%d}":
                shutil.rmtree(folder)


def _validation(before: Interactions, config: SplitConfig) -> RankingTask:
    """Train and validation parts of what came before the first night."""
    split = split_interactions(before.frame, config)
    seen = split_seen(before.seen, split, config)
    n_users = len(before.users)
    train, validation = (Histories.from_frame(f, n_users) for f in (split.train, split.validation))
    return RankingTask.of_unseen("validation", train, validation, as_histories(seen.train, n_users))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
