"""Steps of an epoch: their seeds, their losses, and going on in the middle."""

import numpy as np
import pytest
import torch

from diffrec_core.diffusion.timestep_sampler import TimestepSampler, TimestepSamplerConfig
from diffrec_core.models.diffrec.program import SharedTimesteps
from diffrec_core.training.distributed import Processes
from diffrec_core.training.epoch import Epoch


def draws(epoch: Epoch, n_steps: int) -> list[float]:
    """One random number of every step."""
    values = []
    for _ in epoch.steps(n_steps):
        epoch.share(10)
        values.append(torch.rand(()).item())
        epoch.average(torch.tensor(values[-1]))
    return values


def test_a_step_draws_the_same_whatever_came_before_it() -> None:
    whole = draws(Epoch(3, seed=1), 4)
    first = Epoch(3, seed=1)
    assert draws(first, 2) == whole[:2]
    rest = Epoch(3, seed=1)
    rest.restore(*map(torch.from_numpy, first.losses()))
    torch.rand(100)
    assert draws(rest, 4) == whole[2:]
    assert rest.losses()[0].tolist() == whole
    assert rest.losses()[1].tolist() == [10] * 4


def test_steps_epochs_seeds_and_processes_draw_differently() -> None:
    values = [
        *draws(Epoch(1, seed=1), 3),
        *draws(Epoch(2, seed=1), 3),
        *draws(Epoch(1, seed=2), 3),
        *(draws_of_second_process := _draws_of_rank(1)),
    ]
    assert len(draws_of_second_process) == 3
    assert len(set(values)) == len(values)


def _draws_of_rank(rank: int) -> list[float]:
    values = []
    epoch = Epoch(1, seed=1, processes=Processes(rank, 2))
    for _ in epoch.steps(3):
        values.append(torch.rand(()).item())
        epoch.restore(torch.zeros(len(values)), torch.ones(len(values)))
    return values


def test_the_hook_runs_after_every_step_when_its_loss_is_known() -> None:
    seen: list[int] = []
    epoch = Epoch(1, after_step=lambda: seen.append(epoch.steps_done))
    draws(epoch, 3)
    assert seen == [1, 2, 3]


def test_a_remembered_loss_does_not_change_when_its_memory_is_used_again() -> None:
    epoch, loss = Epoch(1), torch.tensor(1.0, dtype=torch.float64)
    epoch.share(1)
    epoch.average(loss)
    loss.fill_(2.0)
    assert epoch.losses()[0].tolist() == [1.0]


def test_no_steps_have_no_losses() -> None:
    losses, rows = Epoch(1).losses()
    assert (len(losses), len(rows)) == (0, 0)


def test_timesteps_are_drawn_for_the_whole_batch_alike_in_all_processes() -> None:
    def drawn(rank: int, count: int) -> tuple[list[int], float]:
        sampler = TimestepSampler(1000, TimestepSamplerConfig())
        epoch = Epoch(1, seed=1, processes=Processes(rank, count))
        next(epoch.steps(1))
        epoch.share(7)
        t, importance = SharedTimesteps(epoch, sampler).sample(7 if count == 1 else 3 + rank)
        assert importance.tolist() == [1.0] * len(t)
        return t.tolist(), torch.rand(()).item()

    whole, first, second = drawn(0, 1), drawn(0, 2), drawn(1, 2)
    assert first[0] + second[0] == whole[0]
    assert len(set(whole[0])) == 7
    assert first[1] != second[1]  # what is drawn next, noise, is each process's own


def test_a_single_process_remembers_its_losses() -> None:
    sampler = TimestepSampler(2, TimestepSamplerConfig(loss_history_length=1))
    epoch = Epoch(1, seed=1)
    next(epoch.steps(1))
    epoch.share(4)
    timesteps = SharedTimesteps(epoch, sampler)
    t, _ = timesteps.sample(4)
    timesteps.update(t, torch.arange(4.0))
    expected = [max((n for n in range(4) if t[n] == step), default=0) for step in range(2)]
    assert sampler.loss_history[:, 0].tolist() == expected
    np.testing.assert_array_equal(sampler.loss_count, torch.bincount(t, minlength=2))


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("n_rows", [1, 2, 5, 400])
def test_shares_cover_a_batch_once(n_rows: int, count: int) -> None:
    shares = [Processes(rank, count).share(n_rows) for rank in range(count)]
    rows = [row for s in shares if s.weight for row in range(n_rows)[s.part]]
    assert rows == list(range(n_rows))
    assert sum(share.weight for share in shares) == pytest.approx(1.0)
    for share in shares:
        computed = len(range(n_rows)[share.part])
        assert computed >= 1
        assert share.weight in (0.0, pytest.approx(computed / n_rows))
    sizes = [share.weight * n_rows for share in shares]
    assert max(sizes) - min(sizes) <= 1 + 1e-9
