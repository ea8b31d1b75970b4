"""From the `kind` of a configuration to the class that implements it.

Implementations are imported when asked for: a stage that trains one model loads, and in dvc.yaml
depends on, that model's code only.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diffrec_core.common.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    import torch

    from diffrec_core.models.base import ModelConfig, Recommender

_FAMILIES: Final[Mapping[str, str]] = {
    "popularity": "popularity:Popularity",
    "item_knn": "item_item.item_knn:ItemKnn",
    "rp3beta": "item_item.rp3beta:Rp3Beta",
    "gf_cf": "item_item.gf_cf:GfCf",
    "slim": "item_item.slim:Slim",
    "ease": "item_item.ease:Ease",
    "ials": "factorisation.ials:Ials",
    "bpr_mf": "factorisation.bpr_mf:BprMf",
    "mult_vae": "autoencoder.model:MultVae",
    "mult_dae": "autoencoder.model:MultDae",
    "lightgcn": "lightgcn.model:LightGCN",
    "sasrec": "sasrec.model:SasRec",
    "irgan": "irgan.model:Irgan",
    "diffrec": "diffrec.model:DiffRec",
}

KINDS: Final = tuple(_FAMILIES)
"""The short names."""


def implementation(kind: str) -> "type[Recommender]":
    """Return the class for a kind.

    Raises:
        ConfigError: there is none, or it is not a model.
    """
    from diffrec_core.models.base import Recommender  # noqa: PLC0415  # it loads torch

    module, _, name = kind.rpartition(":")
    if kind in _FAMILIES:
        module, _, name = f"diffrec_core.models.{_FAMILIES[kind]}".partition(":")
    elif not module or not name:
        raise ConfigError(
            f"kind = {kind!r} is not a known model; known: {', '.join(KINDS)}, "
            f"or package.module:Class"
        )
    try:
        model = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"kind = {kind!r}: {error}. Is its folder on PYTHONPATH, or its package installed?"
        ) from error
    if not (isinstance(model, type) and issubclass(model, Recommender)):
        raise ConfigError(f"kind = {kind!r}: {model!r} is not a subclass of Recommender")
    return model


def parse_config(section: Any, key: str) -> "ModelConfig":
    """Read a section of params.yaml as the configuration of its kind.

    Args:
        section: the values, `kind` among them.
        key: where they stand, for messages, such as ``train.diffrec``.

    Raises:
        ConfigError: `kind` is missing or unknown, or a value is not allowed.
    """
    kind = section.get("kind") if isinstance(section, Mapping) else None
    if not isinstance(kind, str):
        raise ConfigError(f"params.yaml: {key}.kind is required; known: {', '.join(KINDS)}")
    return implementation(kind).Config.parse(section, key)


def build(config: "ModelConfig", device: "torch.device | None" = None) -> "Recommender":
    """Build an unfitted model from its configuration, to run on a device."""
    return implementation(config.kind)(config, device)


def create(
    section: Mapping[str, Any], key: str, device: "torch.device | None" = None
) -> "Recommender":
    """Build an unfitted model from its section of params.yaml; see `parse_config`, `build`."""
    return build(parse_config(section, key), device)


def load(directory: Path, device: "torch.device | None" = None) -> "Recommender":
    """Load a model directory, whatever kind it is.

    Raises:
        ArtifactError: see `Recommender.load`; or its kind is not known here.
    """
    from diffrec_core.models.base import read_description  # noqa: PLC0415  # it loads torch

    kind = read_description(directory)["config"]["kind"]
    try:
        model = implementation(kind)
    except ConfigError as error:
        raise ArtifactError(
            f"{directory} holds a model of kind {kind!r}, unknown to this version: {error}"
        ) from error
    return model.load(directory, device)
