"""What the presets of the project hold: the authors' settings, and some for every model."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from diffrec_core.models.diffrec.model import DiffRecConfig
from diffrec_core.models.kinds import parse_config
from pipeline_steps.params import presets
from pipeline_steps.params.root import Params

PROJECT = Path(__file__).resolve().parents[2]
PARAMS = PROJECT / "params.yaml"
NAMES = list(presets.preset_names())
BY_THE_AUTHORS = [
    name
    for name in NAMES
    if name.startswith(("ml-1m", "amazon-book", "yelp")) and name != "ml-1m-tuned"
]
VARIANTS = ("diffrec", "t_diffrec", "l_diffrec", "lt_diffrec")

# The names of the authors' checkpoints (preset, model, name), as far as they state settings.
PUBLISHED = """
amazon-book-clean diffrec lr5e-05_wd0.0_bs400_dims[1000]_emb10_steps5_scale0.0001_min0.0005_max0.005
yelp-clean diffrec lr1e-05_wd0.0_bs400_dims[1000]_emb10_steps5_scale0.01_min0.001_max0.01
ml-1m-clean diffrec lr0.001_wd0.0_bs400_dims[200,600]_emb10_steps40_scale0.005_min0.005_max0.01
amazon-book-noisy diffrec lr5e-05_wd0.0_bs400_dims[1000]_emb10_steps10_scale0.005_min0.0001_max0.0005
yelp-noisy diffrec lr1e-05_wd0.0_bs400_dims[1000]_emb10_steps5_scale0.001_min0.0005_max0.01
ml-1m-noisy diffrec lr0.001_wd0.0_bs400_dims[200,600]_emb10_steps5_scale0.5_min0.001_max0.01
amazon-book-clean t_diffrec lr1e-05_wd0.0_bs400_dims[1000]_emb10_steps10_scale0.0005_min0.001_max0.005_wmin0.1_wmax1.0
yelp-clean t_diffrec lr1e-05_wd0.0_bs400_dims[1000]_emb10_steps5_scale0.005_min0.001_max0.01_wmin0.5_wmax1.0
amazon-book-clean l_diffrec vae0.0005_lr0.0001_wd0.0_bs400_in[300]_out[]_lam0.05_dims[300]_emb10_steps5_scale0.5_min0.001_max0.005
yelp-clean l_diffrec vae0.0005_lr0.0001_wd0.0_bs400_in[300]_out[]_lam0.03_dims[300]_emb10_steps5_scale0.01_min0.005_max0.01
ml-1m-clean l_diffrec vae0.001_lr0.0005_wd0.0_bs400_in[300]_out[]_lam0.03_dims[300]_emb10_steps40_scale0.005_min0.005_max0.02
amazon-book-noisy l_diffrec vae0.0005_lr0.0001_wd0.0_bs400_in[300]_out[]_lam0.07_dims[300]_emb10_steps5_scale0.5_min0.001_max0.005
yelp-noisy l_diffrec vae0.0005_lr0.0001_wd0.0_bs400_in[300]_out[]_lam0.03_dims[300]_emb10_steps5_scale0.01_min0.005_max0.01
ml-1m-noisy l_diffrec vae0.001_lr0.0005_wd0.0_bs400_in[300]_out[]_lam0.03_dims[300]_emb10_steps100_scale0.005_min0.005_max0.02
amazon-book-clean lt_diffrec vae0.0005_lr0.0001_wd0.0_bs400_in[300]_out[]_lam0.03_dims[300]_emb10_steps5_scale0.7_min0.001_max0.005_wmin0.1_wmax1.0
yelp-clean lt_diffrec vae0.0005_lr5e-05_wd0.0_bs200_in[300]_out[]_lam0.03_dims[300]_emb10_steps5_scale0.01_min0.005_max0.01_wmin0.5_wmax1.0
"""  # noqa: E501
FIELDS = {
    "vae": "vae_learning_rate",
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "in": "encoder_dims",
    "out": "decoder_dims",
    "lam": "diffusion_loss_weight",
    "dims": "hidden_dims",
    "emb": "timestep_embedding_dim",
    "steps": "steps",
    "scale": "noise_scale",
    "min": "noise_min",
    "max": "noise_max",
}

# What the authors' code does unless told otherwise, in all their published runs.
AUTHORS_DEFAULTS: dict[str, Any] = {
    "prediction_target": "x_start",
    "noise_schedule": "linear-var",
    "inference_noise_steps": 0,
    "sample_with_noise": False,
    "timestep_sampling": "importance",
    "loss_history_length": 10,
    "snr_weighting": True,
    "dropout": 0.5,
    "activation": "tanh",
    "normalize_input": False,
    "epochs": 1000,
    "validate_every_epochs": 5,
    "patience_epochs": 20,
}
AUTHORS_LATENT_DEFAULTS: dict[str, Any] = {
    "vae_activation": "tanh",
    "vae_dropout": 0.1,
    "diffusion_loss_weight_floor": 0.005,
    "diffusion_loss_weight_anneal_epochs": 500,
    "kl_weight_max": 0.3,
    "kl_weight_anneal_steps": 200,
}


@cache
def values_of(preset: str) -> dict[str, Any]:
    """All of params.yaml with the preset over it."""
    params = YAML(typ="safe").load(PARAMS)
    return presets.merged(params, presets.read_preset(preset).overlay)


def model_config(preset: str, model: str) -> DiffRecConfig:
    config = parse_config(values_of(preset)["train"][model], model)
    assert isinstance(config, DiffRecConfig)
    return config


def published() -> list[tuple[str, str, dict[str, str]]]:
    lines = [line.split() for line in PUBLISHED.strip().splitlines()]
    return [
        (preset, model, dict(re.findall(r"([a-z]+)([\d.e\[\],-]+)(?:_|$)", name)))
        for preset, model, name in lines
    ]


def test_the_presets_that_are_promised_exist_and_say_what_they_are() -> None:
    promised = {
        f"{data}-{kind}" for data in ("ml-1m", "amazon-book", "yelp") for kind in ("clean", "noisy")
    }
    promised |= {"ml-100k", "ml-100k-noisy", "ml-1m-tuned", "groceries"}
    assert set(NAMES) == promised | {"ml-1m-natural-noise", "ml-1m-random-noise"}
    for description in presets.preset_names().values():
        assert 10 < len(description) < 80


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_over_params_yaml_is_accepted(name: str) -> None:
    params = Params.parse_all(values_of(name))
    assert set(params.robustness.models) <= set(params.train)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_names_what_differs_alone(name: str) -> None:
    below = YAML(typ="safe").load(PARAMS)
    own = YAML(typ="safe").load(PROJECT / "presets" / f"{name}.yaml")
    if base := own.pop("base", None):
        below = presets.merged(below, presets.read_preset(base).overlay)
    own.pop("build_interactions", None)  # which events count is said in any case
    same = [key for key, value in _leaves(own) if value == _lookup(below, key)]
    assert same == []


def _leaves(values: dict[str, Any], prefix: tuple[str, ...] = ()) -> Any:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def _lookup(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key, "absent") if isinstance(values, dict) else "absent"
    return values


@pytest.mark.parametrize(("preset", "model", "name"), published())
def test_the_settings_are_those_that_the_authors_publish(
    preset: str, model: str, name: dict[str, str]
) -> None:
    config = model_config(preset, model)
    recency = {key: name.pop(key) for key in ("wmin", "wmax") if key in name}
    for key, value in name.items():
        found, expected = getattr(config, FIELDS[key]), YAML(typ="safe").load(value)
        assert (list(found) if isinstance(found, tuple) else found) == expected, FIELDS[key]
    if recency:
        assert config.recency.kind == "linear"
        assert config.recency.weight_min == float(recency["wmin"])
        assert config.recency.weight_max == float(recency["wmax"])


@pytest.mark.parametrize("preset", BY_THE_AUTHORS)
@pytest.mark.parametrize("model", VARIANTS)
def test_what_the_authors_leave_to_defaults_is_the_same_here(preset: str, model: str) -> None:
    config = model_config(preset, model)
    latent = model.startswith("l")
    expected = AUTHORS_DEFAULTS | (AUTHORS_LATENT_DEFAULTS if latent else {})
    assert {key: getattr(config, key) for key in expected} == expected
    assert (config.latent, config.fix_first_beta) == (latent, not latent)
    assert (config.recency.kind == "none") == ("t_" not in model)
