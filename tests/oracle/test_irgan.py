"""IRGAN: distributions by loops, and the policy gradient against the exact one by enumeration."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.models.irgan import program as programs
from diffrec_core.models.irgan.config import IrganConfig
from diffrec_core.models.irgan.discriminator import (
    Discriminator,
    advantages,
    discriminator_loss,
    likelihood_loss,
    policy_loss,
    reward,
)
from diffrec_core.models.irgan.generator import Generator, draw, draw_own
from diffrec_core.models.irgan.program import Game, IrganProgram
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.seeding import torch_seed

N_ITEMS, DIM = 6, 3
USERS = [[0, 2], [5], [1, 3, 4]]
ROWS = SparseRows.from_histories(
    Histories.from_lists(USERS),
    np.array([1.0, 0.5, 2.0, 0.3, 0.0, 0.4], np.float32),
    N_ITEMS,
    torch.device("cpu"),
)


@pytest.fixture
def generator() -> Generator:
    with torch_seed(1, "irgan"):
        result = Generator(N_ITEMS, DIM, dropout=0.5)
        with torch.no_grad():
            result.bias.normal_()
    return result.eval()


def log_probability(generator: Generator) -> Tensor:
    result: Tensor = generator(ROWS).log_softmax(dim=1)
    return result


def test_scores_are_weighted_sums_over_the_history(generator: Generator) -> None:
    scores = generator(ROWS).detach()
    history, items, bias = (
        t.detach().double().numpy() for t in (generator.history, generator.items, generator.bias)
    )
    weights = ROWS.weights.double().numpy()
    for row, own in enumerate(USERS):
        w = weights[ROWS.offsets[row] : ROWS.offsets[row + 1]]
        user = sum(a * history[item] for a, item in zip(w, own, strict=True)) / np.linalg.norm(w)
        expected = [user @ items[item] + bias[item] for item in range(N_ITEMS)]
        np.testing.assert_allclose(scores[row], expected, rtol=1e-4, atol=1e-5)


def test_a_history_without_weight_gives_the_bias(generator: Generator) -> None:
    rows = SparseRows(torch.tensor([0, 2]), torch.tensor([1, 2]), torch.zeros(2), N_ITEMS)
    torch.testing.assert_close(generator(rows)[0], generator.bias)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_draws_have_their_frequencies_and_ratios(generator: Generator, share: float) -> None:
    count = 40_000
    p = log_probability(generator).exp().detach()
    with torch_seed(2, "draw"):
        drawn = draw(p, ROWS, count, share)
        own = draw_own(ROWS, count)
    for row, items in enumerate(USERS):
        q = torch.tensor([float(item in items) / len(items) for item in range(N_ITEMS)])
        mixed = (1 - share) * p[row] + share * q
        for sample, expected in ((drawn.items, mixed), (drawn.fakes, p[row]), (own, q)):
            frequency = sample[row].bincount(minlength=N_ITEMS) / count
            torch.testing.assert_close(frequency, expected, rtol=0.0, atol=0.015)
        torch.testing.assert_close(drawn.ratios[row], (p[row] / mixed)[drawn.items[row]])


@pytest.mark.parametrize("kind", ["log", "sigmoid"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_policy_gradient_is_that_of_the_expected_reward(
    generator: Generator, kind: Any, share: float
) -> None:
    """The mean of many estimates against d/dθ Σ_d p(d) r(d), all items enumerated."""
    with torch_seed(3, "rewards"):
        f_BI = torch.randn(len(USERS), N_ITEMS) * 2.0
    rewards_BI = reward(f_BI, kind)
    (-(log_probability(generator).exp() * rewards_BI).sum()).backward()
    exact = {name: p.grad.clone() for name, p in generator.named_parameters() if p.grad is not None}
    estimates, repeats = [], 4000
    log_p = log_probability(generator)
    leaf = log_p.detach().requires_grad_()  # many estimates for the price of one pass
    with torch_seed(4, "draws"):
        for _ in range(repeats // 40):
            repeated = SparseRows(
                torch.cat([ROWS.offsets[:-1] + 6 * n for n in range(40)] + [torch.tensor([240])]),
                ROWS.items.repeat(40),
                ROWS.weights.repeat(40),
                N_ITEMS,
            )
            p = leaf.detach().exp().repeat(40, 1)
            drawn = draw(p, repeated, 5, share)
            gained = rewards_BI.repeat(40, 1).gather(1, drawn.items)
            estimates.append(policy_loss(leaf.repeat(40, 1), drawn.items, drawn.ratios, gained))
    (torch.stack(estimates).sum() / repeats).backward()
    generator.zero_grad()
    log_p.backward(leaf.grad)
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None
        scale = float(exact[name].abs().max())
        torch.testing.assert_close(parameter.grad, exact[name], rtol=0.0, atol=0.08 * scale)


def test_the_baseline_is_what_the_other_draws_got() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    ratios = torch.tensor([[1.0, 0.5, 2.0]])
    expected = [[1.0 - (1.0 + 8.0) / 2, 2.0 - (1.0 + 8.0) / 2, 4.0 - (1.0 + 1.0) / 2]]
    assert advantages(rewards, ratios).tolist() == expected
    assert advantages(rewards[:, :1], ratios[:, :1]).tolist() == [[1.0]]


def test_rewards_and_losses_by_hand(generator: Generator) -> None:
    f = torch.tensor([[0.0, 2.0], [-1.0, 0.5]])
    np.testing.assert_allclose(reward(f, "log"), np.log1p(np.exp(f.numpy())), rtol=1e-6)
    np.testing.assert_allclose(
        reward(f, "sigmoid"), 2 / (1 + np.exp(-f.numpy())) - 1, rtol=1e-5, atol=1e-7
    )
    fake = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    own_part = np.log1p(np.exp(-f.numpy())).mean(axis=1).sum()
    fake_part = np.log1p(np.exp(fake.numpy())).mean(axis=1).sum()
    assert float(discriminator_loss(f, fake)) == pytest.approx(own_part + fake_part, rel=1e-6)
    log_p = log_probability(generator).detach()
    expected = -sum(np.mean([float(log_p[u, item]) for item in own]) for u, own in enumerate(USERS))
    assert float(likelihood_loss(log_p, ROWS)) == pytest.approx(expected, rel=1e-5)


def test_the_discriminator_is_a_factorisation() -> None:
    with torch_seed(5, "discriminator"):
        it = Discriminator(4, N_ITEMS, DIM)
        with torch.no_grad():
            it.bias.normal_()
    users, items = torch.tensor([3, 0]), torch.tensor([[0, 5, 5], [2, 1, 4]])
    f = it(users, items).detach()
    for row, user in enumerate(users):
        for place, item in enumerate(items[row]):
            expected = float((it.users[user] @ it.items[item] + it.bias[item]).detach())
            assert float(f[row, place]) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def game(**options: Any) -> IrganProgram:
    config = IrganConfig(samples=3, dropout=0.0, learning_rate=0.01, **options)
    with torch_seed(6, "game"):
        players = Game(Generator(N_ITEMS, DIM, 0.0), Discriminator(3, N_ITEMS, 2))
    return IrganProgram(players, ROWS, config, seed=1, validation=lambda: None)


def test_chunks_of_users_add_up_to_the_gradient_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pre-training the generator's part draws nothing, so that it must be the same."""
    gradients, losses = [], []
    for entries in (1, 1 << 20):
        monkeypatch.setattr(programs, "CHUNK_ENTRIES", entries)
        it, epoch = game(), Epoch(1)
        losses.append(it._backward(np.arange(3), epoch))
        gradients.append(it.network.generator.history.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    expected = game()
    loss = likelihood_loss(expected.network.generator(ROWS).log_softmax(dim=1), ROWS) / 3
    loss.backward()
    torch.testing.assert_close(gradients[0], expected.network.generator.history.grad)


def test_each_player_learns_from_its_own_loss_alone() -> None:
    """The discriminator's gradient is the same whatever the generator does with its rewards."""
    found = []
    for pretrain_epochs in (0, 5):
        it, epoch = game(pretrain_epochs=pretrain_epochs), Epoch(1)
        with torch_seed(7, "step"):
            it._backward(np.arange(3), epoch)
        found.append((it.network.discriminator.users.grad, it.network.generator.items.grad))
    (first_d, first_g), (second_d, second_g) = found
    torch.testing.assert_close(first_d, second_d)
    assert first_d is not None and first_d.abs().max() > 0
    assert not torch.allclose(first_g, second_g)  # type: ignore[arg-type]


def test_the_share_of_own_items_reaches_the_draws() -> None:
    """Only then can the generator be graded for items that it would never draw."""
    gradients = []
    for share in (0.0, 0.9):
        it, epoch = game(pretrain_epochs=0, positive_share=share), Epoch(1)
        with torch_seed(8, "step"):
            it._backward(np.arange(3), epoch)
        gradients.append(it.network.generator.items.grad)
    assert not torch.allclose(*gradients)


def test_users_without_items_are_left_out() -> None:
    histories = Histories.from_lists([[0], [], [1]])
    rows = SparseRows.from_histories(histories, histories.weights, N_ITEMS, torch.device("cpu"))
    players = Game(Generator(N_ITEMS, DIM, 0.0), Discriminator(3, N_ITEMS, 2))
    it = IrganProgram(players, rows, IrganConfig(), seed=1, validation=lambda: None)
    assert it.users.tolist() == [0, 2]
