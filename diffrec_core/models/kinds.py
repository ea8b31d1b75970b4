"""From the `kind` of a configuration to the class that implements it.

Implementations are imported when asked for, not before: a stage that trains one model loads, and
in dvc.yaml depends on, that model's code only.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch

from diffrec_core.common.config import parse
from diffrec_core.common.errors import ArtifactError, ConfigError
from diffrec_core.models.base import Recommender, read_description

_IMPLEMENTATIONS: Final[Mapping[str, str]] = {
    "popularity": "diffrec_core.models.popularity:Popularity",
    "item_knn": "diffrec_core.models.item_item.item_knn:ItemKnn",
    "rp3beta": "diffrec_core.models.item_item.rp3beta:Rp3Beta",
    "gf_cf": "diffrec_core.models.item_item.gf_cf:GfCf",
    "slim": "diffrec_core.models.item_item.slim:Slim",
    "ials": "diffrec_core.models.factorisation.ials:Ials",
    "bpr_mf": "diffrec_core.models.factorisation.bpr_mf:BprMf",
    "ease": "diffrec_core.models.item_item.ease:Ease",
    "mult_vae": "diffrec_core.models.autoencoder.mult_vae:MultVae",
    "mult_dae": "diffrec_core.models.autoencoder.mult_dae:MultDae",
    "lightgcn": "diffrec_core.models.lightgcn.model:LightGCN",
    "sasrec": "diffrec_core.models.sasrec.model:SasRec",
    "irgan": "diffrec_core.models.irgan.model:Irgan",
    "diffrec": "diffrec_core.models.diffrec.model:DiffRec",
}

KINDS: Final = tuple(_IMPLEMENTATIONS)


def implementation(kind: str) -> type[Recommender]:
    """Return the class for a kind.

    Raises:
        ConfigError: there is none.
    """
    if kind not in _IMPLEMENTATIONS:
        raise ConfigError(f"kind = {kind!r} is not a known model; known: {', '.join(KINDS)}")
    module, name = _IMPLEMENTATIONS[kind].split(":")
    found: type[Recommender] = getattr(import_module(module), name)
    return found


def create(section: Mapping[str, Any], key: str, device: torch.device | None = None) -> Recommender:
    """Build an unfitted model from its section of params.yaml.

    Args:
        section: the values, `kind` among them.
        key: where they stand, for messages, such as ``train.diffrec``.
        device: where the model is to run.

    Raises:
        ConfigError: `kind` is missing or unknown, or a value is not allowed.
    """
    kind = section.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(f"params.yaml: {key}.kind is required; known: {', '.join(KINDS)}")
    model_class = implementation(kind)
    return model_class(parse(section, key, model_class.Config), device)


def load(directory: Path, device: torch.device | None = None) -> Recommender:
    """Load a model directory, whatever kind it is.

    Raises:
        ArtifactError: see `Recommender.load`; or its kind is not known here.
    """
    kind = read_description(directory)["config"]["kind"]
    if kind not in _IMPLEMENTATIONS:
        raise ArtifactError(f"{directory} holds a model of kind {kind!r}, unknown to this version")
    return implementation(kind).load(directory, device)
