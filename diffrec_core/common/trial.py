"""What a model's `suggest` asks of a tuner: Optuna's signatures, so that the library needs none."""

from collections.abc import Sequence
from typing import Any, Protocol


class Trial(Protocol):
    """One trial of a study; see `optuna.Trial`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number between two others, both included; `log`: equal ratios are equally likely."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number between two others, both included."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of several values; lists may be among them."""
