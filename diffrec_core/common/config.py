"""Typed, frozen configuration: sections of params.yaml become pydantic models.

Each component keeps its own `Config` beside its code; this module holds only what all share:
the base class and the translation of validation errors into messages that name the full key,
the value found and what is allowed.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from diffrec_core.common.errors import ConfigError

PositiveTuple = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Strict(strict=False)]
"""A list of positive whole numbers in YAML, a tuple in code."""

StringTuple = Annotated[tuple[str, ...], Strict(strict=False)]
"""A list of strings in YAML, a tuple in code."""


class Config(BaseModel):
    """Base of every configuration: frozen, strict about types, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], key: str, file: str = "params.yaml") -> Self:
        """Build the configuration from a section's values.

        Args:
            values: of the section.
            key: dotted path of the section, for messages, such as ``train.diffrec``.
            file: that holds it, likewise.

        Raises:
            ConfigError: a key is unknown or has a value that is not allowed. Every problem is
                listed, each with its full key.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [_describe(detail, key, cls) for detail in error.errors()]
            raise ConfigError(f"{file}: " + "\n  ".join(problems)) from error


ConfigT = TypeVar("ConfigT", bound=Config)


def load_section(params: Mapping[str, Any], key: str, model: type[ConfigT]) -> ConfigT:
    """Read one section of the parameters into its model.

    Args:
        params: the whole of params.yaml.
        key: dotted path of the section, such as ``train.diffrec``.
        model: the class that describes the section.

    Raises:
        ConfigError: the section is missing, or a key in it is unknown or has a value that is
            not allowed. Every problem is listed, each with its full key.
    """
    section = lookup(params, key)
    if section is None:
        section = {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"params.yaml: {key} must be a mapping of keys, found {section!r}")
    return model.parse(dict(section), key)


def lookup(params: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key.

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
    """Check that the parameters hold no section that nobody reads.

    Raises:
        ConfigError: there is one; the nearest known name is offered.

    >>> check_sections({"seed": 1, "train": {}}, {"seed", "train"})
    """
    for name in params:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(
                f"params.yaml: {name} is not a known section{hint}; "
                f"known: {', '.join(sorted(known))}"
            )


def _describe(detail: ErrorDetails, key: str, model: type[BaseModel]) -> str:
    """One line for one validation error: full key, value found, what is allowed."""
    path = ".".join(filter(None, [key, *(str(part) for part in detail["loc"])]))
    if detail["type"] == "extra_forbidden":
        return f"{path} is not a known key{_suggest(detail, model)}"
    if detail["type"] == "missing":
        return f"{path} is required and missing"
    if detail["type"] in ("model_type", "dict_type"):
        return f"{path} must be a mapping of keys, found {detail['input']!r}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":  # our own cross-field checks name what they found
        return f"{path}: {message}" if path else message
    return f"{path} = {detail['input']!r}: {message[0].lower()}{message[1:]}"


def _suggest(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """Name the allowed keys of the (sub-)model and the nearest one."""
    allowed = _allowed_keys(model, detail["loc"][:-1])
    if not allowed:
        return ""
    near = difflib.get_close_matches(str(detail["loc"][-1]), allowed, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{hint}; allowed: {', '.join(sorted(allowed))}"


def _allowed_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the model that `path` leads to, or none when it is not plain."""
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
