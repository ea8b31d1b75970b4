"""Torch randomness for a named purpose, without touching the global state of anybody else.

Every draw of a training is a function of the seed and of where the training stands: epoch, step
and process. So a checkpoint needs no generator states: its epoch and step say them all.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diffrec_core.common.rng import derive_seed


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


def reseed(device: torch.device, seed: int, *names: str | int) -> None:
    """Seed the generators of the CPU and of one device anew, inside a `torch_seed` block.

    It costs a few microseconds, so that every step can have its own seed.
    """
    value = derive_seed(seed, *names)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)
