"""Randomness is a parameter: one seed, and named child seeds derived from it.

Two consumers never share a stream, and no result depends on the order in which they run.
"""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive a child seed in [0, 2**63) from a parent seed and names such as ``"epoch", 3``.

    >>> derive_seed(1, "a") == derive_seed(1, "a"), derive_seed(1, "a") == derive_seed(1, "b")
    (True, False)
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator for a named purpose."""
    return np.random.default_rng(derive_seed(seed, *names))
