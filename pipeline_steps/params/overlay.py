"""Values put over params.yaml, with its comments and layout kept.

A preset is such an overlay. What it has changed is noted in the section `preset`, so that the next
one, or none, begins from the values before it.
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
from pipeline_steps.params.presets import merged
from pipeline_steps.params.root import Params
from pipeline_steps.params.steps import AppliedPreset
from pipeline_steps.runtime.sections import read_sections

PRESET = "preset"
_PLAIN = re.compile(r"[A-Za-z0-9_./*-]+( [A-Za-z0-9_./*-]+)*")
"""Texts that YAML may hold unquoted anywhere, unless they look like another type."""
_ABSENT = "(absent)"
"""Stands for a value that was not there before."""


def change(path: Path, overlay: Mapping[str, Any], *, dry_run: bool = False) -> list[str]:
    """Put values over a params.yaml; return one line for each that changes.

    Args:
        path: the file; it is checked before it is written.
        overlay: sections, with the keys that change.
        dry_run: write nothing.

    Raises:
        ConfigError: a key is unknown, or a value is not allowed.
    """
    document = _load(path)
    before = _plain(document)
    _put(document, overlay)
    return _write(path, document, before, dry_run=dry_run)


def apply_preset(path: Path, name: str, overlay: Mapping[str, Any], *, dry_run: bool) -> list[str]:
    """Put a preset in place of the one before; see `change`.

    Args:
        path: the file.
        name: of the preset.
        overlay: its sections; none: the values of before any preset are restored.
        dry_run: write nothing.
    """
    document = _load(path)
    start = _plain(document)
    _restore(document, document.pop(PRESET, None))
    before = dict(leaves(_plain(document)))
    _put(document, overlay)
    if overlay:
        after = dict(leaves(_plain(document)))
        changed = {key: before.get(key, _ABSENT) for key in after if after[key] != before.get(key)}
        gone = {key: before[key] for key in before if key not in after}
        document[PRESET] = {"name": name, "before": {**changed, **gone}}
    return _write(path, document, start, dry_run=dry_run)


def _write(
    path: Path, document: CommentedMap, before: Mapping[str, Any], *, dry_run: bool
) -> list[str]:
    after = _plain(document)
    Params.parse_all(after)
    lines = changes(before, after)
    if (lines or before != after) and not dry_run:
        write_text(path, _text(document))
    return lines


def _put(target: CommentedMap, values: Mapping[str, Any]) -> None:
    """Set the values, mapping by mapping; a new key goes before the last one.

    The parser hangs the comments that follow a mapping on its last key.
    """
    for key, value in values.items():
        inner = target.get(key)
        if isinstance(value, Mapping) and isinstance(inner, CommentedMap):
            _put(inner, value)
        elif key in target:
            if target[key] != value:
                target[key] = _styled(value)
        else:
            target.insert(max(len(target) - 1, 0), key, _styled(value))


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


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line for each value that differs, with its full key.

    >>> changes({"train": {"ease": {"l2": 1.0}}}, {"train": {"ease": {"l2": 2.0}}})
    ['train.ease.l2: 1.0 → 2.0']
    """
    old, new = dict(leaves(before)), dict(leaves(after))
    lines = []
    for key in [*new, *(key for key in old if key not in new)]:
        if key.partition(".")[0] == PRESET:
            continue
        if key not in old:
            lines.append(f"{key}: {new[key]!r} (added)")
        elif key not in new:
            lines.append(f"{key}: {old[key]!r} (removed)")
        elif old[key] != new[key]:
            lines.append(f"{key}: {old[key]!r} → {new[key]!r}")
    return lines


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
    document = read_sections(path, _yaml())
    if not isinstance(document, CommentedMap):
        raise TypeError(f"the round-trip parser gives CommentedMap, found {type(document)}")
    return document


def _plain(value: Any) -> Any:
    """A document's values without comments and layout, as every step and DVC read them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    kind = next((kind for kind in (int, float, str) if isinstance(value, kind)), None)
    return kind(value) if kind else value


def _styled(value: Any) -> Any:
    """A value that is written in one line, as lists and small mappings are in params.yaml."""
    if isinstance(value, str) and not value.isprintable():
        return DoubleQuotedScalarString(value)  # line breaks and the like, as escapes
    if not isinstance(value, list | dict):
        return value
    if isinstance(value, dict):
        pairs = {_inside(key): _inside(inner) for key, inner in value.items()}
        styled: CommentedMap | CommentedSeq = CommentedMap(pairs)
    else:
        styled = CommentedSeq(_inside(inner) for inner in value)
    styled.fa.set_flow_style()
    return styled


def _inside(value: Any) -> Any:
    """A value inside of brackets, where DVC's parser takes fewer plain texts than ours writes."""
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return _styled(value)


def _text(document: CommentedMap) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000  # lines stay as long as they are
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
