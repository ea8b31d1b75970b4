"""Values put over params.yaml, with its comments and layout kept.

A preset is such an overlay. The section `preset` holds the values that it replaced, so that the
next one, or none, starts from those.
"""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.errors import ConfigError
from pipeline_steps.params.presets import Preset, merged
from pipeline_steps.params.root import Params
from pipeline_steps.params.steps import AppliedPreset
from pipeline_steps.runtime.sections import read_sections

PRESET = "preset"
_PLAIN = re.compile(r"[A-Za-z0-9_./*-]+( [A-Za-z0-9_./*-]+)*")
"""Texts that every parser takes unquoted; ruamel.yaml quotes those that look like another type."""
_ABSENT = "(absent)"
"""Stands for a value that was not there before."""


def change(path: Path, overlay: Mapping[str, Any]) -> list[str]:
    """Put values over a params.yaml; return one line for each that changes.

    Args:
        path: the file; the result is checked before it is written.
        overlay: sections, with the keys that change.

    Raises:
        ConfigError: a key is unknown, or a value is not allowed.
    """
    document = _load(path)
    before = dict(leaves(document))
    _put(document, overlay)
    return _save(path, document, before)


def apply_preset(path: Path, preset: Preset, *, dry_run: bool) -> list[str]:
    """Put a preset in place of the previous one; see `change`.

    Args:
        path: the file.
        preset: if it holds nothing, the values of before any preset are restored.
        dry_run: write nothing.
    """
    document = _load(path)
    start = dict(leaves(document))
    _restore(document, document.pop(PRESET, None))
    before = dict(leaves(document))
    _put(document, preset.overlay)
    if preset.overlay:
        changed = _differences(before, dict(leaves(document)))
        replaced = {key: _styled(old) for key, (old, _) in changed.items()}
        base = {"base": _styled(preset.base)} if preset.base else {}
        document[PRESET] = {"name": _styled(preset.name), **base, "before": replaced}
    return _save(path, document, start, dry_run=dry_run)


def _save(
    path: Path, document: CommentedMap, before: Mapping[str, Any], *, dry_run: bool = False
) -> list[str]:
    """Check the text as every step will read it, then write it if a value differs."""
    text = io.StringIO()
    _yaml().dump(document, text)
    values = YAML(typ="safe", pure=True).load(text.getvalue())
    Params.parse_all(values)
    changed = _differences(before, dict(leaves(values)))
    if changed and not dry_run:
        write_text(path, text.getvalue())
    return [
        f"{key}: {_shown(old)} → {_shown(new)}"
        for key, (old, new) in changed.items()
        if key.partition(".")[0] != PRESET
    ]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The old and the new value of each key whose values differ.

    >>> _differences({"a.b": 1.0, "a.c": 2}, {"a.b": 3.0, "a.c": 2, "a.d": 4})
    {'a.b': (1.0, 3.0), 'a.d': ('(absent)', 4)}
    """
    pairs = {key: (before.get(key, _ABSENT), after.get(key, _ABSENT)) for key in [*after, *before]}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


def _shown(value: Any) -> str:
    return _ABSENT if value == _ABSENT else repr(value)


def _put(target: CommentedMap, values: Mapping[str, Any]) -> None:
    """Set the values, mapping by mapping; a new key goes before the last one.

    The parser hangs the comments that follow a mapping on its last key.
    """
    for key, value in values.items():
        inner = target.get(key)
        if isinstance(value, Mapping) and isinstance(inner, CommentedMap):
            _put(inner, value)
        elif key not in target:
            target.insert(max(len(target) - 1, 0), key, _styled(value))
        elif inner != value:
            target[key] = _styled(value)


def _restore(document: CommentedMap, applied: Any) -> None:
    """Undo what a preset has changed."""
    if applied is None:
        return
    for key, value in AppliedPreset.parse(dict(applied), PRESET).before.items():
        *path, last = key.split(".")
        section = document
        for part in path:
            section = section.get(part, CommentedMap())
        if value == _ABSENT:
            section.pop(last, None)
        else:
            section[last] = _styled(value)


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested mappings, by dotted key."""
    for name, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def parse_assignment(text: str) -> dict[str, Any]:
    """`a.b=1` as a mapping of mappings; the value is YAML.

    Raises:
        ConfigError: it is no assignment, or the value is not YAML.

    >>> parse_assignment("train.ease.l2=100.0")
    {'train': {'ease': {'l2': 100.0}}}
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r}: expected KEY=VALUE, such as train.diffrec.steps=10")
    return nested({key.strip(): _parse_value(value, text)})


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted keys as mappings of mappings.

    >>> nested({"ease.l2": 3.0, "ease.recency.kind": "none"})
    {'ease': {'l2': 3.0, 'recency': {'kind': 'none'}}}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        inner: Any = value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        result = merged(result, inner)
    return result


def _parse_value(value: str, text: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(value)
    except Exception as error:  # ruamel.yaml has many classes of errors, some not its own
        raise ConfigError(f"{text!r}: the value is not valid YAML: {error}") from error


def _load(path: Path) -> CommentedMap:
    document: CommentedMap = read_sections(path, _yaml())
    return document


def _styled(value: Any) -> Any:
    """A value on one line, as in params.yaml, with quotes where some parser needs them."""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else DoubleQuotedScalarString(value)
    if isinstance(value, Mapping):
        pairs = {_styled(key): _styled(inner) for key, inner in value.items()}
        styled: CommentedMap | CommentedSeq = CommentedMap(pairs)
    elif isinstance(value, list):
        styled = CommentedSeq(map(_styled, value))
    else:
        return value
    styled.fa.set_flow_style()
    return styled


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000  # lines stay as long as they are
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
