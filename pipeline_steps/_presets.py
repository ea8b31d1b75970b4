"""Presets: the settings that are known for a data set, to be merged into params.yaml.

A preset is `presets/<name>.yaml`: a first comment line that says what it is for, and the sections
pretrain_item_embeddings, cluster_items and train. A section, or a model's entry under `train`,
replaces the one of the same name whole, so that nothing of the settings before it stays behind;
all else in params.yaml, comments included, stays as it is.
"""

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

from diffrec_core.artifacts import write_text
from diffrec_core.config import check_sections, load_section, lookup
from diffrec_core.embedding.clustering import ClusteringConfig
from diffrec_core.embedding.lightgcn import LightGCNConfig
from diffrec_core.errors import ConfigError
from diffrec_core.models.registry import create
from pipeline_steps._runtime import SECTIONS, read_sections, repository_root

PRESETS = repository_root() / "presets"
PRESET_SECTIONS = frozenset({"pretrain_item_embeddings", "cluster_items", "train"})
"""What a preset may hold: what the models are, neither the data nor the machine."""


def preset_names(folder: Path = PRESETS) -> dict[str, str]:
    """Every preset's name with its one-line description, in the order of their names."""
    paths = sorted(folder.glob("*.yaml"))
    return {path.stem: _description(path) for path in paths}


def _description(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def read_preset(name: str, folder: Path = PRESETS) -> CommentedMap:
    """Read a preset and check that every key and value in it is allowed.

    Raises:
        ConfigError: there is none of that name, or something in it is unknown or not allowed.
    """
    known = preset_names(folder)
    if name not in known:
        raise ConfigError(f"there is no preset {name!r}; known: {', '.join(known) or 'none'}")
    path = folder / f"{name}.yaml"
    document = load_document(path)
    try:
        check_sections(document, PRESET_SECTIONS)
        check_models(load_plain(dump_document(document)))
    except ConfigError as error:
        raise ConfigError(str(error).replace("params.yaml", str(path), 1)) from error
    return document


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


def check_params(params: Mapping[str, Any]) -> None:
    """Check the top level of params.yaml, and the sections that presets change.

    Raises:
        ConfigError: a key is unknown, or a value is not allowed.
    """
    check_sections(params, SECTIONS)
    check_models(params)


def check_models(params: Mapping[str, Any]) -> None:
    """Check the sections that presets change against what the models accept.

    Raises:
        ConfigError: a section is missing, a key in it unknown or a value not allowed.
    """
    load_section(params, "pretrain_item_embeddings", LightGCNConfig)
    load_section(params, "cluster_items", ClusteringConfig)
    train = lookup(params, "train")
    if not isinstance(train, Mapping):
        raise ConfigError(f"params.yaml: train must hold one entry per model, found {train!r}")
    for name, section in train.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"params.yaml: train.{name} must be a mapping, found {section!r}")
        create(section, f"train.{name}")


def merge(document: CommentedMap, preset: Mapping[str, Any]) -> None:
    """Put a preset's sections into the document of params.yaml, in place."""
    for name, section in preset.items():
        if name == "train":
            _merge_entries(document, name, section)
        else:
            _replace(document, name, section)


def update_section(path: Path, name: str, values: Mapping[str, Any]) -> list[str]:
    """Set keys of a section in a file, comments kept; return one line for each value changed."""
    document = load_document(path)
    check_sections(document, SECTIONS)
    before = load_plain(dump_document(document))
    for key, value in values.items():
        document.setdefault(name, CommentedMap())[key] = value
    text = dump_document(document)
    lines = changes(before, load_plain(text))
    if lines:
        write_text(path, text)
    return lines


def _merge_entries(document: CommentedMap, name: str, entries: Mapping[str, Any]) -> None:
    if not isinstance(document.get(name), CommentedMap):
        document[name] = CommentedMap()
    with _comments_after(document[name]):
        for model, section in entries.items():
            _replace(document[name], model, section)


def _replace(parent: CommentedMap, name: str, section: Mapping[str, Any]) -> None:
    """Give the section the keys of another, in their order; keys that stay keep their comments."""
    if not isinstance(parent.get(name), CommentedMap):
        parent[name] = CommentedMap()
    target = parent[name]
    with _comments_after(target):
        before = dict(target)
        target.clear()  # of keys and values: comments are kept apart, by key
        for key, value in section.items():
            unchanged = key in before and before[key] == value
            target[key] = before[key] if unchanged else deepcopy(value)


@contextmanager
def _comments_after(section: CommentedMap) -> Iterator[None]:
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
