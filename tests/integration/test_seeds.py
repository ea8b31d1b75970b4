"""A model trained with several seeds, and one that does not fit: train, then evaluate."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from diffrec_core.common.artifacts import write_manifest
from diffrec_core.data.schema import CANDIDATE_SCHEMA
from tests.integration.small_steps import SECTIONS, Workplace

pytestmark = pytest.mark.integration

NewWorkplace = Callable[..., Workplace]
EASE = {"train": {"ease": {"kind": "ease"}}, "models": {"ease": {"code": "diffrec_core"}}}


@pytest.fixture(scope="module")
def new_workplace(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> NewWorkplace:
    """Makes folders that share prepared data."""
    return lambda **sections: Workplace.make(tmp_path_factory.mktemp("work"), prepared, **sections)


def evaluate(workplace: Workplace, model: str, candidate: Path) -> dict[str, Any]:
    parts = [f"--{name}={workplace.data / name}" for name in ("train", "validation", "test")]
    command = ("-m", "pipeline_steps.evaluate", "--model-dir", str(candidate), *parts)
    result = workplace.run(sys.executable, *command, "--out", f"evaluation/{model}")
    assert result.returncode == 0, result.stderr
    path = workplace.root / "evaluation" / model / "metrics.json"
    metrics: dict[str, Any] = json.loads(path.read_text())
    return metrics


def test_seeds_differ_and_their_mean_and_spread_are_told(new_workplace: NewWorkplace) -> None:
    one, three = new_workplace(), new_workplace(seeds=3)
    for workplace in (one, three):
        result = workplace.train("diffrec")
        assert result.returncode == 0, result.stderr
    candidate = three.root / "models" / "diffrec"
    weights = [(candidate / f"seed-{n}/weights.safetensors").read_bytes() for n in (1, 2, 3)]
    assert weights[0] == one.weights("diffrec").read_bytes()
    assert len(set(weights)) == 3
    report = json.loads((three.root / "diffrec.json").read_text())
    assert len({seed["seed"] for seed in report["seeds"]}) == 3

    together = evaluate(three, "diffrec", candidate)
    singles = []
    for n in (1, 2, 3):
        alone = three.root / f"only-{n}"
        shutil.copytree(candidate / f"seed-{n}", alone / "seed-1")
        write_manifest(alone, schema=CANDIDATE_SCHEMA, seeds=1)
        singles.append(evaluate(three, f"diffrec-{n}", alone))
    for part in ("validation", "test"):
        values = [single[part]["ndcg@20"] for single in singles]
        assert together[part]["ndcg@20"] == pytest.approx(fmean(values))
        assert together["sd"][part]["ndcg@20"] == pytest.approx(stdev(values))
    assert together["seeds"] == 3
    assert singles[0]["sd"] == {"validation": {}, "test": {}}


def test_a_kill_during_the_second_seed_does_not_cost_the_first(
    new_workplace: NewWorkplace,
) -> None:
    whole, killed = new_workplace(seeds=2), new_workplace(seeds=2)
    assert whole.train("diffrec").returncode == 0
    second = killed.root / ".checkpoints/train/diffrec-seed-2/checkpoint.safetensors"
    with subprocess.Popen(
        [sys.executable, *killed.arguments("diffrec")],
        cwd=killed.root,
        env=killed.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not second.exists():
            assert process.poll() is None, "the training ended before it could be killed"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    resumed = killed.train("diffrec")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("resumed") == 2
    for n in (1, 2):
        name = f"models/diffrec/seed-{n}/weights.safetensors"
        assert (killed.root / name).read_bytes() == (whole.root / name).read_bytes()
    assert list((killed.root / ".checkpoints").rglob("*.*")) == []


def test_a_model_without_chance_is_trained_once(new_workplace: NewWorkplace) -> None:
    workplace = new_workplace(**EASE, seeds=3)
    assert workplace.train("ease").returncode == 0
    assert [path.name for path in (workplace.root / "models/ease").glob("*-*")] == ["seed-1"]


LITTLE_MEMORY = {"runtime": {**SECTIONS["runtime"], "memory_limit_gib": 0.1}}
TOO_LARGE = {"timestep_embedding_dim": 20_000}  # squared, 1.6 GB


def test_a_model_above_the_memory_limit_is_left_out_with_the_reason(
    new_workplace: NewWorkplace,
) -> None:
    section = {**SECTIONS["train"]["l_diffrec"], **TOO_LARGE}
    workplace = new_workplace(train={"l_diffrec": section}, **LITTLE_MEMORY)
    result = workplace.train("l_diffrec")
    assert result.returncode == 0, result.stderr
    assert "l_diffrec is left out" in result.stderr
    measured = evaluate(workplace, "l_diffrec", workplace.root / "models" / "l_diffrec")
    assert "diffrec ran out of memory" in measured["left_out"]
    assert "which may take 0.1 GiB" in measured["left_out"]


def test_embeddings_above_the_memory_limit_are_an_error(new_workplace: NewWorkplace) -> None:
    section = {**SECTIONS["pretrain_item_embeddings"], "embedding_dim": 1_000_000}
    workplace = new_workplace(pretrain_item_embeddings=section, **LITTLE_MEMORY)
    paths = [f"--{name}={workplace.data / name}" for name in ("interactions", "train")]
    paths += [f"--validation={workplace.data / 'validation'}", "--out=out", "--curves=curves.csv"]
    result = workplace.run(sys.executable, "-m", "pipeline_steps.pretrain_item_embeddings", *paths)
    assert result.returncode == 6
    assert "pretrain_item_embeddings ran out of memory" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (workplace.root / "out").exists()
