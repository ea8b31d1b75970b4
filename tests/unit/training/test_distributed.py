"""What two processes compute together is what one would have computed, by hand."""

import json
import os
import signal
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from diffrec_core.common.errors import ArtifactError
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from diffrec_core.training.checkpoint import load_checkpoint
from diffrec_core.training.distributed import Processes
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.trainer import TrainingConfig, TrainingOptions, train
from tests.planted import N_ITEMS, planted_data

# Python 3.12 and later warn of forks in processes with threads; these children start none
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

COUNT = 2
Work = Callable[[Processes], Any]


def together(folder: Path, work: Work) -> list[Any]:
    """Let two processes do something; return what each of them returned."""
    assert exit_codes(folder, work) == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(COUNT)]


def exit_codes(folder: Path, work: Work) -> list[int]:
    """Let two processes do something, and wait until both have ended; a signal is negative."""
    folder.mkdir(exist_ok=True)
    children = [_start(folder, work, Processes(rank, COUNT)) for rank in range(COUNT)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _start(folder: Path, work: Work, processes: Processes) -> int:
    child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)  # a forked process cannot use its parent's threads
        store = f"file://{folder}/store"
        distributed.init_process_group(
            "gloo", init_method=store, rank=processes.rank, world_size=processes.count
        )
        (folder / f"{processes.rank}.json").write_text(json.dumps(work(processes)))
        distributed.barrier()
        os._exit(0)
    except BaseException:  # whatever it is, this process must end here
        traceback.print_exc()
    finally:
        os._exit(1)


def test_gradients_and_losses_are_averaged_by_the_sizes_of_the_shares(tmp_path: Path) -> None:
    def work(processes: Processes) -> list[Any]:
        small, large, unused = (nn.Parameter(torch.zeros(n)) for n in (2, 6, 1))
        small.grad = torch.tensor([[1.0, 10.0], [5.0, 50.0]][processes.rank])
        large.grad = torch.full((6,), [2.0, 6.0][processes.rank])
        weight = [0.25, 0.75][processes.rank]
        loss = torch.tensor([4.0, 8.0][processes.rank])
        mean = processes.average([small, large, unused], loss, weight)
        gradients = [p.grad.tolist() for p in (small, large, unused) if p.grad is not None]
        return [mean.item(), gradients]

    expected = [7.0, [[4.0, 40.0], [5.0] * 6, [0.0]]]
    assert together(tmp_path, work) == [expected, expected]


def test_the_values_of_a_batch_come_together_in_its_order(tmp_path: Path) -> None:
    def work(processes: Processes) -> list[Any]:
        results = []
        for n_rows in (5, 1):
            share = processes.share(n_rows)
            own = torch.arange(1.0, n_rows + 1, dtype=torch.float64)[share.part]
            results.append(processes.whole(own, n_rows, share).tolist())
        return results

    expected = [[1.0, 2.0, 3.0, 4.0, 5.0], [1.0]]
    assert together(tmp_path, work) == [expected, expected]


class Program:
    """Linear regression; each process starts from other weights and validates its own way."""

    def __init__(self, rank: int) -> None:
        torch.manual_seed(rank)
        self.module: nn.Module = nn.Linear(2, 1)
        self.optimizers = {"all": torch.optim.SGD(self.module.parameters(), lr=0.1)}
        self.rank = rank

    def train_epoch(self, epoch: Epoch) -> None:
        x = torch.arange(14.0).view(7, 2) / 10
        for step in epoch.steps(3):
            rows = x[step : step + 5]
            loss = (self.module(rows[epoch.share(5)]) - 1.0).square().mean()
            self.optimizers["all"].zero_grad()
            loss.backward()
            epoch.average(loss)
            self.optimizers["all"].step()

    def validate(self) -> float | None:
        assert self.rank == 0, "only the first process validates"
        return 0.5


def test_two_processes_train_as_one_does_and_the_first_writes(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=2, validate_every_epochs=1)

    def fit(processes: Processes) -> list[Any]:
        program = Program(processes.rank)
        checkpoint = tmp_path / f"checkpoint {processes.count} {processes.rank}"
        options = TrainingOptions(
            checkpoint=checkpoint, checkpoint_every_seconds=0, processes=processes
        )
        report = train(program, config, options)
        weights = [p.tolist() for p in program.module.parameters()]
        return [weights, list(report.history), checkpoint.exists()]

    alone = fit(Processes())
    first, second = together(tmp_path, fit)
    assert first[:2] == second[:2]
    assert (first[2], second[2]) == (True, False)
    for mine, one in zip(first[1], alone[1], strict=True):
        assert mine == pytest.approx(one, rel=1e-6)
    assert first[0][1] == pytest.approx(alone[0][1], rel=1e-6)
    assert first[0][0][0] == pytest.approx(alone[0][0][0], rel=1e-6)


def test_processes_that_see_different_checkpoints_refuse_to_go_on(tmp_path: Path) -> None:
    def work(processes: Processes) -> str:
        if processes.is_writer:  # it has found one, written after step 1 of epoch 1
            processes.broadcast([torch.tensor([0, 1])])
            return ""
        options = TrainingOptions(checkpoint=tmp_path / "none", processes=processes)
        with pytest.raises(ArtifactError) as caught:
            train(Program(processes.rank), TrainingConfig(epochs=1), options)
        return str(caught.value)

    message = together(tmp_path, work)[1]
    assert message.startswith("process 1 finds another checkpoint in")


class Mortal(Processes):
    """Dies in the middle of its seventh step, if it is the second of the processes."""

    steps = 0

    def average(self, parameters: Iterable[nn.Parameter], loss: Tensor, weight: float) -> Tensor:
        Mortal.steps += 1
        if self.rank == 1 and Mortal.steps == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().average(parameters, loss, weight)


def test_a_kill_costs_lightgcn_nothing(tmp_path: Path) -> None:
    """The tests of torchrun kill the other models so; here no process has to import anything."""
    data, config = planted_data(), LightGCNConfig(embedding_dim=4, batch_size=200, epochs=4)

    def fit(checkpoint: str, kind: type[Processes]) -> Work:
        def work(processes: Processes) -> list[Any]:
            done: list[int] = []
            options = TrainingOptions(
                seed=3,
                advance=lambda epoch, _note: done.append(epoch),
                checkpoint=tmp_path / checkpoint,
                checkpoint_every_seconds=0,
                processes=kind(processes.rank, processes.count),
            )
            items, report = fit_lightgcn(data.histories, N_ITEMS, config, options, None)
            return [done[0], items.read_out.tolist(), list(report.history)]

        return work

    whole = together(tmp_path / "a", fit("whole", Processes))
    assert whole[0] == whole[1]
    assert whole[0][0] == 1
    assert exit_codes(tmp_path / "b", fit("killed", Mortal))[1] == -signal.SIGKILL
    state, _ = load_checkpoint(tmp_path / "killed", "")
    assert state.epoch == 1  # of its second epoch, two of four steps were done
    resumed = together(tmp_path / "c", fit("killed", Processes))
    assert resumed == [[2, *whole[0][1:]]] * COUNT


def test_a_single_process_needs_no_group() -> None:
    layer = nn.Linear(1, 1)
    layer(torch.ones(1, 1)).sum().backward()
    loss = Processes().average(layer.parameters(), torch.tensor(2.0), 1.0)
    Processes().broadcast(layer.parameters())
    assert loss.item() == 2.0
    assert layer.bias.grad is not None and layer.bias.grad.item() == 1.0
