"""Sections of params.yaml, read as the types that a command's `run` names.

Each parameter of `run` but `inputs` is a section: its name is the section's, unless the annotation
says `Annotated[T, Section("train.{model}")]`, where fields of the inputs fill the braces.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from diffrec_core.common.config import Config, load_section, lookup
from diffrec_core.common.errors import ConfigError

Seed = Annotated[int, Field(ge=0, strict=True)]
"""The seed of a run, from which every other seed is derived."""


@dataclass(frozen=True, slots=True)
class Section:
    """The section that a parameter of `run` is read from, if not the one of its own name.

    Attributes:
        key: dotted, with fields of the inputs in braces, such as ``train.{model}``.
        parse: from the section's values and its key to the parameter, if its type alone does not
            say how, as with models, whose `kind` decides.
    """

    key: str
    parse: Callable[[Any, str], Any] | None = None


def read_params(path: Path) -> dict[str, Any]:
    """Read params.yaml (YAML 1.2, as DVC reads it).

    Raises:
        ConfigError: the file is missing, is not YAML, or holds no sections.
    """
    sections: dict[str, Any] = read_sections(path, YAML(typ="safe", pure=True))
    return sections


def read_sections(path: Path, yaml: YAML) -> Any:
    """Read a file of sections as the parser's kind of dict; see `read_params`."""
    try:
        sections = yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing: run from the project's folder") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(sections, dict):
        raise ConfigError(f"{path} must hold sections of keys, found {type(sections).__name__}")
    return sections


def section_keys(run: Callable[..., Any]) -> dict[str, str]:
    """The key in params.yaml of each parameter of `run` that is a section.

    >>> def run(inputs: Config, seed: Seed, model: Annotated[Config, Section("train.{model}")]): ...
    >>> section_keys(run)
    {'seed': 'seed', 'model': 'train.{model}'}
    """
    return {name: section.key for name, (section, _) in _sections(run).items()}


def load_sections(
    run: Callable[..., Any], params: Mapping[str, Any], inputs: Config
) -> dict[str, Any]:
    """Values of the parameters of `run` that are sections.

    Raises:
        ConfigError: a section is missing, a key in it unknown or a value not allowed.
    """
    fields = {name: getattr(inputs, name) for name in type(inputs).model_fields}
    return {
        name: _load(params, section.key.format(**fields), section.parse, annotation)
        for name, (section, annotation) in _sections(run).items()
    }


def _sections(run: Callable[..., Any]) -> dict[str, tuple[Section, Any]]:
    hints = get_type_hints(run, include_extras=True)
    names = [name for name in inspect.signature(run).parameters if name not in ("inputs", "params")]
    return {name: _section_and_type(name, hints[name]) for name in names}


def _section_and_type(name: str, annotation: Any) -> tuple[Section, Any]:
    kind, *marks = get_args(annotation) or (annotation,)
    sections = [mark for mark in marks if isinstance(mark, Section)]
    return (sections[0], kind) if sections else (Section(name), annotation)


def _load(
    params: Mapping[str, Any],
    key: str,
    parse: Callable[[Any, str], Any] | None,
    annotation: Any,
) -> Any:
    if parse is not None:
        return parse(lookup(params, key), key)
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return load_section(params, key, annotation)
    value = lookup(params, key)
    try:  # as JSON: lists may stand for tuples
        return TypeAdapter(annotation).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join([key, *map(str, detail["loc"])])
        raise ConfigError(
            f"params.yaml: {where} = {detail['input']!r}: {detail['msg'].lower()}"
        ) from error
