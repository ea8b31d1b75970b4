"""Initial weights of linear layers, as the authors of DiffRec draw them."""

from torch import nn


def initialise_linear(module: nn.Module, bias_std: float = 0.001) -> None:
    """Draw Xavier-normal weights and normal biases of a linear layer; for `nn.Module.apply`.

    Args:
        module: others than linear layers stay as they are.
        bias_std: of the biases; 0: zeros, and nothing is drawn.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if bias_std:
            nn.init.normal_(module.bias, std=bias_std)
        else:
            nn.init.zeros_(module.bias)
