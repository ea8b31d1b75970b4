"""Which type the products get, and the warning where it is a bad choice."""

import logging
from contextlib import nullcontext
from types import MappingProxyType

import pytest
import torch

from benchmarks.timing.cases import Available, epoch_sides
from diffrec_core.nn import precision as under_test
from diffrec_core.nn.precision import (
    Precision,
    has_bfloat16_units,
    product_dtype,
    rounded_inputs,
    warn_of_emulation,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(params=["amx_bf16", "avx512_bf16", "bf16", None])
def units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A CPU with the one or the other unit, or with none: whether it has one."""
    units = {"avx2": True, "avx512_f": True, "amx_bf16": False, request.param or "neon": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(units))
    return request.param is not None


@pytest.fixture(params=[True, False], ids=["gpu with units", "gpu without"])
def gpu_units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A GPU that multiplies in bfloat16 as it can, emulating it if need be."""
    units = bool(request.param)

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or units

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())
    return units


@pytest.mark.parametrize(
    ("precision", "on_cpu", "on_cuda"),
    [
        ("auto", torch.float32, torch.bfloat16),
        ("float32", torch.float32, torch.float32),
        ("bfloat16", torch.bfloat16, torch.bfloat16),
    ],
)
def test_auto_is_the_device_s(
    precision: Precision, on_cpu: torch.dtype, on_cuda: torch.dtype
) -> None:
    assert product_dtype(precision, CPU) == on_cpu
    assert product_dtype(precision, CUDA) == on_cuda


def test_auto_does_not_depend_on_the_units(units: bool) -> None:
    assert has_bfloat16_units(CPU) == units
    assert product_dtype("auto", CPU) == torch.float32


def test_warns_of_emulation_alone(units: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=under_test.__name__):
        warn_of_emulation("auto", CPU)
        warn_of_emulation("float32", CPU)
        assert not caplog.messages
        warn_of_emulation("bfloat16", CPU)
    assert len(caplog.messages) == (0 if units else 1)
    assert units or "this CPU has no bfloat16 instructions" in caplog.text


@pytest.mark.parametrize(
    ("dtype", "inside"), [(torch.bfloat16, "medium"), (torch.float32, "highest")]
)
def test_inputs_are_rounded_as_long_as_is_asked(dtype: torch.dtype, inside: str) -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    with pytest.raises(KeyError), rounded_inputs(dtype):
        assert torch.get_float32_matmul_precision() == inside
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"


def test_products_of_rounded_inputs_are_finer_than_bfloat16() -> None:
    left, right = torch.rand(64, 300), torch.rand(300, 500)
    with rounded_inputs(torch.bfloat16):
        product = left @ right
    exact = left.double() @ right.double()
    assert product.dtype == torch.float32
    values, coarse_values = (set(x.flatten().tolist()) for x in (product, exact.bfloat16()))
    assert len(values) > 4 * len(coarse_values)  # hence fewer ties
    torch.testing.assert_close(product.double(), exact, rtol=2**-8, atol=0.0)


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_warns_of_a_gpu_without_units(
    gpu_units: bool, precision: Precision, caplog: pytest.LogCaptureFixture
) -> None:
    assert has_bfloat16_units(CUDA) == gpu_units
    with caplog.at_level(logging.WARNING, logger=under_test.__name__):
        warn_of_emulation("float32", CUDA)
        assert not caplog.messages
        warn_of_emulation(precision, CUDA)
    assert len(caplog.messages) == (0 if gpu_units else 1)
    assert gpu_units or f"precision: {precision} multiplies" in caplog.text
    assert gpu_units or "this GPU has no bfloat16 instructions" in caplog.text


def test_benchmark_leaves_out_what_would_be_emulated(units: bool) -> None:
    sides = epoch_sides("diffrec", Available(data="folder"))
    assert "float32" in sides
    assert ("bfloat16" in sides) == units
