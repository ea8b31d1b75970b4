"""The fits of the benchmark: what there is to fit, what has been, and the rows that remain of it.

A row is the result of one fit. It is kept under a key, the hash of all that it depends on: code,
data, settings, protocol and seed. A fit whose key is among the rows is not run again.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_json, sha256_json, write_json
from diffrec_core.common.errors import ConfigError
from diffrec_core.models.kinds import implementation
from pipeline_steps.runtime.command import repository_root

Row = dict[str, Any]

SETTINGS = {"authors": "ml-1m-clean", "ours": "ml-1m-tuned"}
"""The preset that a setting stands for."""
EMBEDDINGS = ("ours", "published")
PRECISIONS = ("float32", "bfloat16")

_SHARED = ("data", "evaluation", "training", "config.py", "rng.py", "models/*.py")
_LIGHTGCN = ("embedding",)
_ITEM_ITEM = ("models/item_item",)
_FACTORS = ("models/baselines/factors.py",)
_AUTOENCODER = ("models/autoencoder",)
_BY_KIND = {
    "popularity": ("models/baselines/popularity.py",),
    "item_knn": ("models/baselines/item_knn.py", *_ITEM_ITEM),
    "rp3beta": ("models/baselines/rp3beta.py", *_ITEM_ITEM),
    "gf_cf": ("models/baselines/gf_cf.py", *_ITEM_ITEM),
    "slim": ("models/baselines/slim.py", *_ITEM_ITEM),
    "ials": ("models/baselines/ials.py", *_FACTORS),
    "bpr_mf": ("models/baselines/bpr_mf.py", *_FACTORS),
    "ease": ("models/baselines/ease.py",),
    "mult_vae": ("models/baselines/mult_vae.py", *_AUTOENCODER),
    "mult_dae": ("models/baselines/mult_dae.py", *_AUTOENCODER),
    "lightgcn": ("models/baselines/lightgcn.py", *_LIGHTGCN),
    "sasrec": ("models/baselines/sasrec.py", "models/sequential"),
    "irgan": ("models/baselines/irgan.py", "models/adversarial"),
    "diffrec": ("models/diffrec", "diffusion", *_LIGHTGCN),
    "pretrain": _LIGHTGCN,
}
_HARNESS = ("_fit.py", "_ml1m.py")


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit.

    Attributes:
        model: its entry under `train` in the presets.
        setting: whose settings, `authors` or `ours`.
        protocol: `A` or `C`.
        seed: of everything random in it.
        embeddings: where a latent model's item clusters come from, `ours` (LightGCN, trained
            here) or `published`; empty for other models.
        sections: the sections of the preset that it depends on: `model`, and for latent models
            `cluster_items` and `pretrain_item_embeddings`.
        data: fingerprint of the split and, where it is used, of the published embeddings.
        precision: put over the preset's, and in `sections` too; empty: as in the preset.
        device: type of the device, `cpu` or `cuda`: what `auto` is depends on it.
    """

    model: str
    setting: str
    protocol: str
    seed: int
    embeddings: str
    sections: Mapping[str, Any]
    data: str
    precision: str = ""
    device: str = "cpu"

    @property
    def label(self) -> Row:
        """What tells its row from the others."""
        always = ("model", "setting", "protocol", "seed", "device")
        some = [name for name in ("embeddings", "precision") if getattr(self, name)]
        return {name: getattr(self, name) for name in (*always, *some)}

    @property
    def name(self) -> str:
        """What it is called on a terminal."""
        source = f", {self.embeddings} embeddings" if self.embeddings else ""
        source += f", {self.precision}" if self.precision else ""
        return f"{self.model} ({self.setting}{source}) {self.protocol} seed {self.seed}"

    @property
    def key(self) -> str:
        """Hash of all that its row depends on. Equal settings of different names share it."""
        parts = {**asdict(self), "code": code_hash(self.sections["model"]["kind"])}
        del parts["setting"]
        for name, default in (("precision", ""), ("device", "cpu")):
            if parts[name] == default:  # so that rows from before there was a choice stay valid
                del parts[name]
        return sha256_json(parts)

    @property
    def pretrain_key(self) -> str:
        """Hash of all that the LightGCN embeddings for it depend on."""
        return sha256_json(
            {
                "config": self.sections["pretrain_item_embeddings"],
                "protocol": self.protocol,
                "seed": self.seed,
                "data": self.data,
                "code": code_hash("pretrain"),
                **({"device": self.device} if self.device != "cpu" else {}),
            }
        )


def plan(
    presets: Mapping[str, Mapping[str, Any]],
    *,
    models: Sequence[str],
    protocols: Iterable[str],
    seeds: Iterable[int],
    embeddings: Mapping[str, str],
    split: str,
    precisions: Sequence[str] = ("",),
    device: str = "cpu",
) -> list[Fit]:
    """List the fits that are asked for, the first seed first.

    Models that need times are left out, for the split has none.

    Args:
        presets: the plain content of each setting's preset.
        models: entries under `train`; empty for all.
        protocols: `A`, `C` or both.
        seeds: one fit each.
        embeddings: fingerprint of each source of item embeddings that is wanted.
        split: fingerprint of the split.
        precisions: one fit each, of models that have a choice; an empty one: as in the preset.
        device: that fits run on.

    Raises:
        ConfigError: a model is not in the presets or needs times, or none has such a precision.
    """
    entries = [(name, section) for p in presets.values() for name, section in p["train"].items()]
    known = list(dict.fromkeys(name for name, section in entries if not _needs_times(section)))
    _require_known(models, known, [name for name, _ in entries])
    fits = []
    for seed, chosen, model in product(seeds, protocols, models or known):
        for setting, preset in presets.items():
            for source, precision, told in _variants(preset, model, embeddings, precisions):
                data = split + (embeddings[source] if source else "")
                fit = (model, setting, chosen, seed, source, told, data, precision, device)
                fits.append(Fit(*fit))
    if not fits and any(precisions):
        raise ConfigError(f"PRECISION: none of {', '.join(models or known)} has a choice of it")
    return fits


def _require_known(models: Iterable[str], known: Sequence[str], all_names: Sequence[str]) -> None:
    for name in models:
        if name not in known:
            why = "needs times, and the split has none" if name in all_names else "has no settings"
            raise ConfigError(f"MODELS: {name!r} {why} in these presets; known: {', '.join(known)}")


def _needs_times(section: Mapping[str, Any]) -> bool:
    """Whether a model asks how old an interaction is, in days."""
    recency = section.get("recency") or {}
    return bool(section.get("half_life_days")) or recency.get("kind") == "exponential_age"


def _in_precision(sections: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """The sections with that precision; none if the model has no choice of it."""
    if not precision:
        return dict(sections)
    model = sections["model"]
    if "precision" not in implementation(model["kind"]).Config.model_fields:
        return {}
    return {**sections, "model": {**model, "precision": precision}}


def _variants(
    preset: Mapping[str, Any], model: str, embeddings: Iterable[str], precisions: Sequence[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Source of embeddings, precision and sections of each fit that a preset asks for."""
    if model in preset["train"] and not _needs_times(preset["train"][model]):
        for source, sections in _sources(preset, model, embeddings):
            for precision in precisions:
                if told := _in_precision(sections, precision):
                    yield source, precision, told


def _sources(
    preset: Mapping[str, Any], model: str, embeddings: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sections that a model depends on, by where its embeddings come from."""
    sections = {"model": preset["train"][model]}
    if not sections["model"].get("latent"):
        yield "", sections
        return
    sections["cluster_items"] = preset["cluster_items"]
    for source in embeddings:
        name = "pretrain_item_embeddings"
        yield source, {**sections, name: preset[name]} if source == "ours" else sections


def code_hash(kind: str) -> str:
    """Hash of the code that a kind of model runs, comments and docstrings aside."""
    library, here = repository_root() / "diffrec_core", Path(__file__).parent
    patterns = [*_SHARED, *_BY_KIND.get(kind, ("**/*.py",))]
    files = {file for pattern in patterns for file in _python_files(library, pattern)}
    files |= {here / name for name in _HARNESS}
    return sha256_json([_code(file, file.stat().st_mtime_ns) for file in sorted(files)])


def _python_files(folder: Path, pattern: str) -> Iterator[Path]:
    for path in folder.glob(pattern):
        yield from path.rglob("*.py") if path.is_dir() else [path]


@cache  # the time of modification is there for it
def _code(path: Path, modified: int) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class Rows:
    """The rows of finished fits, in a JSON file that is complete at any time.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Row]:
        """All rows; none before the first fit."""
        rows: list[Row] = read_json(self.path) if self.path.exists() else []
        return rows

    def find(self, fit: Fit) -> Row | None:
        """The row of a fit, or of one that differs in the setting's name alone."""
        key = fit.key
        row = next((row for row in self.read() if row["key"] == key), None)
        return {**row, **fit.label} if row else None

    def add(self, row: Row) -> None:
        """Keep a row in the place of an earlier one of the same label."""
        others = [other for other in self.read() if label(other) != label(row)]
        write_json(self.path, sorted([*others, row], key=lambda row: str(label(row))))


def label(row: Row) -> tuple[Any, ...]:
    """What tells a row from others."""
    names = ("protocol", "model", "setting", "embeddings", "precision", "seed")
    return *(row.get(name, "") for name in names), row.get("device", "cpu")
