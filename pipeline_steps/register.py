"""Log the run to MLflow, register the refitted model and move the alias.

Reads params.yaml: register. The store is `sqlite:///mlflow.db` unless MLFLOW_TRACKING_URI says
otherwise. A model that is registered already, byte for byte, is not registered again. A champion
that the gate, or a person, has promoted is not replaced: the new version becomes challenger.
"""

import argparse
import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd

from diffrec_core.common.artifacts import fingerprint, read_json, sha256_file, write_json
from diffrec_core.data.vocabulary import read_users
from diffrec_core.models.base import read_description
from pipeline_steps.registry import tracking, versions
from pipeline_steps.registry.config import RegisterConfig
from pipeline_steps.runtime import git
from pipeline_steps.runtime.command import Step, execute, repository_root
from pipeline_steps.runtime.urls import public

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--model-dir", type=Path, required=True, help="the refitted model")
    parser.add_argument("--interactions", type=Path, required=True, help="histories to serve")
    parser.add_argument("--selection", type=Path, required=True, help="the choice of `select`")
    parser.add_argument("--leaderboard", type=Path, required=True, help="all results")
    parser.add_argument("--html", type=Path, required=True, help="the report")
    parser.add_argument("--curves", type=Path, required=True, help="folder of training curves")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")


def run(step: Step) -> None:
    """Log the run; register, unless this very model is registered; then move the alias.

    The same winner may come from another run, whose leaderboard and report are to be found too.
    """
    args = step.args
    config = step.section("register", RegisterConfig)
    description = read_description(args.model_dir)
    identity = fingerprint(args.model_dir)
    with tracking.tracking(config.experiment) as uri:
        found, made = versions.find_version(config.model_name, identity), None
        tags = _tags(step, description, identity)
        run_id = tracking.log_run(_record(step, tags))
        if found is None:
            made = _register(step, config, run_id, tags)
            found = versions.keep_first(config.model_name, identity, made)
        number = found.number
        if number != made:
            log.info("%s version %s holds this model already", config.model_name, number)
        alias = _allowed_alias(config, number)
        versions.move_alias(config.model_name, alias, number)
    log.info("%s version %s is now %s", config.model_name, number, alias)
    registration = {"name": config.model_name, "version": number, "alias": alias}
    spread = {"seed_sd": _seed_sd(step)}
    write_json(
        args.out,
        {**registration, **spread, "run_id": found.run_id, "tracking_uri": public(uri)},
    )


def _seed_sd(step: Step) -> dict[str, float]:
    """Standard deviations of the winner's validation metrics; empty if it had one seed."""
    leaderboard = read_json(step.args.leaderboard)
    sd: dict[str, float] = leaderboard["models"][leaderboard["selected"]]["sd"]["validation"]
    return sd


def _allowed_alias(config: RegisterConfig, number: str) -> str:
    """The alias that the version gets: the configured one, unless a promotion stands against it."""
    champion = versions.by_alias(config.model_name, versions.CHAMPION)
    ours = {versions.CHAMPION, versions.CHALLENGER}
    if champion is None or config.alias not in ours:
        return config.alias
    if champion.number == number:
        return versions.CHAMPION  # the same model again: it is no challenger of itself
    if config.alias == versions.CHALLENGER or not champion.is_promoted:
        return config.alias
    log.warning(
        "%s version %s was promoted and stays champion; version %s becomes challenger. To compare "
        "them: python -m pipeline_steps gate, then python -m pipeline_steps promote; to promote it "
        "without: python -m pipeline_steps promote %s --force --reason TEXT",
        *(config.model_name, champion.number, number, number),
    )
    return versions.CHALLENGER


def _tags(step: Step, description: dict[str, Any], identity: str) -> dict[str, str]:
    """What ties a version to its data, parameters and code."""
    window, selection = description["training_window"], read_json(step.args.selection)
    lock = Path("dvc.lock")
    return {
        "model_fingerprint": identity,
        "kind": description["config"]["kind"],
        "model": selection["model"],
        "vocabulary": description["vocabulary"],
        "data_first": window["first"],
        "data_last": window["last"],
        "seed": str(step.seed),
        "commit": git.describe(repository_root()),
        "dvc_lock_sha256": sha256_file(lock) if lock.is_file() else "none",
        **({"run": os.environ["DIFFREC_RUN"]} if "DIFFREC_RUN" in os.environ else {}),
    }


def _record(step: Step, tags: dict[str, str]) -> tracking.RunRecord:
    args, leaderboard = step.args, read_json(step.args.leaderboard)
    curves = {name: args.curves / f"{name}.csv" for name in leaderboard["models"]}
    files = [args.leaderboard, args.html, args.selection, args.params, Path("dvc.lock")]
    return tracking.RunRecord(
        leaderboard=leaderboard,
        params={name: row["config"] for name, row in leaderboard["models"].items()},
        curves=curves,
        tags=tags,
        files=tuple(path for path in files if path.is_file()),
    )


def _register(step: Step, config: RegisterConfig, run_id: str, tags: dict[str, str]) -> str:
    users = read_users(step.args.interactions / "users.parquet")
    return tracking.register_model(
        run_id,
        config.model_name,
        model=step.args.model_dir,
        interactions=step.args.interactions,
        code=repository_root() / "diffrec_core",
        tags=tags,
        example=pd.DataFrame({"user_id": [users.ids[0]]}),
    )


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
