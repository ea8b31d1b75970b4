"""Whether a fit will fit: models ask before they allocate, and say so if there is none left."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from diffrec_core.common.errors import MemoryExhaustedError, MemoryLimitError
from diffrec_core.training.program import TrainingOptions

ModuleT = TypeVar("ModuleT", bound=nn.Module)

TRAINING_BYTES = 20
"""Of a learned value in training: the value, its gradient, two moments of Adam, and the best one
so far. docs/scaling.md has all formulas."""

_SHARE = 0.8
"""Of the machine's memory, unless a limit is given: the rest is for data, code and system."""
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux tells a container what it may have: version 2, version 1."""


def require_memory(model: str, needed: int, why: str, options: TrainingOptions) -> None:
    """Refuse a fit that needs too much memory, before it begins.

    Args:
        model: its kind.
        needed: bytes at the peak of the fit, beside the training data.
        why: what they are needed for, such as ``16 bytes for each pair of 94,949 items``.
        options: holds the limit.

    Raises:
        MemoryLimitError: there is not so much.
    """
    machine = machine_memory()
    if options.memory_limit_gib is None:
        limit = int(_SHARE * machine)
        where = f"{_SHARE:.0%} of this machine's {machine / 2**30:.3g} GiB"
    else:
        limit = int(options.memory_limit_gib * 2**30)
        where = f"runtime.memory_limit_gib = {options.memory_limit_gib:g}"
    if needed > limit:
        raise MemoryLimitError(model, needed=needed, limit=limit, why=why, where=where)


def without_memory(build: Callable[[], ModuleT]) -> ModuleT:
    """Make a network of shapes alone, to be counted.

    Args:
        build: makes the network, on torch's default device.
    """
    with torch.device("meta"):
        return build()


def learned_values(network: nn.Module) -> int:
    """Count what a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


@contextmanager
def exhaustion_told(model: str, options: TrainingOptions) -> Iterator[None]:
    """Turn an allocation that fails in a fit into an error that says what to do.

    Of several processes one may find no memory while the others wait for it: there the failure
    stays what it is, so that all are ended.

    Raises:
        MemoryExhaustedError: the block ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if options.processes.count > 1 or not _is_exhaustion(error):
            raise
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        raise MemoryExhaustedError(model, found) from error


def _is_exhaustion(error: Exception) -> bool:
    """Torch has an exception for accelerators only."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "DefaultCPUAllocator" in str(error)


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container that this process runs in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *filter(None, map(_cgroup_limit, map(Path, _CGROUP_LIMITS)))])


def _cgroup_limit(path: Path) -> int | None:
    """The limit that a file of the kernel states, in bytes; None where it states none."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else None  # "max": no limit
