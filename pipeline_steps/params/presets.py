"""Presets: the settings that are known for a data set, to be merged into params.yaml.

A preset is `presets/<name>.yaml`: a first comment line that says what it is for, and the sections
pretrain_item_embeddings, cluster_items, train, robustness and build_interactions, the last two of
which it may leave out. A section, or a model's entry under `train`, replaces the one of the same
name whole, so that nothing of the settings before it stays behind; of build_interactions the keys
that are named alone, since its others tell about the user's log. All else in params.yaml, comments
included, stays as it is.

Instead of settings, an entry may hold the name of another preset: it then has the settings that
stand there, as `slim: ml-100k` under `train` has those of ml-100k's `slim`.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from diffrec_core.common.config import Config, check_sections, load_section, lookup
from diffrec_core.common.errors import ConfigError
from diffrec_core.data.interactions import InteractionsConfig
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.network import LightGCNConfig
from pipeline_steps.params.documents import (
    comments_after,
    dump_document,
    load_document,
    load_plain,
    replace,
    update,
)
from pipeline_steps.runtime.command import SECTIONS, repository_root
from pipeline_steps.studies.robustness import RobustnessConfig

PRESETS = repository_root() / "presets"
PRESET_SECTIONS = frozenset(
    {"build_interactions", "pretrain_item_embeddings", "cluster_items", "train", "robustness"}
)
"""What a preset may hold: which events count, what the models are and what noise they are put to;
neither where the data lie nor the machine."""
_MAY_BE_ABSENT: dict[str, type[Config]] = {
    "build_interactions": InteractionsConfig,
    "robustness": RobustnessConfig,
}


@dataclass(frozen=True, slots=True)
class Preset:
    """What a preset says.

    Attributes:
        name: of its file.
        document: its sections with their comments; names of presets are replaced by settings.
        origins: for each entry under `train`, the preset that its settings stand in.
    """

    name: str
    document: CommentedMap
    origins: Mapping[str, str]

    @property
    def values(self) -> dict[str, Any]:
        """Its sections as plain values."""
        return load_plain(dump_document(self.document))


def preset_names(folder: Path = PRESETS) -> dict[str, str]:
    """Every preset's name with its one-line description, in the order of their names."""
    paths = sorted(folder.glob("*.yaml"))
    return {path.stem: _description(path) for path in paths}


def _description(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def read_preset(name: str, folder: Path = PRESETS) -> Preset:
    """Read a preset and check that every key and value in it is allowed.

    Raises:
        ConfigError: there is none of that name, or something in it is unknown or not allowed.
    """
    library = _Library(folder)
    document = deepcopy(library.document(name))
    origins = {}
    for parent, keys in list(_named_entries(document)):
        origin, parent[keys[-1]] = library.find(name, keys)
        if keys[0] == "train":
            origins[keys[-1]] = origin
    preset = Preset(name, document, origins)
    try:
        check_sections(document, PRESET_SECTIONS)
        check_models(preset.values)
    except ConfigError as error:
        raise _in_file(error, folder / f"{name}.yaml") from error
    return preset


def _named_entries(document: CommentedMap) -> Iterator[tuple[CommentedMap, tuple[str, ...]]]:
    """Where the name of a preset may stand: what holds the entry, and the keys that lead to it."""
    for section, entries in document.items():
        if section == "train" and isinstance(entries, CommentedMap):
            yield from ((entries, (section, model)) for model in entries)
        else:
            yield document, (section,)


class _Library:
    """The presets of a folder, each read once.

    Args:
        folder: that holds them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.known = folder, preset_names(folder)
        self._documents: dict[str, CommentedMap] = {}

    def document(self, name: str) -> CommentedMap:
        """The sections of a preset as they are written.

        Raises:
            ConfigError: there is none of that name, or it is no YAML.
        """
        if name not in self.known:
            known = ", ".join(self.known) or "none"
            raise ConfigError(f"there is no preset {name!r}; known: {known}")
        if name not in self._documents:
            self._documents[name] = load_document(self.folder / f"{name}.yaml")
        return self._documents[name]

    def find(
        self, name: str, keys: tuple[str, ...], passed: tuple[str, ...] = ()
    ) -> tuple[str, Any]:
        """Follow the names of presets to the one where settings stand.

        Args:
            name: of the preset to begin with.
            keys: that lead to the entry.
            passed: presets that named this one.

        Returns:
            The name of the preset that holds the settings, and these.

        Raises:
            ConfigError: a preset that is named does not exist or has no such entry, or they name
                each other in a circle.
        """
        key, path = ".".join(keys), (*passed, name)
        if name in passed:
            raise ConfigError(f"presets: {key} is named in a circle: {' → '.join(path)}")
        try:
            value = lookup(self.document(name), key)
        except ConfigError as error:
            asking = self.folder / f"{passed[-1] if passed else name}.yaml"
            found = _in_file(error, self.folder / f"{name}.yaml")
            raise ConfigError(f"{asking}: {key} = {name!r}: {found}") from error
        return self.find(value, keys, path) if isinstance(value, str) else (name, value)


def _in_file(error: ConfigError, path: Path) -> ConfigError:
    """The same message about another file than params.yaml."""
    return ConfigError(str(error).replace("params.yaml", str(path), 1))


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
    for name, config in _MAY_BE_ABSENT.items():
        if name in params:
            load_section(params, name, config)
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
        elif name == "build_interactions":
            update(document, name, section)
        else:
            replace(document, name, section)


def _merge_entries(document: CommentedMap, name: str, entries: Mapping[str, Any]) -> None:
    if not isinstance(document.get(name), CommentedMap):
        document[name] = CommentedMap()
    with comments_after(document[name]):
        for model, section in entries.items():
            replace(document[name], model, section)
