"""What DiffRec's training does with its options: optimisers, loss weights, validation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import TrainingData
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.model import DiffRec
from diffrec_core.models.diffrec.network import DiffRecNetwork
from diffrec_core.models.diffrec.program import DiffRecProgram
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport

USERS, ITEMS = 30, 60
CLUSTERS = np.arange(ITEMS) % 3
SMALL: dict[str, Any] = {"hidden_dims": (4,), "encoder_dims": (6,), "steps": 3}
Parameters = dict[str, Tensor]


def histories(seed: int, length: int) -> Histories:
    rng = np.random.default_rng(seed)
    return Histories.from_lists([rng.permutation(ITEMS)[:length].tolist() for _ in range(USERS)])


def program(**changes: Any) -> DiffRecProgram:
    """L-DiffRec in training: it has both optimisers, and both parts of the loss."""
    config = DiffRecConfig(latent=True, **{**SMALL, "batch_size": USERS, **changes})
    with torch_seed(1, "network"):
        network = DiffRecNetwork(config, ITEMS, CLUSTERS)
    known = histories(2, 8)
    rows = SparseRows.from_histories(known, known.weights, ITEMS, torch.device("cpu"))
    return DiffRecProgram(network, rows, config, seed=3, validation=lambda: None)


def one_step(**changes: Any) -> tuple[Parameters, Parameters]:
    """Parameters before and after the first step, which has all users."""
    training = program(**changes)
    named = dict(training.network.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    with torch_seed(3, "epoch"):
        training.train_epoch(Epoch(1, seed=3))
    return before, {name: parameter.detach() for name, parameter in named.items()}


RATES = {"denoiser": 0.01, "vae": 0.0003}


@pytest.mark.parametrize("rates", [RATES, {"denoiser": 0.001, "vae": 0.001}])
def test_denoiser_and_autoencoder_have_learning_rates_of_their_own(rates: dict[str, float]) -> None:
    """AdamW's first step is ± the learning rate wherever there is a gradient."""
    before, after = one_step(learning_rate=rates["denoiser"], vae_learning_rate=rates["vae"])
    for name in before:
        rate = rates[name.partition(".")[0]]
        step = float((after[name] - before[name]).abs().max())
        assert step == pytest.approx(rate, rel=1e-2), name


def test_weight_decay_shrinks_the_weights_of_both() -> None:
    """Decoupled from the gradient: a step takes learning rate · decay of every weight."""
    options = {"learning_rate": RATES["denoiser"], "vae_learning_rate": RATES["vae"]}
    (before, plain), (_, decayed) = one_step(**options), one_step(**options, weight_decay=20.0)
    for name in before:
        lost = 20.0 * RATES[name.partition(".")[0]] * before[name]
        assert lost.any() or not before[name].any(), name
        torch.testing.assert_close(plain[name] - decayed[name], lost, rtol=1e-3, atol=1e-6)


def loss_weights(epochs: int, **changes: Any) -> list[tuple[float, float]]:
    """λ and γ of each step, as the loss is told."""
    training, told = program(**changes), []
    losses = training.network.losses

    def listen(rows: SparseRows, **options: Any) -> Tensor:
        told.append((options["diffusion_weight"], options["kl_weight"]))
        return losses(rows, **options)

    training.network.losses = listen  # type: ignore[method-assign]
    for epoch in range(1, epochs + 1):
        training.train_epoch(Epoch(epoch, seed=3))
    return told


@pytest.mark.parametrize(
    ("floor", "anneal_epochs", "expected"),
    [
        (0.1, 4, [0.5, 0.375, 0.25, 0.125, 0.1, 0.1]),
        (0.0, 4, [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]),
        (0.1, 0, [0.5] * 6),
        (0.9, 0, [0.9] * 6),
    ],
)
def test_the_diffusion_loss_weight_falls_with_the_epochs_to_its_floor(
    floor: float, anneal_epochs: int, expected: list[float]
) -> None:
    told = loss_weights(
        6,
        diffusion_loss_weight=0.5,
        diffusion_loss_weight_floor=floor,
        diffusion_loss_weight_anneal_epochs=anneal_epochs,
    )
    assert [weight for weight, _ in told] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("anneal_steps", "expected"),
    [(6, [0.0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 0.7, 0.7, 0.7, 0.7]), (0, [0.7] * 9)],
)
def test_the_divergence_s_weight_rises_with_the_batches_of_all_epochs(
    anneal_steps: int, expected: list[float]
) -> None:
    told = loss_weights(
        3, batch_size=USERS // 3 + 1, kl_weight_max=0.7, kl_weight_anneal_steps=anneal_steps
    )
    assert [weight for _, weight in told] == pytest.approx(expected)


def fitted(**changes: Any) -> tuple[DiffRec, TrainingReport, list[int]]:
    """A model, its report, and how many users were scored at a time in validation."""
    model, sizes = DiffRec(DiffRecConfig(**{**SMALL, "batch_size": 10, **changes})), []
    score = model.score

    def listen(batch: Histories) -> Tensor:
        sizes.append(len(batch))
        return score(batch)

    model.score = listen  # type: ignore[method-assign]
    task = RankingTask("validation", histories(2, 8), histories(5, 3))
    items = Vocabulary(tuple(map(str, range(ITEMS))))
    data = TrainingData(histories=task.histories, items=items, validation=task)
    return model, model.fit(data, TrainingOptions(seed=3)), sizes


def test_the_batch_size_of_validation_changes_no_result() -> None:
    options = {"epochs": 6, "validate_every_epochs": 2, "learning_rate": 0.01}
    (small, first, few), (large, second, many) = (
        fitted(**options, score_batch_size=n) for n in (7, 1024)
    )
    assert (few, many) == ([7, 7, 7, 7, 2] * 3, [USERS] * 3)
    curves = [first.history, second.history]
    assert curves[0] == curves[1]
    assert len({record["validation"] for record in curves[0] if "validation" in record}) > 1
    networks = [model.network.state_dict() for model in (small, large)]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
