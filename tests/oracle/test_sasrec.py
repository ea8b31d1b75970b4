"""SASRec's forward pass and losses against loops over entries, without padding or batches."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import log_softmax

from diffrec_core.common.rng import generator
from diffrec_core.data.histories import Histories
from diffrec_core.models.sasrec import losses
from diffrec_core.models.sasrec.config import SasRecConfig
from diffrec_core.models.sasrec.model import SasRec
from diffrec_core.models.sasrec.network import SasRecNetwork
from diffrec_core.models.sasrec.program import SasRecProgram
from diffrec_core.models.sasrec.windows import Padded, cut, newest
from diffrec_core.nn.denoising import DenoisingConfig, reweighing
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.seeding import torch_seed

Array = NDArray[np.float64]
N_ITEMS, DIM, MAX_LENGTH = 9, 4, 5
USERS = [[3, 1, 4, 1, 5], [2], [8, 0, 7]]


def network(heads: int = 2, blocks: int = 2) -> SasRecNetwork:
    """With all parameters random, biases and norms too."""
    with torch_seed(1, "sasrec"):
        result = SasRecNetwork(
            N_ITEMS, max_length=MAX_LENGTH, dim=DIM, blocks=blocks, heads=heads, dropout=0.3
        )
        with torch.no_grad():
            for parameter in result.parameters():
                parameter.copy_(torch.randn(parameter.shape))
    return result.eval()


def expected_states(
    net: SasRecNetwork, items: list[int], weights: list[float], heads: int
) -> Array:
    """(n, D) of one history, entry by entry, in float64."""
    p = {name: t.detach().double().numpy() for name, t in net.named_parameters()}
    n = len(items)
    x = [
        p["items"][item] * np.sqrt(DIM) + p["positions"][MAX_LENGTH - n + place]
        for place, item in enumerate(items)
    ]
    for block in range(len(net.blocks)):
        prefix = f"blocks.{block}."
        q = {name.removeprefix(prefix): t for name, t in p.items() if name.startswith(prefix)}
        normed = [normalised(v, q["attention_norm.weight"], q["attention_norm.bias"]) for v in x]
        x = [
            x[i] + q["mix.weight"] @ attended(normed, weights, i, q, heads) + q["mix.bias"]
            for i in range(n)
        ]
        for i in range(n):
            y = normalised(x[i], q["norm.weight"], q["norm.bias"])
            inner = np.maximum(q["inner.weight"] @ y + q["inner.bias"], 0.0)
            x[i] = x[i] + q["outer.weight"] @ inner + q["outer.bias"]
    return np.array([normalised(v, p["norm.weight"], p["norm.bias"]) for v in x])


def normalised(v: Array, scale: Array, shift: Array) -> Array:
    result: Array = (v - v.mean()) / np.sqrt(v.var() + 1e-5) * scale + shift
    return result


def attended(
    x: list[Array], weights: list[float], i: int, q: dict[str, Array], heads: int
) -> Array:
    """What entry i takes from those up to itself."""
    to_query, to_key, to_value = np.split(q["projections.weight"], 3)
    width = DIM // heads
    parts = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        query = (to_query @ x[i])[part]
        share = [
            weights[j] * np.exp(query @ (to_key @ x[j])[part] / np.sqrt(width))
            for j in range(i + 1)
        ]
        values = [(to_value @ x[j])[part] for j in range(i + 1)]
        parts.append(sum(s * v for s, v in zip(share, values, strict=True)) / sum(share))
    return np.concatenate(parts)


@pytest.mark.parametrize("heads", [1, 2])
def test_every_entry_is_what_its_own_history_alone_gives(heads: int) -> None:
    """A batch of different lengths: neither padding nor later entries are seen."""
    net, histories = network(heads), Histories.from_lists(USERS)
    weights = np.linspace(0.2, 2.0, len(histories.items)).astype(np.float32)
    batch = Padded.from_histories(histories, weights, torch.device("cpu"))
    states = net(batch).detach()
    assert torch.isfinite(states).all()
    for row, items in enumerate(USERS):
        first, last = histories.offsets[row : row + 2]
        expected = expected_states(net, items, weights[first:last].tolist(), heads)
        np.testing.assert_allclose(states[row, -len(items) :], expected, rtol=1e-3, atol=1e-4)


def test_an_entry_without_weight_changes_nothing() -> None:
    net = network()

    def last(items: list[int], weights: list[float]) -> torch.Tensor:
        histories = Histories.from_lists([items])
        shown = np.array(weights, np.float32)
        result: torch.Tensor = net(Padded.from_histories(histories, shown, torch.device("cpu")))
        return result[0, -1]

    torch.testing.assert_close(last([6, 3, 1], [0.0, 1.0, 2.0]), last([3, 1], [1.0, 2.0]))
    assert torch.isfinite(last([6, 3], [0.0, 0.0])).all()


def test_windows_cover_every_step_once() -> None:
    rows = [list(range(10, 18)), [1], [], [5, 6], [7, 8, 9, 7]]
    windows = cut(Histories.from_lists(rows), 3)
    found = [windows.take(np.array([row])).items.tolist() for row in range(len(windows))]
    assert found == [[10, 11], [11, 12, 13, 14], [14, 15, 16, 17], [5, 6], [7, 8, 9, 7]]
    steps = [step for window in found for step in pairwise(window)]
    assert steps == [step for row in rows for step in pairwise(row)]
    assert newest(Histories.from_lists(rows), 3).items.tolist() == [15, 16, 17, 1, 5, 6, 8, 9, 7]


@pytest.mark.parametrize("chunk", [1, 20, 1 << 22])
def test_the_softmax_loss_and_its_gradient_are_those_of_autograd(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_CHUNK_ENTRIES", chunk)
    with torch_seed(2, "loss"):
        hidden, items = torch.randn(7, DIM).double(), torch.randn(N_ITEMS, DIM).double()
    targets = torch.tensor([0, 8, 3, 3, 1, 5, 0])
    mine = [hidden.clone().requires_grad_(), items.clone().requires_grad_()]
    theirs = [hidden.clone().requires_grad_(), items.clone().requires_grad_()]
    loss = losses.softmax_loss(*mine, targets)
    expected = -log_softmax(theirs[0] @ theirs[1].T, dim=1)[range(7), targets].sum()
    torch.testing.assert_close(loss, expected)
    (loss * 0.3).backward()
    (expected * 0.3).backward()
    for left, right in zip(mine, theirs, strict=True):
        torch.testing.assert_close(left.grad, right.grad)


@pytest.mark.parametrize("chunk", [4, 1 << 22])
def test_the_sampled_softmax_is_the_whole_one_if_all_others_are_the_sample(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each item once in the sample: the target itself drops out, and I - 1 others are left."""
    monkeypatch.setattr(losses, "_CHUNK_ENTRIES", chunk)
    with torch_seed(3, "loss"):
        hidden, items = torch.randn(5, DIM).double(), torch.randn(N_ITEMS, DIM).double()
    targets = torch.full((5,), 4)
    everything = losses.softmax_loss(hidden, items, targets)
    others = torch.tensor([item for item in range(N_ITEMS) if item != 4])
    sampled = losses.sampled_softmax_loss(hidden, items, targets, others)
    torch.testing.assert_close(sampled, everything)
    twice = losses.sampled_softmax_loss(hidden, items, targets, others.repeat(2))
    torch.testing.assert_close(twice, everything)
    own = losses.sampled_softmax_loss(hidden, items, targets, torch.tensor([4, 4]))
    torch.testing.assert_close(own, torch.zeros_like(own))


def test_the_binary_loss_by_hand() -> None:
    scores = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -3.0]])

    def log_sigmoid(x: float) -> float:
        return float(-np.log1p(np.exp(-x)))

    expected = -sum(
        log_sigmoid(row[0]) + sum(log_sigmoid(-s) for s in row[1:]) for row in scores.tolist()
    )
    assert float(losses.binary_loss(scores)) == pytest.approx(expected, rel=1e-6)


def test_the_binary_loss_weighs_positives_alone_by_hand() -> None:
    scores = torch.tensor([[2.0, -1.0, 0.5], [-1.0, 3.0, -3.0]], dtype=torch.float64)
    scores.requires_grad_()
    reweigh = reweighing(DenoisingConfig(kind="reweighted", exponent=0.7), step=0)
    loss = losses.binary_loss(scores, reweigh)
    loss.backward()
    values = scores.detach().numpy()
    probability = 1 / (1 + np.exp(-values))
    weights = probability[:, 0] ** 0.7  # p^β, constants to the gradient
    expected = -(weights * np.log(probability[:, 0])).sum()
    expected -= np.log(1 - probability[:, 1:]).sum()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-9)
    gradient = probability.copy()
    gradient[:, 0] = -weights * (1 - probability[:, 0])
    assert scores.grad is not None
    np.testing.assert_allclose(scores.grad.numpy(), gradient, rtol=1e-9)


def program(**options: Any) -> SasRecProgram:
    config = SasRecConfig(max_length=3, dropout=0.0, batch_size=8, **options)
    with torch_seed(4, "sasrec"):
        net = SasRecNetwork(N_ITEMS, max_length=3, dim=DIM, blocks=1, heads=1, dropout=0.0)
    return SasRecProgram(
        net,
        Histories.from_lists(USERS),
        config,
        weights=lambda windows: windows.weights,
        seed=5,
        validation=lambda: None,
    )


@pytest.mark.parametrize(
    ("loss", "negatives"), [("softmax", None), ("softmax", 6), ("bce", None), ("bce", 3)]
)
def test_a_batch_has_the_mean_loss_of_its_entries(loss: Any, negatives: int | None) -> None:
    """However it is shared: windows have different lengths, and each entry weighs the same."""
    it = program(loss=loss, negatives=negatives)
    rows = np.arange(len(it.rows))
    whole = sum(float(loss.detach()) for loss in it.losses(rows, Epoch(1)))
    states, targets, users = [], [], []
    for row, window in enumerate([[3, 1], [1, 4, 1, 5], [8, 0, 7]]):
        assert it.rows.take(np.array([row])).items.tolist() == window
        part = Histories.from_lists([window[:-1]])
        states.append(it.network(Padded.from_histories(part, part.weights, it.device))[0].detach())
        targets += window[1:]
        users += [0 if row < 2 else 2] * len(window[1:])
    scores = (torch.cat(states) @ it.network.items.detach().T).double().numpy()
    rng = generator(5, "negatives", 1, 0)
    values = []
    for n, target in enumerate(targets):
        if loss == "softmax" and negatives is None:
            values.append(np.log(np.exp(scores[n]).sum()) - scores[n, target])
    if loss == "softmax" and negatives:
        drawn = rng.integers(N_ITEMS, size=negatives)
        for n, target in enumerate(targets):
            others = sum(np.exp(scores[n, j]) for j in drawn if j != target)
            total = np.exp(scores[n, target]) + others * (N_ITEMS - 1) / negatives
            values.append(np.log(total) - scores[n, target])
    if loss == "bce":
        drawn = it.sampler.draw(np.array(users), negatives or 1, rng)
        for n, target in enumerate(targets):
            assert not set(drawn[n].tolist()) & set(USERS[users[n]])
            terms = [-scores[n, target], *scores[n, drawn[n]]]
            values.append(sum(np.log1p(np.exp(z)) for z in terms))
    assert whole == pytest.approx(np.mean(values), rel=1e-4)


def test_too_long_histories_are_read_from_their_end() -> None:
    model = SasRec(SasRecConfig(max_length=3, embedding_dim=DIM))
    model.network = model._network(N_ITEMS)
    long, short = Histories.from_lists([[1, 2, 3, 4, 5]]), Histories.from_lists([[3, 4, 5]])
    assert torch.equal(model._score(long), model._score(short))
