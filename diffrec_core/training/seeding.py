"""Torch randomness for a named purpose, without touching the global state of anybody else."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diffrec_core.rng import derive_seed


@contextmanager
def torch_seed(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's generators inside the block; restore them after it.

    Dropout and `randn` have no generator argument that reaches through modules, so the scope
    is what keeps them a function of (seed, names).
    """
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, *names))
        yield
