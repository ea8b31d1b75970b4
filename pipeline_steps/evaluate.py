"""Rank all items for all users and measure: validation, and, read here only, test.

Reads params.yaml: evaluate. Validation is scored from the train history, test from train and
validation: each from everything that came before it. What is popular is counted in train. Of a
model with several seeds, means and standard deviations are written.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_manifest, write_json
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.item_tables import read_item_embeddings_of
from diffrec_core.data.schema import EVALUATION_SCHEMA, SPLIT_SCHEMA
from diffrec_core.data.splits import PARTS, read_part
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
from pipeline_steps.runtime.command import Step, execute
from pipeline_steps.runtime.fitting import prepare_device

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument(
        "--model-dir", type=Path, required=True, help="folder of a model directory per seed"
    )
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, required=True, help=f"{part} part")
    parser.add_argument(
        "--item-embeddings", type=Path, help="for the diversity of lists; without it, none"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(step: Step) -> None:
    """Evaluate on both parts; write metrics, their values per user, and recommended items."""
    args = step.args
    config = step.section("evaluate", EvaluationConfig)
    params = config.model_dump(mode="json")
    inputs = {"model": args.model_dir, **{part: getattr(args, part) for part in PARTS}}
    if args.item_embeddings:
        inputs["item_embeddings"] = args.item_embeddings
    reason = candidates.why_left_out(args.model_dir)
    with step.output(args.out, schema=EVALUATION_SCHEMA, params=params, inputs=inputs) as (
        directory,
        _,
    ):
        if reason is None:
            result = _evaluate(step, config, directory)
            step.report = {name: result[name] for name in ("validation", "test")}
        else:
            log.warning("%s is not evaluated: it was left out", args.model_dir.name)
            result = step.report = {candidates.LEFT_OUT: reason}
        write_json(directory / "metrics.json", result)


def _evaluate(step: Step, config: EvaluationConfig, directory: Path) -> dict[str, Any]:
    """Measure the model of every seed; write means per user, and items of the first seed."""
    args = step.args
    train, validation, test = (read_part(getattr(args, part)) for part in PARTS)
    tasks = (
        RankingTask("validation", train, validation),
        RankingTask("test", concatenate(train, validation), test),
    )
    found: dict[str, list[Evaluation]] = {task.name: [] for task in tasks}
    for model_directory in candidates.seed_directories(args.model_dir):
        model = load(model_directory, prepare_device(step))
        items = _item_facts(args, model, train, config)
        for task in tasks:
            evaluation = _measure(step, model, task, items, config)
            keep = not found[task.name]  # the tables of other seeds' items are never read
            found[task.name].append(evaluation if keep else evaluation.without_items())
    spans = {part: read_manifest(getattr(args, part), SPLIT_SCHEMA)["facts"] for part in PARTS}
    result: dict[str, Any] = {
        "protocol": {**describe_protocol(config), "parts": spans},
        "seeds": len(found["test"]),
        "sd": {name: spread_of([e.metrics for e in each]) for name, each in found.items()},
    }
    for name, each in found.items():
        result[name] = mean_of([e.summary for e in each])
        write_per_user(directory, name, mean_per_user([e.per_user for e in each]))
        each[0].top_items.write_parquet(directory / f"top_items_{name}.parquet", compression="zstd")
    return result


def _measure(
    step: Step, model: Recommender, task: RankingTask, items: ItemFacts, config: EvaluationConfig
) -> Evaluation:
    with step.progress(f"evaluate {task.name}", len(task.users)) as advance:
        return evaluate_task(
            model.score,
            task,
            config,
            items=items,
            on_batch=lambda done: advance(done, "users"),
        )


def _item_facts(
    args: argparse.Namespace, model: Recommender, train: Histories, config: EvaluationConfig
) -> ItemFacts:
    items = model.catalogue.items
    embeddings = (
        read_item_embeddings_of(args.item_embeddings, items) if args.item_embeddings else None
    )
    return ItemFacts.from_training(train, len(items), config.popularity_groups, embeddings)


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
