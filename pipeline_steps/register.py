"""Log the run to MLflow, register the refitted model and move the alias.

The store is MLFLOW_TRACKING_URI, by default `sqlite:///mlflow.db`. A model that is registered
already, byte for byte, is not registered again. A champion that was promoted, by the gate or by a
person, is not replaced: the new version becomes challenger.
"""

import logging
import os
from pathlib import Path

import pandas as pd

from diffrec_core.common.artifacts import fingerprint, read_json, sha256_file, write_json
from diffrec_core.data.seen import Repeats
from diffrec_core.data.vocabulary import read_items
from diffrec_core.models.base import read_description
from pipeline_steps.params.steps import RecommendConfig, RegisterConfig
from pipeline_steps.registry import tracking, versions
from pipeline_steps.runtime import git
from pipeline_steps.runtime.command import Inputs, Report, execute, repository_root
from pipeline_steps.runtime.config import Models
from pipeline_steps.runtime.sections import Seed
from pipeline_steps.runtime.urls import public
from pipeline_steps.shared import Variable

log = logging.getLogger("pipeline")


class RegisterInputs(Inputs):
    """The model, the files logged with it, and the output."""

    model_dir: Path
    """The refitted model."""

    interactions: Path
    """Histories to serve."""

    selection: Path
    """The choice of `select`."""

    leaderboard: Path
    """All results."""

    html: Path
    """The report."""

    curves: Path
    """Folder of training curves."""

    out: Path
    """JSON to write."""


def run(
    inputs: RegisterInputs,
    *,
    params: Path,
    seed: Seed,
    models: Models,
    register: RegisterConfig,
    recommend: RecommendConfig,
) -> Report:
    """Log the run; register, unless this very model is registered; then move the alias.

    The same winner may come from another run, whose leaderboard and report are logged too.
    """
    name, identity = register.model_name, fingerprint(inputs.model_dir)
    if recommend.repeats != "never":  # the same model gives other answers
        identity += f"-repeats-{recommend.repeats}"
    tags = _tags(inputs, seed, identity)
    with tracking.tracking(register.experiment) as uri:
        version, made = versions.find_version(name, identity), None
        leaderboard = read_json(inputs.leaderboard)
        files = [inputs.leaderboard, inputs.html, inputs.selection, params, Path("dvc.lock")]
        logged = [path for path in files if path.is_file()]
        run_id = tracking.log_run(leaderboard, inputs.curves, tags, logged)
        if version is None:
            code = Path(models[tags["model"]].code)
            made = _register(inputs, name, run_id, tags, code=code, repeats=recommend.repeats)
            version = versions.keep_first(name, identity, made)
        number = version.number
        if number != made:
            log.info("%s version %s holds this model already", name, number)
        alias = _allowed_alias(register, number)
        versions.move_alias(name, alias, number)
    log.info("%s version %s is now %s", name, number, alias)
    registration = {"name": name, "version": number, "alias": alias}
    where = {"run_id": version.run_id, "tracking_uri": public(uri)}
    # of the winner's validation metrics; empty if it had one seed
    seed_sd = leaderboard["models"][leaderboard["selected"]]["sd"]["validation"]
    write_json(inputs.out, {**registration, "seed_sd": seed_sd, **where})
    return registration


def _allowed_alias(config: RegisterConfig, number: str) -> str:
    """The configured alias; `challenger` where the champion was promoted."""
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


def _tags(inputs: RegisterInputs, seed: int, identity: str) -> dict[str, str]:
    """Tags that identify the version's data, parameters and code."""
    description, selection = read_description(inputs.model_dir), read_json(inputs.selection)
    window, lock = description["training_window"], Path("dvc.lock")
    return {
        "model_fingerprint": identity,
        "kind": description["config"]["kind"],
        "model": selection["model"],
        "vocabulary": description["vocabulary"],
        "data_first": window["first"],
        "data_last": window["last"],
        "seed": str(seed),
        "commit": git.describe(repository_root()),
        "dvc_lock_sha256": sha256_file(lock) if lock.is_file() else "none",
        **({"run": os.environ[Variable.RUN]} if Variable.RUN in os.environ else {}),
    }


def _register(
    inputs: RegisterInputs,
    name: str,
    run_id: str,
    tags: dict[str, str],
    *,
    code: Path,
    repeats: Repeats,
) -> str:
    items = read_items(inputs.interactions / "items.parquet")
    library = repository_root() / "diffrec_core"
    own = (repository_root() / code).resolve()
    return tracking.register_model(
        run_id,
        name,
        model=inputs.model_dir,
        interactions=inputs.interactions,
        repeats=repeats,
        code=[library] if own.is_relative_to(library) else [library, own],
        tags=tags,
        example=pd.DataFrame({"items": [[items.ids[0]]]}),  # of nobody: it is kept and shown
    )


if __name__ == "__main__":
    execute(run)
