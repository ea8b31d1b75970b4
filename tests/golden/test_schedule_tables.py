"""Schedule tables at the first, a middle and the last step, pinned.

The numbers were computed once from the formulas with 40 digits, apart from the code and from the
oracles. A change here is a change of results: declare it in the changelog.
"""

import numpy as np
import pytest

from diffrec_core.diffusion.gaussian import schedule_tables
from diffrec_core.diffusion.noise_schedule import NoiseConfig, noise_betas

COLUMNS = (
    "alpha_bar",
    "snr",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_variance",
)
Row = tuple[float, ...]
"""β, then the columns."""

FIVE_STEPS: dict[tuple[str, bool], dict[int, Row]] = {
    ("linear", False): {
        0: (0.01, 0.99, 99.0, 1.0, 0.0, 0.0),
        2: (0.105, 0.835102125, 5.06435953, 0.61508129, 0.383958988, 0.0426150125),
        4: (0.2, 0.566199241, 1.30520574, 0.387863878, 0.602574315, 0.134739713),
    },
    ("linear", True): {
        0: (1.0e-5, 0.99999, 99999.0, 1.0, 0.0, 0.0),
        2: (0.105, 0.843529065, 5.39096326, 0.65146956, 0.347709746, 0.0385917654),
        4: (0.2, 0.571912706, 1.33597216, 0.395018592, 0.595694735, 0.133201392),
    },
    ("linear-var", False): {
        0: (0.01, 0.99, 99.0, 1.0, 0.0, 0.0),
        2: (0.050397878, 0.895, 8.52380952, 0.465976088, 0.533641239, 0.0275988379),
        4: (0.0560471976, 0.8, 4.0, 0.257984587, 0.740823906, 0.0427359882),
    },
    ("linear-var", True): {
        0: (1.0e-5, 0.99999, 99999.0, 1.0, 0.0, 0.0),
        2: (0.050397878, 0.904031364, 9.42007095, 0.512393766, 0.487288424, 0.0252015647),
        4: (0.0560471976, 0.808072727, 4.21030693, 0.270188771, 0.728691907, 0.0420361283),
    },
    ("cosine", False): {
        0: (0.101294079, 0.898705921, 8.87224531, 1.0, 0.0, 0.0),
        2: (0.473635353, 0.34080964, 0.517012475, 0.578157073, 0.387988161, 0.253290691),
        4: (0.999, 9.40456127e-5, 9.40544581e-5, 0.306390718, 0.0286514877, 0.905133557),
    },
    ("cosine", True): {
        0: (1.0e-5, 0.99999, 99999.0, 1.0, 0.0, 0.0),
        2: (0.473635353, 0.379218857, 0.610873672, 0.647600539, 0.326712664, 0.213288148),
        4: (0.999, 0.000104644545, 0.000104655497, 0.323198424, 0.0283165887, 0.89455371),
    },
    ("binomial", False): {
        0: (0.2, 0.8, 4.0, 1.0, 0.0, 0.0),
        2: (0.333333333, 0.4, 0.666666667, 0.430331483, 0.544331054, 0.222222222),
        4: (0.999, 0.0002, 0.000200040008, 0.446855753, 0.0253032819, 0.799359872),
    },
    ("binomial", True): {
        0: (1.0e-5, 0.99999, 99999.0, 1.0, 0.0, 0.0),
        2: (0.333333333, 0.499995, 0.99998, 0.577341609, 0.408256455, 0.16667),
        4: (0.999, 0.0002499975, 0.000250060014, 0.499622407, 0.0237230922, 0.749439856),
    },
}
"""By (schedule, fix_first_beta): T 5, noise_scale .5, noise_min .02, noise_max .4."""

ML_1M: dict[int, Row] = {
    0: (1e-5, 0.99999, 99999.0, 1.0, 0.0, 0.0),
    20: (6.41049474916e-7, 0.999977179295, 43818.8554414, 0.0280903838, 0.971909616, 6.23042349e-7),
    39: (6.41057282956e-7, 0.999964999625, 28570.1224446, 0.0183154115, 0.981684589, 6.29316257e-7),
}
"""The published DiffRec setting, linear-var: noise so small that cancellation would show."""

HO_ET_AL: dict[int, Row] = {
    0: (1e-4, 0.9999, 9999.0, 1.0, 0.0, 0.0),
    487: (0.009801001, 0.0885857323, 0.0971959025, 0.00321643855, 0.994130113, 0.00979157199),
    999: (0.02, 4.03582977e-5, 4.03599265e-5, 0.000128351487, 0.989948678, 0.0199999835),
}
"""Linear from 1e-4 to 0.02 in 1000 steps, the schedule of the DDPM paper."""


def check(config: NoiseConfig, expected: dict[int, Row], rtol: float) -> None:
    betas = noise_betas(config)
    tables = schedule_tables(betas)
    for t, row in expected.items():
        found = [betas[t], *(tables[name][t] for name in COLUMNS)]
        np.testing.assert_allclose(found, row, rtol=rtol, atol=1e-15, err_msg=f"t = {t}")


@pytest.mark.parametrize(("schedule", "fix_first"), FIVE_STEPS)
def test_five_steps(schedule: str, fix_first: bool) -> None:
    config = NoiseConfig(
        steps=5,
        noise_schedule=schedule,
        noise_scale=0.5,
        noise_min=0.02,
        noise_max=0.4,
        fix_first_beta=fix_first,
    )
    check(config, FIVE_STEPS[schedule, fix_first], rtol=1e-8)


def test_the_published_setting_of_ml_1m() -> None:
    config = NoiseConfig(steps=40, noise_scale=0.005, noise_min=5e-3, noise_max=1e-2)
    check(config, ML_1M, rtol=1e-8)


def test_the_schedule_of_the_ddpm_paper() -> None:
    config = NoiseConfig(
        steps=1000,
        noise_schedule="linear",
        noise_scale=1.0,
        noise_min=1e-4,
        noise_max=0.02,
        fix_first_beta=False,
    )
    check(config, HO_ET_AL, rtol=1e-8)
