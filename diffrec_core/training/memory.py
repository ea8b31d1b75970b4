"""A memory limit for fits, enforced by the operating system instead of predicted from sizes."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import sysconf
from pathlib import Path

import torch

from diffrec_core.common.errors import NotEnoughMemoryError
from diffrec_core.training.program import TrainingOptions

_SHARE = 0.8
"""Of the machine's memory, unless a limit is given: the rest is for data, code and system."""
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux states the limit of a container: version 2, version 1."""
_ENTRIES_PER_THREAD = 1 << 15
"""torch gives each thread so many entries of an elementwise operation."""


@contextmanager
def memory_limit(model: str, options: TrainingOptions) -> Iterator[None]:
    """Keep a fit within its memory limit, and name the model when an allocation fails.

    On Linux the kernel refuses what would make the process's data (heap, arrays, stacks of
    threads) grow by more than the limit. A fit on an accelerator, or elsewhere, fails only when
    there is no more memory at all. With several processes the error is raised as it is: the
    others wait for this one, and must be ended.

    Args:
        model: its name, for the message.
        options: the limit, the device and the processes.

    Raises:
        NotEnoughMemoryError: an allocation in the block failed.
    """
    gib = options.memory_limit_gib
    limit = int(_SHARE * machine_memory() if gib is None else gib * 2**30)
    try:
        with _data_limit(limit, options.device):
            yield
    except (MemoryError, RuntimeError) as error:
        if options.processes.count > 1 or not _is_out_of_memory(error):
            raise
        raise NotEnoughMemoryError(_message(model, limit, error)) from error


@contextmanager
def _data_limit(limit: int, device: torch.device) -> Iterator[None]:
    """Lower RLIMIT_DATA to what is in use and `limit` more, on Linux and for fits on the CPU."""
    if sys.platform != "linux" or device.type != "cpu":  # CUDA reserves far more than it uses
        yield
        return
    # OpenMP ends the process if it cannot start a thread: all are started before the limit holds
    torch.zeros(torch.get_num_threads() * _ENTRIES_PER_THREAD).add_(1.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    before = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([_data_bytes() + limit, *before]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Bytes that count against RLIMIT_DATA now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024


def _message(model: str, limit: int, error: Exception) -> str:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return (
        f"{model} ran out of memory in its fit, which may take {limit / 2**30:.3g} GiB ({reason}): "
        f"leave the model out or make it smaller, raise runtime.memory_limit_gib, take a machine "
        f"with more memory, or keep fewer items (build_interactions.min_item_interactions)"
    )


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has an exception for accelerators only; on the CPU the message tells."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(name in str(error) for name in ("DefaultCPUAllocator", "bad_alloc"))


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container that this process runs in."""
    physical = sysconf("SC_PAGE_SIZE") * sysconf("SC_PHYS_PAGES")
    return min([physical, *filter(None, map(_cgroup_limit, map(Path, _CGROUP_LIMITS)))])


def _cgroup_limit(path: Path) -> int | None:
    """The limit that a file of the kernel states, in bytes; None where it states none."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else None  # "max": no limit
