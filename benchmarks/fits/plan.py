"""The fits of the benchmark and what each depends on."""

import ast
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks import ml1m
from benchmarks.ml1m import PROTOCOLS, Split
from benchmarks.results import Row
from diffrec_core.common.artifacts import canonical_json, sha256_file, sha256_json
from diffrec_core.common.errors import ConfigError
from diffrec_core.models.kinds import create, implementation
from pipeline_steps.runtime.command import repository_root
from pipeline_steps.runtime.fitting import CODE

SETTINGS: Final = {"authors": "ml-1m-clean", "ours": "ml-1m-tuned"}
"""The preset of each setting."""
EMBEDDINGS: Final = ("ours", "published")
PRETRAINING: Final = "pretrain_item_embeddings"
LABEL: Final = ("protocol", "model", "setting", "embeddings", "precision", "device", "seed")
"""The columns that identify a row."""

Sections = Mapping[str, Any]


def device() -> torch.device:
    """Where fits run: CUDA, made deterministic, if there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda")


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit.

    Attributes:
        model: its entry under `train`.
        setting: whose settings, a key of SETTINGS.
        sections: `model` and, for item clusters, `cluster_items` and `pretrain_item_embeddings`.
        data: fingerprint of what it reads.
        embeddings: the source of item clusters, one of EMBEDDINGS; empty for models without.
        precision: if it was asked for, instead of the setting's.
        protocol: `A` or `C`.
        seed: of everything random in it.
        device: type of the device, `cpu` or `cuda`.
    """

    model: str
    setting: str
    sections: Sections
    data: str
    embeddings: str = ""
    precision: str = ""
    protocol: str = ""
    seed: int = 0
    device: str = field(default_factory=lambda: device().type)

    @property
    def label(self) -> Row:
        """The values that identify its row."""
        return {name: getattr(self, name) for name in LABEL}

    @property
    def name(self) -> str:
        """The label for a terminal."""
        return " ".join(str(value) for value in self.label.values() if value != "")

    @property
    def key(self) -> str:
        """Hash of all that its row depends on. Equal settings of different names share it."""
        pretraining = ["lightgcn"] if self.embeddings == "ours" else []
        code = code_hash(self.sections["model"]["kind"], *pretraining)
        return sha256_json({**asdict(self), "setting": "", "code": code})

    @property
    def pretraining_key(self) -> str:
        """Hash of all that our item embeddings for it depend on."""
        same = {name: getattr(self, name) for name in ("protocol", "seed", "data", "device")}
        config, code = self.sections[PRETRAINING], code_hash("lightgcn")
        return sha256_json({**same, "config": config, "code": code})


@cache
def code_hash(*kinds: str) -> str:
    """Hash what a fit of these kinds depends on: their families, and what all models share."""
    shared = [repository_root() / path for path in CODE if not path.endswith("models/kinds.py")]
    benchmark = [Path(ml1m.__file__), Path(__file__).with_name("fitting.py")]
    own = [Path(inspect.getfile(implementation(kind))) for kind in kinds]
    families = [file if file.parent.name == "models" else file.parent for file in own]
    files = {
        file
        for path in [*shared, *benchmark, *families]
        for file in (path.rglob("*.py") if path.is_dir() else [path])
    }
    # as syntax trees: comments and layout do not count
    return sha256_json([ast.dump(ast.parse(file.read_bytes())) for file in sorted(files)])


def plan(
    settings: Mapping[str, Sections],
    split: Split,
    *,
    models: Sequence[str] = (),
    seeds: Sequence[int] = (1, 2, 3),
    protocols: Sequence[str] = tuple(PROTOCOLS),
    embeddings: Sequence[str] = EMBEDDINGS,
    precisions: Sequence[str] = (),
) -> list[Fit]:
    """List the fits that are asked for, the first seed first.

    A model that needs times is left out, for the split has none; so is one whose settings are
    those of an earlier setting, for its row would be the same.

    Args:
        settings: the sections of params.yaml of each setting.
        split: the data.
        models: entries under `train`; empty: all.
        seeds: of everything random in a fit.
        protocols: `A`, `C` or both.
        embeddings: sources of item clusters; published ones if there are any.
        precisions: of models that have a choice; empty: as in the settings.

    Raises:
        ConfigError: a model is unknown or needs times, or none has a choice of precision.
    """
    entries = [entry for sections in settings.values() for entry in sections["train"].items()]
    known = dict.fromkeys(model for model, section in entries if not _needs_times(section))
    if unknown := [model for model in models if model not in known]:
        why = "have no settings, or need times, which the split does not have"
        raise ConfigError(f"MODELS: {', '.join(unknown)} {why}; known: {', '.join(known)}")
    data = dict.fromkeys(("", *embeddings), split.fingerprint)
    if data.pop("published", None) and split.embeddings:
        data["published"] = split.fingerprint + sha256_file(split.embeddings)
    variants: dict[str, Fit] = {}
    for model, setting, source, precision in product(
        models or known, settings, data, precisions or [""]
    ):
        if sections := _sections(settings[setting], model, source, precision):
            fit = Fit(model, setting, sections, data[source], source, precision)
            variants.setdefault(canonical_json([model, sections]), fit)
    if not variants:
        raise ConfigError(f"PRECISION: none of {', '.join(models or known)} has a choice of it")
    return [
        replace(fit, protocol=protocol, seed=seed)
        for seed, protocol, fit in product(seeds, protocols, variants.values())
    ]


def _needs_times(section: Sections) -> bool:
    recency = section.get("recency") or {}
    return bool(section.get("half_life_days")) or recency.get("kind") == "exponential_age"


def _sections(settings: Sections, model: str, source: str, precision: str) -> Sections:
    """The sections that a fit depends on; none if the model has no such variant."""
    entry = settings["train"].get(model)
    if entry is None or _needs_times(entry):
        return {}
    recommender = create(entry, f"train.{model}")
    section = recommender.config.model_dump(mode="json")
    has_variant = recommender.needs_item_clusters == bool(source)
    if not has_variant or (precision and "precision" not in section):
        return {}
    sections = {"model": {**section, "precision": precision} if precision else section}
    if source:
        sections["cluster_items"] = settings["cluster_items"]
    if source == "ours":
        sections[PRETRAINING] = settings[PRETRAINING]
    return sections
