"""Two processes started by torchrun train what one process trains, and one of them writes.

Without noise and dropout a training is a function of its data and timesteps, and the losses of
two processes are those of one up to the rounding of sums: 1e-5 of their size is allowed, and
1e-7 is what is found. With noise each process draws its own: single losses differ by chance, and
their mean over the 30 epochs by 2 % at most.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from tests.integration.small_steps import SECTIONS, Workplace

pytestmark = pytest.mark.integration

TORCHRUN = [str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node=2"]
WITHOUT_NOISE = """
import runpy, torch
torch.randn_like = torch.zeros_like
runpy.run_module("pipeline_steps.train", run_name="__main__", alter_sys=True)
"""
NewWorkplace = Callable[..., Workplace]


@pytest.fixture(scope="module")
def new_workplace(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> NewWorkplace:
    """Makes folders that share prepared data; changes of a model's section may be given."""

    def make(model: str, **changes: object) -> Workplace:
        root = tmp_path_factory.mktemp("work")
        section = {**SECTIONS["train"][model], **changes}
        return Workplace.make(root, prepared, train={model: section})

    return make


@pytest.mark.parametrize("model", ["diffrec", "l_diffrec", "lightgcn"])
def test_without_noise_losses_and_validations_are_those_of_one_process(
    new_workplace: NewWorkplace, model: str
) -> None:
    # of 100 users, or 600 interactions, the last batch is a single one, for two processes
    changes = {"dropout": 0.0, "vae_dropout": 0.0, "batch_size": 33, "loss_history_length": 2}
    if model == "lightgcn":
        changes = {"batch_size": 599}
    curves = []
    for start in ([sys.executable], TORCHRUN):
        workplace = new_workplace(model, epochs=8, **changes)
        script = workplace.root / "without_noise.py"
        script.write_text(WITHOUT_NOISE)
        result = workplace.run(*start, str(script), *workplace.arguments(model)[2:])
        assert result.returncode == 0, result.stderr
        curves.append(_curves(workplace, model))
    one, two = curves
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert len(one["loss"]) == 8 and one["loss"][-1] < one["loss"][0]
    assert two["validation"] == pytest.approx(one["validation"], abs=0.011)  # one user of 100


@pytest.mark.parametrize(("model", "victim"), [("diffrec", "process"), ("l_diffrec", "torchrun")])
def test_with_noise_losses_agree_and_a_kill_costs_nothing(
    new_workplace: NewWorkplace, model: str, victim: str
) -> None:
    one, two, killed = (new_workplace(model) for _ in range(3))
    assert one.train(model).returncode == 0
    result = two.run(*TORCHRUN, *two.arguments(model))
    assert result.returncode == 0, result.stderr
    losses = [_curves(workplace, model)["loss"] for workplace in (one, two)]
    assert fmean(losses[1]) == pytest.approx(fmean(losses[0]), rel=0.02)
    assert result.stderr.count("done after 30 epochs") == 1  # the first process alone speaks

    _kill(killed, model, victim)
    assert not killed.weights(model).exists()
    resumed = killed.run(*TORCHRUN, *killed.arguments(model))
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed" in resumed.stderr
    assert killed.weights(model).read_bytes() == two.weights(model).read_bytes()
    assert killed.curves(model).read_bytes() == two.curves(model).read_bytes()


def _curves(workplace: Workplace, model: str) -> dict[str, list[float]]:
    with workplace.curves(model).open(newline="") as file:
        records = list(csv.DictReader(file))
    return {name: [float(r[name]) for r in records if r[name]] for name in ("loss", "validation")}


def _kill(workplace: Workplace, model: str, victim: str) -> None:
    """Start two processes; kill the second one, or torchrun, in the middle: all of them end."""
    with subprocess.Popen(
        [*TORCHRUN, *workplace.arguments(model)],
        cwd=workplace.root,
        env=workplace.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as torchrun:
        while not workplace.checkpoint(model).exists():
            assert torchrun.poll() is None, "the training ended before it could be killed"
            time.sleep(0.002)
        processes = _processes(torchrun.pid)
        os.kill(torchrun.pid if victim == "torchrun" else processes[1], signal.SIGKILL)
    assert torchrun.returncode != 0
    while any(map(_runs, processes)):
        time.sleep(0.01)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2]
    except FileNotFoundError:
        return False
    return not state.startswith("Z")  # a dead one that nobody has asked about yet


def _processes(torchrun: int) -> list[int]:
    """The processes that a torchrun has started, by rank."""
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    by_rank = {}
    for child in map(int, children):
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks = [v for v in variables if v.startswith(b"RANK=")]
        by_rank |= {int(rank.removeprefix(b"RANK=")): child for rank in ranks}
    return [by_rank[rank] for rank in sorted(by_rank)]
