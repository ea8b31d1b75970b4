"""Multilayer perceptrons, and initial weights as the authors of DiffRec draw them."""

import itertools
from typing import Literal

from torch import nn

Activation = Literal["tanh", "relu", "sigmoid", "leaky_relu"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
}


def mlp(
    widths: tuple[int, ...],
    activation: Activation,
    *,
    activate_first: bool = False,
    activate_last: bool = False,
) -> nn.Sequential:
    """Linear layers of the given widths with activations between, before and after them.

    A single width has no layer, and no activation.
    """
    layers: list[nn.Module] = []
    for position, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        if activate_first or position:
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Linear(fan_in, fan_out))
    if activate_last and layers:
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


def initialise_linear(module: nn.Module, bias_std: float = 0.001) -> None:
    """Draw Xavier-normal weights and normal biases of a linear layer; for `nn.Module.apply`.

    Other modules stay as they are. With `bias_std` = 0 biases are zeros, and nothing is drawn.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if bias_std:
            nn.init.normal_(module.bias, std=bias_std)
        else:
            nn.init.zeros_(module.bias)
