"""Torch randomness for a named purpose that leaves the global generators as they were.

Every draw of a training is a function of the seed, the epoch, the step and the process, so that a
checkpoint needs no generator states.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diffrec_core.common.rng import derive_seed


@contextmanager
def torch_seed(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's generators inside the block; restore them after it.

    Dropout in modules takes no generator; hence a scope.
    """
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, *names))
        yield


def reseed(device: torch.device, seed: int, *names: str | int) -> None:
    """Reseed the generators of the CPU and of one device, inside a `torch_seed` block.

    It costs a few microseconds: every step can have its own seed.
    """
    value = derive_seed(seed, *names)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)
