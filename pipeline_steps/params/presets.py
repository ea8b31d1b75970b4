"""Presets: the settings that are known for a data set, as far as they differ from params.yaml.

A preset is `presets/<name>.yaml`: a first comment line that describes it, and sections with the
keys that differ. `base: NAME` puts it over another preset. Models that it does not name have no
settings chosen for its data set; `model: {}` says that those of params.yaml were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

from diffrec_core.common.config import check_sections
from diffrec_core.common.errors import ConfigError
from pipeline_steps.runtime.command import repository_root
from pipeline_steps.runtime.sections import read_params

PRESETS: Final = repository_root() / "presets"
TUNED: Final = Path("reports/tuning")
"""Folder in which `tune` writes a preset for each model."""
SECTIONS: Final = frozenset(
    {
        "list_raw",
        "ingest",
        "build_interactions",
        "split",
        "pretrain_item_embeddings",
        "cluster_items",
        "train",
        "recommend",
        "robustness",
    }
)
"""Sections that a preset may hold: those about the data set, the models and the noise, not about
the registry, the nights or the machine."""


@dataclass(frozen=True, slots=True)
class Preset:
    """The name of a preset's file, and the sections with the keys that it sets.

    Attributes:
        base: the preset that tuned settings lie over.
    """

    name: str
    overlay: Mapping[str, Any]
    base: str | None = None

    @property
    def models(self) -> frozenset[str]:
        """The models whose settings were chosen for its data set."""
        return frozenset(self.overlay.get("train") or {})


def preset_names(folder: Path = PRESETS) -> dict[str, str]:
    """Every preset's name with its one-line description, in the order of their names."""
    files = sorted(folder.glob("*.yaml"))
    return {file.stem: file.read_text(encoding="utf-8").partition("\n")[0][2:] for file in files}


def read_preset(name: str, folder: Path = PRESETS, above: tuple[str, ...] = ()) -> Preset:
    """Read a preset, put over its base.

    Args:
        name: of a preset in the folder, `tuned`, or the path of a file (`*.yaml`).
        folder: of the presets.
        above: the presets that have this one as their base.

    Raises:
        ConfigError: there is none of that name, it holds an unknown section, or presets are each
            other's base.
    """
    if name == "tuned":
        return read_tuned()
    if name in above:
        raise ConfigError(f"presets are each other's base: {' → '.join((*above, name))}")
    sections = read_params(_path(name, folder))
    base = sections.pop("base", None)
    try:
        check_sections(sections, SECTIONS)
    except ConfigError as error:
        raise ConfigError(str(error).replace("params.yaml", f"preset {name}", 1)) from error
    if base is not None:
        sections = merged(read_preset(base, folder, (*above, name)).overlay, sections)
    return Preset(Path(name).stem, sections)


def read_tuned(folder: Path = TUNED) -> Preset:
    """The results of all tuning studies together.

    Raises:
        ConfigError: there are none.
    """
    files = sorted(folder.glob("*/preset.yaml"))
    if not files:
        raise ConfigError(f"{folder} holds no results: `make tune` writes them")
    return Preset("tuned", reduce(merged, (read_preset(str(file)).overlay for file in files), {}))


def over(preset: Preset, base: str | None, folder: Path = PRESETS) -> Preset:
    """Put tuned settings over the preset with which they were found, if it is one of the folder."""
    if base not in preset_names(folder):
        return preset
    below = read_preset(str(base), folder).overlay
    return Preset(preset.name, merged(below, preset.overlay), base)


def _path(name: str, folder: Path) -> Path:
    if name.endswith(".yaml"):
        return Path(name)
    known = preset_names(folder)
    if name not in known:
        raise ConfigError(f"there is no preset {name!r}; known: {', '.join(known) or 'none'}")
    return folder / f"{name}.yaml"


def merged(values: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others put over them, mapping by mapping.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    result = dict(values)
    for key, value in overlay.items():
        inner = result.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            value = merged(inner, value)  # noqa: PLW2901
        result[key] = value
    return result
