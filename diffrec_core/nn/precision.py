"""The type in which a device multiplies matrices."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

log = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16"]

_BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""torch's names of the instructions, of x86 and of ARM."""


def product_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Type of the products: as chosen; `auto` is bfloat16 on CUDA and float32 on a CPU.

    `auto` does not look at the CPU's instructions, so that no result depends on them.

    >>> product_dtype("auto", torch.device("cpu"))
    torch.float32
    """
    chosen = precision
    if chosen == "auto":
        chosen = "bfloat16" if device.type == "cuda" else "float32"
    return torch.bfloat16 if chosen == "bfloat16" else torch.float32


@contextmanager
def rounded_inputs(dtype: torch.dtype) -> Iterator[None]:
    """Let float32 products round what they multiply, if `dtype` is bfloat16.

    Their sums and results stay float32, unlike those of autocast: scores that are rounded would
    tie. Devices round as finely as they have units for; a CPU that has none for it computes
    without rounding, by kernels that are half as fast again. Holds for the whole process.
    """
    before = torch.get_float32_matmul_precision()
    if dtype == torch.bfloat16:
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def has_bfloat16_units(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16 products."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            supported: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return supported
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _BFLOAT16_UNITS)


def warn_of_emulation(precision: Precision, device: torch.device) -> None:
    """Log a warning if products are in bfloat16 where that is slower than float32."""
    if product_dtype(precision, device) == torch.bfloat16 and not has_bfloat16_units(device):
        log.warning(
            "precision: %s multiplies in bfloat16, but this %s has no bfloat16 instructions (%s): "
            "training takes longer than with float32, on a CPU many times; choose precision: "
            "float32",
            precision,
            "GPU" if device.type == "cuda" else "CPU",
            "compute capability 8" if device.type == "cuda" else ", ".join(_BFLOAT16_UNITS),
        )
