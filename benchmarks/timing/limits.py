"""Lower limits: parts of a training step alone, in plain torch."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from benchmarks.ml1m import load_split
from benchmarks.processes import Run, Settings

_TIMESTEP_EMBEDDING = 10
"""Inputs of the first layer beside the items."""


def train_step(settings: Settings) -> Run:
    """One epoch of DiffRec's matrix products, loss and fused AdamW, and of noise and masks.

    They work on one batch that lies in memory: no histories, no timesteps, no bookkeeping. Noise
    and dropout masks, 16 random bits for an entry, are drawn and thrown away. Settings as of
    `ours.train_epoch`.
    """
    model, split = settings["model"], load_split(Path(settings["data"]))
    users, items, batch = len(split.train), len(split.items), model["batch_size"]
    inputs, low = items + _TIMESTEP_EMBEDDING, model["precision"] == "bfloat16"
    network = mlp(model["hidden_dims"], items, inputs)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    rows, target = torch.rand(batch, inputs), torch.rand(batch, items)

    def step(size: int) -> None:
        torch.randn(size, items)
        bits = torch.empty(-(-size * items // 4), dtype=torch.int64).random_(-(2**63), None)
        torch.ge(bits.view(torch.int16)[: size * items], 0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            output = network(rows[:size])
        loss = (target[:size] - output).square().mean(dim=1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def epoch() -> None:
        for start in range(0, users, batch):
            step(min(batch, users - start))

    return epoch


def mlp(hidden_dims: list[int], items: int, inputs: int) -> nn.Sequential:
    """The layers of a denoiser."""
    widths = [inputs, *reversed(hidden_dims), *hidden_dims[1:], items]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def products(settings: Settings) -> Run:
    """Multiply a batch's hidden layer with all `items`."""
    batch, width = settings["model"]["batch_size"], settings["model"]["hidden_dims"][0]
    hidden, table = torch.rand(batch, width), torch.rand(settings["items"], width)
    return lambda: hidden @ table.T
