"""Rank all items for all users and measure: validation, and, read here only, test.

Validation is scored from the train history, test from train and validation: each from everything
that came before it. Popularity is counted in train. For a model with several seeds, means and
standard deviations are written.
"""

import logging
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_manifest, write_json
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.item_tables import read_item_embeddings
from diffrec_core.data.schema import EVALUATION_SCHEMA, SPLIT_SCHEMA
from diffrec_core.data.splits import EVALUATED_PARTS, PARTS, read_part, read_seen_besides
from diffrec_core.evaluation.evaluator import (
    Evaluation,
    EvaluationConfig,
    describe_protocol,
    evaluate_task,
)
from diffrec_core.evaluation.items import ItemFacts
from diffrec_core.evaluation.per_user import write_per_user
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.evaluation.seeds import mean_of, mean_per_user, spread_of
from diffrec_core.models.base import Recommender
from diffrec_core.models.kinds import load
from pipeline_steps.runtime import candidates
from pipeline_steps.runtime.command import Report, execute
from pipeline_steps.runtime.config import RuntimeConfig
from pipeline_steps.runtime.inputs import PartsInputs
from pipeline_steps.runtime.outputs import output_directory
from pipeline_steps.runtime.processes import prepare_device
from pipeline_steps.runtime.progress import progress

log = logging.getLogger("pipeline")


class EvaluateInputs(PartsInputs):
    """The candidate, the parts of the split, and the output."""

    model_dir: Path
    """Folder of a model directory per seed."""

    test: Path
    """Test part."""

    item_embeddings: Path | None = None
    """For the diversity of lists; without it, that is not measured."""

    out: Path
    """Folder to write."""

    def paths(self) -> dict[str, Path]:
        """Everything that is read, by role."""
        paths = {"model": self.model_dir, **{part: getattr(self, part) for part in PARTS}}
        return paths | ({"item_embeddings": self.item_embeddings} if self.item_embeddings else {})


def run(inputs: EvaluateInputs, evaluate: EvaluationConfig, runtime: RuntimeConfig) -> Report:
    """Evaluate on both parts; write metrics, their values per user, and recommended items."""
    reason = candidates.why_left_out(inputs.model_dir)
    with output_directory(
        inputs.out, schema=EVALUATION_SCHEMA, config=evaluate, inputs=inputs.paths()
    ) as (directory, _):
        if reason is None:
            result = _evaluate(inputs, evaluate, runtime, directory)
        else:
            log.warning("%s is not evaluated: it was left out", inputs.model_dir.name)
            result = {candidates.LEFT_OUT: reason}
        write_json(directory / "metrics.json", result)
    return {
        name: result[name] for name in (*EVALUATED_PARTS, candidates.LEFT_OUT) if name in result
    }


def _evaluate(
    inputs: EvaluateInputs, config: EvaluationConfig, runtime: RuntimeConfig, directory: Path
) -> dict[str, Any]:
    """Measure the model of every seed; write means per user, and items of the first seed."""
    train, validation, test = (read_part(getattr(inputs, part)) for part in PARTS)
    seen, seen_later = map(read_seen_besides, (inputs.train, inputs.validation))
    before = concatenate(train, validation)
    tasks = (
        RankingTask.of_unseen("validation", train, validation, seen),
        RankingTask.of_unseen("test", before, test, concatenate(seen, seen_later)),
    )
    evaluations: dict[str, list[Evaluation]] = {task.name: [] for task in tasks}
    for model_directory in candidates.seed_directories(inputs.model_dir):
        model = load(model_directory, prepare_device(runtime))
        items = _item_facts(inputs.item_embeddings, model, train, config)
        for task in tasks:
            evaluation = _measure(model, task, items, config)
            keep = not evaluations[task.name]  # the tables of other seeds' items are never read
            evaluations[task.name].append(evaluation if keep else evaluation.without_items())
    spans = {part: read_manifest(getattr(inputs, part), SPLIT_SCHEMA)["facts"] for part in PARTS}
    result: dict[str, Any] = {
        "protocol": {**describe_protocol(config), "parts": spans},
        "seeds": len(evaluations["test"]),
        "sd": {name: spread_of([e.metrics for e in each]) for name, each in evaluations.items()},
    }
    for name, each in evaluations.items():
        result[name] = mean_of([e.summary for e in each])
        write_per_user(directory, name, mean_per_user([e.per_user for e in each]))
        each[0].top_items.write_parquet(directory / f"top_items_{name}.parquet", compression="zstd")
    return result


def _measure(
    model: Recommender, task: RankingTask, items: ItemFacts, config: EvaluationConfig
) -> Evaluation:
    with progress(f"evaluate {task.name}", len(task.users)) as advance:
        return evaluate_task(
            model.score,
            task,
            config,
            items=items,
            on_batch=lambda done: advance(done, "users"),
        )


def _item_facts(
    embeddings: Path | None, model: Recommender, train: Histories, config: EvaluationConfig
) -> ItemFacts:
    items = model.catalogue.items
    vectors = read_item_embeddings(embeddings, items) if embeddings else None
    return ItemFacts.from_training(train, len(items), config.popularity_groups, vectors)


if __name__ == "__main__":
    execute(run)
