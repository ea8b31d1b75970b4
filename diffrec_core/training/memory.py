"""Whether a fit will fit: models whose size is known beforehand ask before they allocate."""

import os
from pathlib import Path

from diffrec_core.errors import MemoryLimitError
from diffrec_core.training.program import TrainingOptions

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
