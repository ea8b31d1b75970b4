"""YAML files that people have written, changed with their comments and layout in place."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.tokens import CommentToken

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.config import check_sections
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.sections import read_sections


def load_document(path: Path) -> CommentedMap:
    """Read a YAML file with its comments.

    Raises:
        ConfigError: it is missing, is not YAML, or holds no sections.
    """
    document = read_sections(path, _round_trip())
    if not isinstance(document, CommentedMap):
        raise TypeError(f"the round-trip parser gives CommentedMap, found {type(document)}")
    return document


def dump_document(document: CommentedMap) -> str:
    """Write out what `load_document` read, as it was."""
    text = io.StringIO()
    _round_trip().dump(document, text)
    return text.getvalue()


def load_plain(text: str) -> dict[str, Any]:
    """Read YAML as every step and DVC do."""
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return values


def update_section(path: Path, name: str, values: Mapping[str, Any]) -> list[str]:
    """Set keys of a section in a file, comments kept; return one line for each value changed."""
    document = load_document(path)
    check_sections(document, Params.model_fields)
    before = load_plain(dump_document(document))
    for key, value in values.items():
        document.setdefault(name, CommentedMap())[key] = value
    text = dump_document(document)
    lines = changes(before, load_plain(text))
    if lines:
        write_text(path, text)
    return lines


def replace(parent: CommentedMap, name: str, section: Mapping[str, Any]) -> None:
    """Give the section the keys of another, in their order; keys that stay keep their comments."""
    _put(parent, name, section, kept={})


def update(parent: CommentedMap, name: str, section: Mapping[str, Any]) -> None:
    """Give the section the values of another where that has any; its other keys stay."""
    _put(parent, name, section, kept=parent.get(name) or {})


def _put(
    parent: CommentedMap, name: str, section: Mapping[str, Any], kept: Mapping[str, Any]
) -> None:
    if not isinstance(parent.get(name), CommentedMap):
        parent[name] = CommentedMap()
    target = parent[name]
    with comments_after(target):
        before = dict(target)
        values = {**kept, **section}
        target.clear()  # of keys and values: comments are kept apart, by key
        for key, value in values.items():
            unchanged = key in before and before[key] == value
            target[key] = before[key] if unchanged else deepcopy(value)


@contextmanager
def comments_after(section: CommentedMap) -> Iterator[None]:
    """Keep the blank lines and comments that follow a section while its keys change.

    The parser hangs them on the last value in the section, which may be about to go.
    """
    after = ""
    if section:
        items, key, slot = _last_value(section)
        beside, _, after = _take_comment(items, key, slot).partition("\n")
        if beside:
            _put_comment(items, key, slot, beside + "\n")
    yield
    if section and after:
        items, key, slot = _last_value(section)
        beside = _take_comment(items, key, slot).removesuffix("\n")
        _put_comment(items, key, slot, f"{beside}\n{after}")


def _last_value(section: CommentedMap | CommentedSeq) -> tuple[dict[Any, Any], Any, int]:
    """Where the parser keeps the comment after the last value: a table, its key, and a slot."""
    is_map = isinstance(section, CommentedMap)
    key = list(section)[-1] if is_map else len(section) - 1
    value = section[key]
    nested = isinstance(value, CommentedMap | CommentedSeq) and not value.fa.flow_style()
    if nested and value:
        return _last_value(value)
    return section.ca.items, key, 2 if is_map else 0


def _take_comment(items: dict[Any, Any], key: Any, slot: int) -> str:
    token = items[key][slot] if key in items else None
    if token is None:
        return ""
    items[key][slot] = None
    text: str = token.value
    return text


def _put_comment(items: dict[Any, Any], key: Any, slot: int, text: str) -> None:
    token = CommentToken(text, CommentMark(0), None)
    items.setdefault(key, [None, None, None, None])[slot] = token


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line for each value that differs, with its full key.

    >>> changes({"train": {"ease": {"l2": 1.0}}}, {"train": {"ease": {"l2": 2.0}}})
    ['train.ease.l2: 1.0 → 2.0']
    """
    old, new = dict(_values(before)), dict(_values(after))
    lines = []
    for key in [*new, *(key for key in old if key not in new)]:
        if key not in old:
            lines.append(f"{key}: {new[key]!r} (added)")
        elif key not in new:
            lines.append(f"{key}: {old[key]!r} (removed)")
        elif old[key] != new[key]:
            lines.append(f"{key}: {old[key]!r} → {new[key]!r}")
    return lines


def _values(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class _Representer(RoundTripRepresenter):
    """Writes null as params.yaml does, where ruamel.yaml would leave the value out."""

    def represent_none(self, data: None) -> ScalarNode:
        """Write `null`."""
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:null", "null")
        return node


_Representer.add_representer(type(None), _Representer.represent_none)


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 10_000  # lines stay as long as they are
    return yaml
