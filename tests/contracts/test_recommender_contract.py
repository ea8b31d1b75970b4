"""The contract that every model keeps, whatever it is made of."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffrec_core.common.errors import ArtifactError, DataError, NotFittedError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.ranking import NO_ITEM, rank, rank_task
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.kinds import KINDS as OUR_KINDS
from diffrec_core.models.kinds import create, implementation, load
from diffrec_core.serving import RecommendationService
from diffrec_core.training.trainer import TrainingOptions
from tests.devices import DEVICES
from tests.planted import (
    HALF_ITEMS,
    HALF_USERS,
    HELD_OUT,
    N_ITEMS,
    N_USERS,
    planted_data,
    planted_interactions,
    planted_task,
)

_DIFFUSION = {
    "kind": "diffrec",
    "hidden_dims": [16],
    "steps": 3,
    "noise_scale": 1.0,
    "noise_min": 0.01,
    "noise_max": 0.2,
    "fix_first_beta": False,
    "batch_size": 20,
    "epochs": 100,
    "learning_rate": 0.01,
    "vae_learning_rate": 0.01,
    "encoder_dims": [8],
}
_LINEAR = {"kind": "linear", "weight_min": 0.0, "weight_max": 1.0}
_AUTOENCODER = {
    "hidden_dims": [16],
    "latent_dim": 8,
    "batch_size": 20,
    "epochs": 40,
    "learning_rate": 0.01,
}
_LIGHTGCN = {"kind": "lightgcn", "embedding_dim": 8, "batch_size": 64, "epochs": 40}
_SASREC = {
    "kind": "sasrec",
    "max_length": 10,
    "embedding_dim": 16,
    "blocks": 1,
    "batch_size": 20,
    "learning_rate": 0.01,
    "epochs": 15,
}
_IRGAN = {
    "kind": "irgan",
    "embedding_dim": 8,
    "discriminator_dim": 4,
    "batch_size": 20,
    "learning_rate": 0.02,
    "discriminator_learning_rate": 0.1,
    "pretrain_epochs": 10,
    "epochs": 15,
}

MODELS: dict[str, dict[str, object]] = {
    "popularity": {"kind": "popularity"},
    "popularity_recent": {"kind": "popularity", "half_life_days": 3.0},
    "item_knn": {"kind": "item_knn", "neighbours": 5},  # few: a sparse matrix in memory
    "item_knn_recent": {
        "kind": "item_knn",
        "similarity": "jaccard",
        "recency": {"kind": "exponential_position"},
    },
    "rp3beta": {"kind": "rp3beta"},
    "gf_cf": {"kind": "gf_cf", "factors": 2},
    "slim": {"kind": "slim", "l1": 1.0, "l2": 10.0},
    "ials": {"kind": "ials", "factors": 8, "l2": 1.0},
    "ials_recent": {"kind": "ials", "factors": 8, "l2": 1.0, "recency": _LINEAR},
    "bpr_mf": {"kind": "bpr_mf", "factors": 8, "learning_rate": 0.1},
    "ease": {"kind": "ease", "l2": 10.0},
    "ease_recent": {"kind": "ease", "l2": 10.0, "recency": {"kind": "exponential_position"}},
    "mult_vae": {"kind": "mult_vae", **_AUTOENCODER, "kl_weight_anneal_steps": 400},
    "mult_vae_recent": {
        "kind": "mult_vae",
        **_AUTOENCODER,
        "kl_weight_anneal_steps": 400,
        "recency": {**_LINEAR, "weight_min": 0.1},
        "recency_in_training": False,
    },
    "mult_dae": {"kind": "mult_dae", **_AUTOENCODER, "hidden_dims": []},
    "mult_dae_denoised": {
        "kind": "mult_dae",
        **_AUTOENCODER,
        "likelihood": "logistic",
        "denoising": {"kind": "truncated", "drop_rate_anneal_steps": 20},
    },
    "lightgcn": _LIGHTGCN,
    "sasrec": _SASREC,
    "sasrec_bce_recent": {**_SASREC, "loss": "bce", "recency": {"kind": "exponential_position"}},
    "irgan": _IRGAN,
    "irgan_recent": {**_IRGAN, "reward": "sigmoid", "recency": _LINEAR},
    "diffrec": _DIFFUSION,
    # noise can only be told from a whole input, through a layer that is wide enough for it
    "diffrec_epsilon": {
        **_DIFFUSION,
        "prediction_target": "epsilon",
        "dropout": 0.0,
        "hidden_dims": [64],
    },
    "diffrec_bfloat16": {**_DIFFUSION, "precision": "bfloat16"},
    "t_diffrec": {**_DIFFUSION, "recency": {**_LINEAR, "weight_min": 0.1}},
    "l_diffrec": {**_DIFFUSION, "latent": True},
    "lt_diffrec": {**_DIFFUSION, "latent": True, "recency": {**_LINEAR, "weight_min": 0.1}},
    "l_diffrec_deep": {**_DIFFUSION, "latent": True, "encoder_dims": [16, 8], "decoder_dims": [16]},
    "l_diffrec_bfloat16": {
        **_DIFFUSION,
        "latent": True,
        "encoder_dims": [16, 8],
        "precision": "bfloat16",
    },
    # noise at inference, in hidden space and in item space
    "diffrec_noised": {**_DIFFUSION, "inference_noise_steps": 2},
    "l_diffrec_noised": {**_DIFFUSION, "latent": True, "inference_noise_steps": 3},
    "diffrec_sampled": {**_DIFFUSION, "inference_noise_steps": 1, "sample_with_noise": True},
}


KINDS = (*OUR_KINDS, *os.environ.get("DIFFREC_TEST_MODELS", "").split())
"""Those of this project, and `module:Class` of others that are to keep the contract too."""


def _with_defaults(kind: str) -> dict[str, object]:
    """Settings of a kind that has none above: its defaults, for fewer epochs."""
    epochs = {"epochs": 40} if "epochs" in implementation(kind).Config.model_fields else {}
    return {"kind": kind, **epochs}


_COVERED = {section["kind"] for section in MODELS.values()}
MODELS |= {kind.split(":")[-1]: _with_defaults(kind) for kind in KINDS if kind not in _COVERED}


def reads_history(name: str) -> bool:
    return implementation(str(MODELS[name]["kind"])).reads_history


def fitted(
    name: str, data: TrainingData | None = None, seed: int = 3, device: str = "cpu"
) -> Recommender:
    model = create(MODELS[name], f"train.{name}", torch.device(device))
    model.fit(data or planted_data(), TrainingOptions(seed=seed, device=model.device))
    return model


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=DEVICES)
def model(name: str, request: pytest.FixtureRequest) -> Recommender:
    return fitted(name, device=request.param)


def test_scores_have_one_row_per_history_and_are_finite(model: Recommender) -> None:
    scores = model.score(planted_data().histories)
    assert scores.shape == (N_USERS, N_ITEMS)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()


def test_withheld_items_of_the_own_block_come_first(name: str, model: Recommender) -> None:
    if not reads_history(name):
        pytest.skip("popularity cannot tell the blocks apart; its own test is below")
    top = rank_task(model.score, planted_task(), HELD_OUT)
    block = (np.arange(N_USERS) >= HALF_USERS)[:, None]
    in_block = (top >= HALF_ITEMS) == block
    assert in_block.mean() > 0.97


def test_batch_and_single_scores_agree(model: Recommender) -> None:
    histories = planted_data().histories
    batch = model.score(histories)
    for row in (0, 41, N_USERS - 1):
        single = model.score(histories.take(np.array([row])))[0]
        torch.testing.assert_close(single, batch[row], rtol=1e-4, atol=1e-5)


def test_scoring_is_repeatable(model: Recommender) -> None:
    histories = planted_data().histories
    assert torch.equal(model.score(histories), model.score(histories))


def test_save_and_load_give_identical_scores(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = load(tmp_path, model.device)
    histories = planted_data().histories
    assert torch.equal(loaded.score(histories), model.score(histories))
    assert loaded.config == model.config
    assert loaded.training_window == model.training_window
    assert loaded.catalogue.items == model.catalogue.items
    assert loaded.n_parameters == model.n_parameters


def test_weights_have_no_row_per_user(model: Recommender, tmp_path: Path) -> None:
    """`erase-user` could not take somebody out of them."""
    model.save(tmp_path)
    shapes = [tensor.shape for tensor in load_file(tmp_path / "weights.safetensors").values()]
    assert not [shape for shape in shapes if N_USERS in shape]


def test_saving_twice_gives_the_same_bytes(model: Recommender, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        model.save(tmp_path / folder)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_same_seed_same_model_other_seed_other_model(name: str, model: Recommender) -> None:
    histories, device = planted_data().histories, str(model.device)
    again, other = fitted(name, device=device), fitted(name, seed=4, device=device)
    assert torch.equal(model.score(histories), again.score(histories))
    assert torch.equal(model.score(histories), other.score(histories)) != model.uses_seed


@pytest.mark.parametrize("name", [name for name, section in MODELS.items() if "epochs" in section])
def test_an_interrupted_training_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    epochs: list[int] = []

    def train(folder: str, stop_after: int | None) -> Recommender:
        def advance(epoch: int, note: str) -> None:
            epochs.append(epoch)
            if epoch == stop_after:
                raise InterruptedError

        model = create({**MODELS[name], "epochs": 14}, f"train.{name}")
        checkpoint = {"checkpoint": tmp_path / folder, "checkpoint_every_seconds": 0.0}
        model.fit(planted_data(), TrainingOptions(seed=3, advance=advance, **checkpoint))
        return model

    whole = train("whole", None)
    with pytest.raises(InterruptedError):
        train("interrupted", 12)  # in irgan's game, after its pre-training
    epochs.clear()
    resumed = train("interrupted", None)
    assert 1 not in epochs
    histories = planted_data().histories
    assert torch.equal(whole.score(histories), resumed.score(histories))


def test_masked_items_are_never_recommended(model: Recommender) -> None:
    histories = planted_data().histories
    for rows, items, _ in rank(model.score, histories, N_ITEMS):
        for row, recommended in zip(rows, items, strict=True):
            seen = set(histories.take(np.array([row])).items.tolist())
            shown = [item for item in recommended.tolist() if item != NO_ITEM]
            assert not seen & set(shown)
            assert len(shown) == N_ITEMS - len(seen)


def test_an_empty_history_gets_what_is_popular(name: str, model: Recommender) -> None:
    scores = model.score(Histories.from_lists([[], [0, 1]]))
    assert scores[0].tolist() == model.catalogue.popularity.tolist()
    assert torch.equal(scores[0], scores[1]) == (name == "popularity")


def test_a_new_user_needs_no_retraining(name: str, model: Recommender) -> None:
    if not reads_history(name):
        pytest.skip("popularity is the same for everybody")
    scores = model.score(Histories.from_lists([[0, 1, 2, 3], [20, 21, 22, 23]]))
    assert scores[0, 4:HALF_ITEMS].mean() > scores[0, HALF_ITEMS:].mean()
    assert scores[1, HALF_ITEMS:20].mean() > scores[1, :HALF_ITEMS].mean()


def test_items_without_training_interactions_do_no_harm(name: str) -> None:
    data = planted_data()
    wider = type(data.items)((*data.items.ids, "never-seen-1", "never-seen-2"))
    clusters = np.append(np.repeat([0, 1], HALF_ITEMS), [0, 1])
    extended = TrainingData(histories=data.histories, items=wider, item_clusters=clusters)
    scores = fitted(name, extended).score(data.histories)
    assert scores.shape == (N_USERS, N_ITEMS + 2)
    assert torch.isfinite(scores).all()


def test_unknown_items_are_left_out_of_a_history(model: Recommender) -> None:
    service = RecommendationService(model, planted_interactions())
    known = service.for_items([["item-0", "item-1"]], N_ITEMS)
    assert service.for_items([["?", "item-0", "item-1", "!"]], N_ITEMS) == known
    assert service.for_items([["?"]], N_ITEMS)[0].source == "popularity"
    assert set(known[0].item_ids) == set(planted_data().items.ids) - {"item-0", "item-1"}


def test_unfitted_models_refuse_to_work(name: str, tmp_path: Path) -> None:
    model = create(MODELS[name], f"train.{name}")
    with pytest.raises(NotFittedError, match="is not fitted"):
        model.score(planted_data().histories)
    with pytest.raises(NotFittedError):
        model.save(tmp_path)


def test_no_interactions_is_an_error(name: str) -> None:
    data = planted_data()
    empty = TrainingData(histories=Histories.from_lists([[], []]), items=data.items)
    with pytest.raises(DataError, match="no interaction"):
        create(MODELS[name], f"train.{name}").fit(empty)


def test_corrupt_weights_are_refused(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path)
    weights = tmp_path / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors is corrupt"):
        load(tmp_path)


def test_a_missing_file_is_named(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path)
    (tmp_path / "items.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"items\.parquet is missing"):
        load(tmp_path)


def test_an_unknown_schema_is_refused(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, "schema": "model/99"}))
    with pytest.raises(ArtifactError, match="model/99"):
        load(tmp_path)


def test_popularity_ranks_by_count() -> None:
    data = TrainingData(
        histories=Histories.from_lists([[0, 1], [1, 2], [1]]), items=planted_data().items
    )
    model = create({"kind": "popularity"}, "train.popularity")
    model.fit(data)
    assert model.score(Histories.from_lists([[5]]))[0, :4].tolist() == [1.0, 3.0, 1.0, 0.0]


def test_latent_models_need_clusters() -> None:
    data = planted_data()
    without = TrainingData(histories=data.histories, items=data.items)
    with pytest.raises(DataError, match="item clusters"):
        create(MODELS["l_diffrec"], "train.l_diffrec").fit(without)
