"""Initial weights of linear layers, as the authors of DiffRec draw them."""

from torch import nn


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
