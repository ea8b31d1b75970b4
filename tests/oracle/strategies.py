"""What Hypothesis draws for the oracle and property tests, and how hard it tries."""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from diffrec_core.diffusion.losses import DiffusionLossConfig

SCHEDULES = ("linear", "linear-var", "cosine", "binomial")
DAY = 24 * 60 * 60 * 10**6


def effort(examples: int) -> settings:
    """So many examples and no deadline: the machine may be busy with something else."""
    return settings(
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


@st.composite
def noise_settings(draw: st.DrawFn, *, switched_off: bool = True) -> dict[str, Any]:
    """Arguments of a noise schedule, from nearly none to nearly all of the signal erased."""
    low = draw(st.floats(1e-4, 0.8))
    high = low + draw(st.floats(1e-3, 0.15))
    scales = st.floats(1e-3, 1.0)
    return {
        "noise_schedule": draw(st.sampled_from(SCHEDULES)),
        "steps": draw(st.integers(1, 12)),
        "noise_scale": draw(st.one_of(st.just(0.0), scales) if switched_off else scales),
        "noise_min": low,
        "noise_max": high,
        "fix_first_beta": draw(st.booleans()),
    }


@st.composite
def diffusion_configs(draw: st.DrawFn, **changes: Any) -> DiffusionLossConfig:
    """Configurations of the whole process that add noise."""
    values = draw(noise_settings(switched_off=False))
    target = draw(st.sampled_from(("x_start", "epsilon")))
    return DiffusionLossConfig(**{**values, "prediction_target": target, **changes})


@st.composite
def item_lists(
    draw: st.DrawFn, *, n_items: int = 8, min_users: int = 0, max_users: int = 6, min_size: int = 0
) -> list[list[int]]:
    """Users' histories: lists of distinct items, some of them empty if allowed."""
    row = st.lists(st.integers(0, n_items - 1), unique=True, min_size=min_size, max_size=n_items)
    return draw(st.lists(row, min_size=min_users, max_size=max_users))


@st.composite
def tied_scores(
    draw: st.DrawFn, *, max_rows: int = 4, max_items: int = 12
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(B, I) scores of which many are equal and some are -inf."""
    rows, items = draw(st.integers(1, max_rows)), draw(st.integers(1, max_items))
    few = st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 1.5, 1.5000001, 3.0])
    line = st.lists(few, min_size=items, max_size=items)
    table = draw(st.lists(line, min_size=rows, max_size=rows))
    return np.array(table, dtype=np.float32)
