"""Which fits the benchmark on the paper's split is made of, and what makes them stale."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.fits.plan import SETTINGS, Fit, code_hash, plan
from benchmarks.ml1m import Split, load_split
from benchmarks.settings import read_settings
from diffrec_core.common.errors import ConfigError
from diffrec_core.models.kinds import KINDS

Settings = dict[str, dict[str, Any]]


@pytest.fixture
def split(data: Path) -> Split:
    return load_split(data)


def test_equal_settings_are_fitted_once(settings: Settings, split: Split) -> None:
    fits = plan(settings, split, seeds=[1, 2], protocols=["C"], embeddings=["ours"])
    assert [(fit.seed, fit.model, fit.setting) for fit in fits] == [
        (seed, *which)
        for seed in (1, 2)
        for which in (
            ("popularity", "authors"),
            ("ease", "authors"),
            ("ease", "ours"),
            ("diffrec", "authors"),
            ("l_diffrec", "authors"),
        )
    ]


def test_settings_that_need_times_are_left_out(settings: Settings, split: Split) -> None:
    settings["ours"]["train"]["ease"]["recency"] = {"kind": "exponential_age"}
    fits = plan(settings, split, models=["ease"], seeds=[1], protocols=["A"])
    assert [fit.setting for fit in fits] == ["authors"]


def test_latent_models_take_both_embeddings(settings: Settings, data: Path, split: Split) -> None:
    def sources(split: Split) -> set[tuple[str, tuple[str, ...]]]:
        fits = plan(settings, split, models=["l_diffrec"])
        return {(fit.embeddings, tuple(fit.sections)) for fit in fits}

    sections = ("model", "cluster_items")
    ours = ("ours", (*sections, "pretrain_item_embeddings"))
    assert sources(split) == {ours, ("published", sections)}
    (data / "reference_item_embeddings.npy").unlink()
    assert sources(load_split(data)) == {ours}


def test_precisions_are_fits_of_models_that_have_a_choice(settings: Settings, split: Split) -> None:
    precisions = ["float32", "bfloat16"]
    models = ["ease", "diffrec"]
    fits = plan(settings, split, models=models, seeds=[1], protocols=["A"], precisions=precisions)
    assert [(fit.model, fit.precision) for fit in fits] == [("diffrec", p) for p in precisions]
    assert [fit.sections["model"]["precision"] for fit in fits] == precisions


def test_every_model_of_params_yaml_that_needs_no_times_is_planned(split: Split) -> None:
    settings = {name: read_settings(preset) for name, preset in SETTINGS.items()}
    fits = plan(settings, split, seeds=[1], protocols=["A"])
    assert {fit.sections["model"]["kind"] for fit in fits} == set(KINDS)
    models = settings["authors"]["train"]
    assert {fit.model for fit in fits} == set(models) - {"recent_popularity"}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"models": ["ase"]}, r"MODELS: ase have no settings, or need times.*: popularity, ease"),
        ({"models": ["recent"]}, r"MODELS: recent have no settings, or need times"),
        ({"models": ["ease"], "precisions": ["float32"]}, "PRECISION: none of ease has a choice"),
    ],
)
def test_choices_that_cannot_be_fitted_are_refused(
    choices: dict[str, Any], message: str, settings: Settings, split: Split
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(settings, split, **choices)


def test_a_key_depends_on_all_but_the_name_of_the_settings(
    settings: Settings, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(**choices: Any) -> Fit:
        chosen = {"models": ["l_diffrec"], "seeds": [1], "protocols": ["C"], **choices}
        return plan(settings, split, **chosen)[0]

    fits = [
        first(),
        first(seeds=[2]),
        first(protocols=["A"]),
        first(embeddings=["published"]),
        first(precisions=["bfloat16"]),
    ]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.use_deterministic_algorithms", lambda on: None)
    fits.append(first())
    monkeypatch.undo()
    settings["authors"]["cluster_items"] = {"n_clusters": 3}
    fits.append(first())
    assert len({fit.key for fit in fits}) == len(fits)
    assert len({tuple(fit.label.values()) for fit in fits}) == len(fits) - 1  # but for the clusters

    del settings["authors"]["train"]["l_diffrec"]
    settings["ours"]["cluster_items"] = {"n_clusters": 3}
    assert first().key == fits[-1].key

    settings["ours"]["pretrain_item_embeddings"]["epochs"] = 7
    assert first().pretraining_key != fits[-1].pretraining_key


def test_of_the_models_only_the_family_counts() -> None:
    assert code_hash("ease") == code_hash("slim") != code_hash("diffrec")
    assert code_hash("diffrec") != code_hash("diffrec", "lightgcn")
    assert code_hash("popularity") != code_hash("ease")
