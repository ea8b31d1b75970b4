"""Typed, frozen configuration: sections of params.yaml become pydantic models.

Each component keeps its own `Config` beside its code. Here is their base class, whose messages
name the full key, the value found and what is allowed.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from diffrec_core.common.errors import ConfigError

PositiveTuple = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Strict(strict=False)]
"""A list of positive whole numbers in YAML, a tuple in code."""

StringTuple = Annotated[tuple[str, ...], Strict(strict=False)]
"""A list of strings in YAML, a tuple in code."""


def _as_utc(value: object) -> object:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a date or time: write it as 2026-11-24T00:00:00Z") from None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


UtcTime = Annotated[datetime, BeforeValidator(_as_utc)]
"""What YAML makes of a date or time, or its ISO 8601 text; UTC unless it has an offset."""


class Config(BaseModel):
    """Base of every configuration: frozen, strict about types, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], key: str, file: str = "params.yaml") -> Self:
        """Validate a section's values.

        Args:
            values: of the section.
            key: dotted path of the section, such as ``train.diffrec``, for messages.
            file: that holds it, likewise.

        Raises:
            ConfigError: a key is unknown or a value not allowed; every problem is listed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = (_describe(detail, key, cls, values) for detail in error.errors())
            # of a value that may be one thing or another, each says why it is none
            by_head: dict[str, list[str]] = {}
            for head, what in problems:
                by_head.setdefault(head, []).append(what)
            lines = (head + ", or ".join(dict.fromkeys(each)) for head, each in by_head.items())
            raise ConfigError(f"{file}: " + "\n  ".join(lines)) from error


ConfigT = TypeVar("ConfigT", bound=Config)


def load_section(params: Mapping[str, Any], key: str, model: type[ConfigT]) -> ConfigT:
    """Read the section at a dotted key of params.yaml; an empty section has all defaults.

    Raises:
        ConfigError: the section is missing, a key unknown or a value not allowed; every problem
            is listed.
    """
    section = lookup(params, key)
    section = {} if section is None else section
    if not isinstance(section, Mapping):
        raise ConfigError(f"params.yaml: {key} must be a mapping of keys, found {section!r}")
    return model.parse(dict(section), key)


def lookup(params: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key.

    Raises:
        ConfigError: it is missing.

    >>> lookup({"train": {"ease": {"l2": 1.0}}}, "train.ease.l2")
    1.0
    """
    value: Any = params
    for depth, part in enumerate(key.split(".")):
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(map(str, value)) if isinstance(value, Mapping) else "none"
            where = ".".join(key.split(".")[:depth]) or "the top level"
            raise ConfigError(f"params.yaml: {key} is missing; keys at {where}: {known}")
        value = value[part]
    return value


def check_sections(params: Mapping[str, Any], known: Collection[str]) -> None:
    """Reject unknown top-level sections.

    Raises:
        ConfigError: there is one; the message suggests the nearest known name.
    """
    for name in params:
        if name not in known:
            raise ConfigError(
                f"params.yaml: {name} is not a known section{_nearest(name, known)}; "
                f"known: {', '.join(sorted(known))}"
            )


def _nearest(name: object, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _describe(
    detail: ErrorDetails, key: str, model: type[BaseModel], values: object
) -> tuple[str, str]:
    """One validation error: full key with the value found, and what is allowed."""
    path = ".".join(filter(None, [key, *_keys(detail["loc"], values, detail["type"])]))
    if detail["type"] == "extra_forbidden":
        return path, f" is not a known key{_suggest(detail, model)}"
    if detail["type"] == "missing":
        return path, " is required and missing"
    if detail["type"] in ("model_type", "dict_type"):
        return path, f" must be a mapping of keys, found {detail['input']!r}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error" and isinstance(detail["input"], Mapping):
        # our own checks across the fields of a section name what they found
        return (f"{path}: " if path else ""), message
    return f"{path} = {detail['input']!r}: ", f"{message[0].lower()}{message[1:]}"


def _keys(loc: Sequence[int | str], values: object, error: str) -> Iterator[str]:
    """Where an error is, without pydantic's names for the alternatives of a type.

    >>> list(_keys(("columns", "user_id", "constrained-str"), {"columns": {"user_id": 1.5}}, ""))
    ['columns', 'user_id']
    """
    for at, part in enumerate(loc):
        is_missing = error == "missing" and at == len(loc) - 1
        if isinstance(values, Mapping) and (part in values or is_missing):
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int):
            values = values[part] if part < len(values) else None
        else:
            continue
        yield str(part)


def _suggest(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """The nearest and all allowed keys of the (sub-)model; none where it is not a plain model."""
    *parents, key = detail["loc"]
    for parent in parents:
        field = model.model_fields.get(str(parent))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        model = annotation
    allowed = sorted(model.model_fields)
    return f"{_nearest(key, allowed)}; allowed: {', '.join(allowed)}"
