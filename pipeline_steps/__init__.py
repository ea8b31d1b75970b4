"""The steps: each reads its section of params.yaml and its inputs, calls the library, writes."""

import ctypes
import os
import sys

# Threads of torch that wait for each other spin for a fraction of a millisecond, then sleep.
# Spinning on, they make small matrix products several times slower when anything else runs on the
# machine; asleep at once, an epoch takes a quarter longer when nothing does. It has to be set
# before torch is loaded, hence here; it does not change results.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # of GNU's OpenMP; others sleep at once

# MLflow sends nothing and draws no bars; it reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MIB = 1 << 20


def _keep_freed_memory() -> None:
    """Let glibc reuse what a training step has freed, instead of giving it back to the system.

    Else tensors of some MiB are mapped anew, page by page, in every step: with fast products that
    is a sixth of an epoch. What is larger than 32 MiB is given back as before. Elsewhere than on
    glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 * _MIB)
        mallopt(_M_TRIM_THRESHOLD, 512 * _MIB)


_keep_freed_memory()
