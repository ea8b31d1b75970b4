"""What no code can be faster than: parts of a training step alone, in plain torch.

The products, loss and optimiser of a DiffRec step work on one batch that lies in memory: no
histories, no noise, no dropout, no timesteps, no bookkeeping. The noise and the dropout masks
are drawn and thrown away.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._laps import Laps


def train_step(settings: dict[str, Any], laps: Laps) -> None:
    """One epoch of matrix products, loss and fused AdamW alone.

    Settings: `users`, `items`, `batch`, `hidden_dims`, `extra` inputs (the embedded timestep) and
    `precision`.
    """
    network = mlp(settings)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    rows = torch.rand(settings["batch"], settings["items"] + settings["extra"])
    target = torch.rand(settings["batch"], settings["items"])
    low = settings["precision"] == "bfloat16"

    def step(size: int) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            output = network(rows[:size])
        loss = (target[:size] - output).square().mean(dim=1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    laps.lap_forever(lambda: _epoch(settings, step))


def draws(settings: dict[str, Any], laps: Laps) -> None:
    """One epoch of noise and dropout masks alone: 16 random bits decide on an entry."""

    def step(size: int) -> None:
        shape = (size, settings["items"])
        torch.randn(shape)
        _mask(shape)

    laps.lap_forever(lambda: _epoch(settings, step))


def _mask(shape: tuple[int, int]) -> Tensor:
    count = shape[0] * shape[1]
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.int16)[:count].view(shape) >= 0


def products(settings: dict[str, Any], laps: Laps) -> None:
    """Multiply matrices of a catalogue's step: tells `flops_per_second`.

    Settings: `batch`, `hidden`, `items`, `precision`.
    """
    kind = torch.bfloat16 if settings["precision"] == "bfloat16" else torch.float32
    hidden = torch.rand(settings["batch"], settings["hidden"], dtype=kind)
    table = torch.rand(settings["items"], settings["hidden"], dtype=kind)
    flops = 2 * settings["batch"] * settings["hidden"] * settings["items"]

    def run() -> dict[str, float]:
        hidden @ table.T
        return {"flops": flops}

    laps.lap_forever(run)


def _epoch(settings: dict[str, Any], step: Callable[[int], None]) -> None:
    for start in range(0, settings["users"], settings["batch"]):
        step(min(settings["batch"], settings["users"] - start))


def mlp(settings: dict[str, Any]) -> nn.Sequential:
    """The layers of a denoiser with those `hidden_dims`, `items` and `extra` inputs."""
    outwards, items = settings["hidden_dims"], settings["items"]
    widths = [items + settings["extra"], *reversed(outwards), *outwards[1:], items]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])
