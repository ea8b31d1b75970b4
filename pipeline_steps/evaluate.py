"""Rank all items for all users and measure: validation, and, read here only, test.

Reads params.yaml: evaluate. Validation is scored from the train history, test from train and
validation: each from everything that came before it. What is popular is counted in train.
"""

import argparse
import logging
from pathlib import Path

from diffrec_core.artifacts import read_manifest, write_json
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.item_tables import read_item_embeddings_of
from diffrec_core.data.schema import EVALUATION_SCHEMA, SPLIT_SCHEMA
from diffrec_core.data.splits import PARTS, read_part
from diffrec_core.evaluation.evaluator import EvaluationConfig, describe_protocol, evaluate_task
from diffrec_core.evaluation.items import ItemFacts
from diffrec_core.evaluation.per_user import write_per_user
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender
from diffrec_core.models.registry import load
from pipeline_steps._runtime import Step, execute
from pipeline_steps._training import prepare_device

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--model-dir", type=Path, required=True, help="model directory")
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
    model = load(args.model_dir, prepare_device(step))
    train, validation, test = (read_part(getattr(args, part)) for part in PARTS)
    tasks = (
        RankingTask("validation", train, validation),
        RankingTask("test", concatenate(train, validation), test),
    )
    items = _item_facts(args, model, train, config)
    inputs = {"model": args.model_dir, **{part: getattr(args, part) for part in PARTS}}
    if args.item_embeddings:
        inputs["item_embeddings"] = args.item_embeddings
    spans = {part: read_manifest(inputs[part], SPLIT_SCHEMA)["facts"] for part in PARTS}
    result = {"protocol": {**describe_protocol(config), "parts": spans}}
    params = config.model_dump(mode="json")
    with step.output(args.out, schema=EVALUATION_SCHEMA, params=params, inputs=inputs) as (
        directory,
        _,
    ):
        for task in tasks:
            with step.progress(f"evaluate {task.name}", len(task.users)) as advance:
                evaluation = evaluate_task(
                    model.score,
                    task,
                    config,
                    items=items,
                    on_batch=lambda done: advance(done, "users"),
                )
            result[task.name] = evaluation.summary
            write_per_user(directory, task.name, evaluation.per_user)
            evaluation.top_items.write_parquet(
                directory / f"top_items_{task.name}.parquet", compression="zstd"
            )
        write_json(directory / "metrics.json", result)
    step.report = {name: result[name] for name in ("validation", "test")}


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
