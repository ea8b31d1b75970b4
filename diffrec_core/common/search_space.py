"""Which settings of a model are worth trying, and between which values.

Each model names its own, beside its configuration; a tuner draws from them. Settings are dotted
keys of the model's section of params.yaml.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Real:
    """A number between two others, both included; `log`: equal ratios are equally likely."""

    low: float
    high: float
    log: bool = False

    def including(self, value: Any) -> "Real":
        """Widen the range so that it holds the value."""
        return replace(self, low=min(self.low, float(value)), high=max(self.high, float(value)))


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two others, both included."""

    low: int
    high: int
    log: bool = False

    def including(self, value: Any) -> "Whole":
        """Widen the range so that it holds the value."""
        return replace(self, low=min(self.low, int(value)), high=max(self.high, int(value)))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values, each of which JSON can write."""

    options: tuple[Any, ...]

    def including(self, value: Any) -> "Choice":
        """Add the value to the options, unless it is one."""
        if self.label(value) in self.labels:
            return self
        return Choice((*self.options, value))

    @property
    def labels(self) -> tuple[str, ...]:
        """The options as JSON: what a study can store, whatever they are."""
        return tuple(self.label(option) for option in self.options)

    @staticmethod
    def label(value: Any) -> str:
        """Write a value as JSON.

        >>> Choice.label((200, 600))
        '[200, 600]'
        """
        return json.dumps(value)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting.

    Attributes:
        key: dotted, in the model's section, such as ``recency.half_life``.
        values: what it may be.
        given: another key, and the values of it with which this one counts; None: always.
    """

    key: str
    values: Real | Whole | Choice
    given: tuple[str, tuple[Any, ...]] | None = None

    @property
    def name(self) -> str:
        """The key, and what it depends on: different conditions are different dimensions.

        >>> Dimension("half_life", Real(1, 9), ("kind", ("age",))).name
        'half_life (kind: age)'
        """
        if self.given is None:
            return self.key
        key, values = self.given
        return f"{self.key} ({key.rpartition('.')[2]}: {', '.join(map(str, values))})"

    def counts(self, section: Mapping[str, Any]) -> bool:
        """Whether the condition holds in a section."""
        if self.given is None:
            return True
        key, values = self.given
        return get_value(section, key) in values


Space = tuple[Dimension, ...]
"""Dimensions in the order in which they are drawn: conditions come before what they govern."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of settings that was tried.

    Attributes:
        number: 1-based, interrupted trials left out.
        settings: dotted keys to values, of the dimensions that counted.
        state: `complete`, `pruned` or `failed`.
        value: the objective; None unless it is complete.
        seconds: it took.
        last_validation: the metric that early stopping watches, which may be another one than the
            objective, when it was last measured; None if the model is not trained in epochs.
    """

    number: int
    settings: Mapping[str, Any]
    state: str
    value: float | None
    seconds: float
    last_validation: float | None = None


def get_value(section: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key; None where there is none.

    >>> get_value({"recency": {"kind": "none"}}, "recency.kind")
    'none'
    """
    value: Any = section
    for part in key.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def with_value(section: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy with the value at a dotted key.

    >>> with_value({"recency": {"kind": "none"}}, "recency.half_life", 3.0)
    {'recency': {'kind': 'none', 'half_life': 3.0}}
    """
    first, _, rest = key.partition(".")
    changed = dict(section)
    if rest:
        inner = changed.get(first)
        value = with_value(inner if isinstance(inner, Mapping) else {}, rest, value)
    changed[first] = value
    return changed
