"""The loss terms of autoencoders, against closed forms and loops."""

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.distributions.kl import kl_divergence as closed_form

from diffrec_core.nn.variational import kl_divergence, multinomial_loss, sample_latent
from diffrec_core.training.seeding import torch_seed
from tests.oracle.model_oracles import multinomial, sparse


def latents(seed: int = 3) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(4, 5))), torch.from_numpy(rng.normal(size=(4, 5)))


def test_kl_is_the_closed_form() -> None:
    mean, log_variance = latents()
    own = Normal(mean, (0.5 * log_variance).exp())
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = closed_form(own, standard).sum(dim=1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)


def test_kl_of_the_standard_normal_is_zero() -> None:
    assert kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0.0, 0.0]


def test_multinomial_loss_is_the_loop() -> None:
    rng = np.random.default_rng(4)
    scores, x = rng.normal(size=(3, 6)) * 4, rng.integers(0, 2, size=(3, 6)) * rng.random((3, 6))
    result = multinomial_loss(torch.from_numpy(scores), sparse(x))
    np.testing.assert_allclose(result, multinomial(scores, x), rtol=1e-6)


def test_multinomial_loss_has_the_gradient_of_log_softmax() -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(0, 2, size=(3, 6)) * rng.random((3, 6))
    scores = torch.from_numpy(rng.normal(size=(3, 6)) * 4).requires_grad_()
    of_row = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (multinomial_loss(scores, sparse(x)) * of_row).sum().backward()
    found, scores.grad = scores.grad, None
    (-(torch.log_softmax(scores, 1) * torch.from_numpy(x)).sum(1) * of_row).sum().backward()
    torch.testing.assert_close(found, scores.grad, rtol=1e-6, atol=1e-7)


def test_multinomial_loss_of_coarse_scores_is_computed_in_float32() -> None:
    rng = np.random.default_rng(6)
    x = rng.integers(0, 2, size=(5, 9)) * rng.random((5, 9))
    coarse = torch.from_numpy(rng.normal(size=(5, 9))).to(torch.bfloat16).requires_grad_()
    fine = coarse.detach().to(torch.float32).requires_grad_()
    loss = multinomial_loss(coarse, sparse(x))
    assert torch.equal(loss, multinomial_loss(fine, sparse(x)))
    loss.sum().backward()
    multinomial_loss(fine, sparse(x)).sum().backward()
    assert fine.grad is not None and coarse.grad is not None
    assert torch.equal(coarse.grad, fine.grad.to(torch.bfloat16))


def test_multinomial_loss_survives_large_scores() -> None:
    scores = torch.tensor([[1000.0, 0.0], [-1000.0, 0.0]])
    assert multinomial_loss(scores, sparse(np.ones((2, 2)))).tolist() == [1000.0, 1000.0]


def test_latent_draws_have_mean_and_variance_and_pass_gradients() -> None:
    count = 100_000
    mean = torch.tensor([0.5, -1.0], requires_grad=True)
    log_variance = torch.tensor([0.4, -2.0], requires_grad=True)
    with torch_seed(6, "latent"):
        z = sample_latent(mean.expand(count, 2), log_variance.expand(count, 2))
    variance = log_variance.detach().exp().double().numpy()
    error = 4 * np.sqrt(variance / count)
    assert (np.abs(z.detach().double().mean(0).numpy() - [0.5, -1.0]) < error).all()
    np.testing.assert_allclose(z.detach().double().var(0), variance, rtol=4 * (2 / count) ** 0.5)
    z.square().mean(dim=0).sum().backward()  # d E[z²] = 2 mean and the variance
    np.testing.assert_allclose(mean.grad, [1.0, -2.0], rtol=0.03)
    np.testing.assert_allclose(log_variance.grad, variance, rtol=0.03)
