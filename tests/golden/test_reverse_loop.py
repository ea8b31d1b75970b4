"""The full reverse loop with a deterministic network, pinned for every schedule and target.

The numbers were computed once from the formulas with 40 digits, apart from the code and from the
oracles: the sum of the result and of its absolute values, without and with T' = 3.
"""

import pytest
import torch
from torch import Tensor

from diffrec_core.diffusion.gaussian import DiffusionConfig, GaussianDiffusion

GOLDEN: dict[tuple[str, str, bool], tuple[float, float, float, float]] = {
    ("linear", "x_start", True): (1.6465089, 10.377526, 1.4271294, 10.723008),
    ("linear", "x_start", False): (1.6653305, 10.210092, 1.5099599, 10.536051),
    ("linear", "epsilon", True): (-1.1483446, 1.1483446, -1.1946177, 1.1946177),
    ("linear", "epsilon", False): (-1.0272698, 1.0272698, -1.0700111, 1.0700111),
    ("linear-var", "x_start", True): (1.4172313, 10.175646, 1.2187709, 10.80742),
    ("linear-var", "x_start", False): (1.3384683, 9.8719468, 1.2370205, 10.571908),
    ("linear-var", "epsilon", True): (-1.2640631, 1.4223958, -1.274967, 1.5425627),
    ("linear-var", "epsilon", False): (-1.1327172, 1.2763835, -1.1461383, 1.3896965),
    ("cosine", "x_start", True): (6.6901169, 8.5624476, 5.7790058, 8.6923177),
    ("cosine", "x_start", False): (6.3784334, 7.8201053, 5.6405688, 7.942161),
    ("cosine", "epsilon", True): (-201.41975, 201.41975, -253.74547, 253.74547),
    ("cosine", "epsilon", False): (-210.42892, 210.42892, -269.2208, 269.2208),
    ("binomial", "x_start", True): (4.5585584, 8.6925339, 4.5276689, 10.159943),
    ("binomial", "x_start", False): (4.319233, 7.5246009, 3.9956386, 8.485029),
    ("binomial", "epsilon", True): (-131.55144, 131.55144, -159.73798, 159.73798),
    ("binomial", "epsilon", False): (-144.53507, 144.53507, -181.26641, 181.26641),
}
"""By (schedule, target, fix_first_beta): T 5, noise_scale .5, noise_min .02, noise_max .4."""

X_START = torch.tensor([[(b - d) / 4 for d in range(4)] for b in range(3)], dtype=torch.float64)
NOISE = torch.tensor([[(-1) ** (b + d) / 2 for d in range(4)] for b in range(3)])


def denoise(x_t: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(2 * x_t) + 0.05 * (t[:, None] + 1)


def run(key: tuple[str, str, bool], inference_noise_steps: int) -> Tensor:
    config = DiffusionConfig(
        steps=5,
        noise_schedule=key[0],
        prediction_target=key[1],
        fix_first_beta=key[2],
        noise_scale=0.5,
        noise_min=0.02,
        noise_max=0.4,
        inference_noise_steps=inference_noise_steps,
    )
    return GaussianDiffusion(config).p_sample_loop(denoise, X_START, NOISE.to)


@pytest.mark.parametrize("key", GOLDEN, ids=str)
def test_sum_and_size_of_the_result(key: tuple[str, str, bool]) -> None:
    plain, noisy = run(key, 0), run(key, 3)
    found = (plain.sum(), plain.abs().sum(), noisy.sum(), noisy.abs().sum())
    # the tables are float32, and ε-prediction divides by √ᾱ of some hundredths
    assert [float(value) for value in found] == pytest.approx(GOLDEN[key], rel=1e-5)
