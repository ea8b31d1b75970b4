"""A preset changes its own sections of params.yaml, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from diffrec_core.errors import ConfigError
from diffrec_core.models.diffrec.model import DiffRecConfig
from diffrec_core.models.registry import create
from pipeline_steps import _presets
from pipeline_steps.use_preset import use

PROJECT = Path(__file__).resolve().parents[2]
PARAMS = PROJECT / "params.yaml"
NAMES = list(_presets.preset_names())
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


def parse(text: str) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe").load(text)
    return values


def model_config(preset: str, model: str) -> DiffRecConfig:
    section = parse((PROJECT / "presets" / f"{preset}.yaml").read_text())["train"][model]
    config = create(section, model).config
    assert isinstance(config, DiffRecConfig)
    return config


def published() -> list[tuple[str, str, dict[str, str]]]:
    lines = [line.split() for line in PUBLISHED.strip().splitlines()]
    return [
        (preset, model, dict(re.findall(r"([a-z]+)([\d.e\[\],-]+)(?:_|$)", name)))
        for preset, model, name in lines
    ]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text())
    return path


def apply(name: str, params: Path, folder: Path = _presets.PRESETS) -> str:
    use(name, params, folder, dry_run=False)
    return params.read_text()


def test_the_presets_that_are_promised_exist_and_say_what_they_are() -> None:
    promised = {
        f"{data}-{kind}" for data in ("ml-1m", "amazon-book", "yelp") for kind in ("clean", "noisy")
    }
    assert set(NAMES) == promised | {"ml-100k", "ml-1m-tuned"}
    for description in _presets.preset_names().values():
        assert 10 < len(description) < 80


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_accepted_and_leaves_all_else_as_it_is(name: str, params: Path) -> None:
    text = apply(name, params)

    before, after = parse(PARAMS.read_text()), parse(text)
    preset = parse((PROJECT / "presets" / f"{name}.yaml").read_text())
    assert after == {**before, **preset, "train": {**before["train"], **preset["train"]}}
    assert re.findall("#.*", text) == re.findall("#.*", PARAMS.read_text())
    for head, tail in (("", "pretrain_item_embeddings:"), ("\nevaluate:", r"\Z")):
        kept = re.compile(f"{head}.*?{tail}", re.DOTALL)
        assert kept.search(text).group() == kept.search(PARAMS.read_text()).group()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stays_of_the_preset_before(name: str, params: Path, tmp_path: Path) -> None:
    alone = apply(name, params)
    other = tmp_path / "other.yaml"
    other.write_text(PARAMS.read_text())
    apply("yelp-noisy" if name != "yelp-noisy" else "ml-100k", other)

    assert apply(name, other) == alone
    written = other.stat()
    assert apply(name, other) == alone
    assert other.stat() == written  # nothing to change, so nothing is written


def test_ml_100k_is_what_params_yaml_comes_with() -> None:
    preset = parse((PROJECT / "presets" / "ml-100k.yaml").read_text())
    params = parse(PARAMS.read_text())
    differences = _presets.changes({name: params[name] for name in preset}, preset)
    assert not differences, (
        "presets/ml-100k.yaml must hold the settings of params.yaml: copy pretrain_item_embeddings,"
        f" cluster_items and train from params.yaml into it. It differs in {differences}"
    )


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


@pytest.mark.parametrize("preset", [name for name in NAMES if name.endswith(("clean", "noisy"))])
@pytest.mark.parametrize("model", VARIANTS)
def test_what_the_authors_leave_to_defaults_is_the_same_here(preset: str, model: str) -> None:
    config = model_config(preset, model)
    latent = model.startswith("l")
    expected = AUTHORS_DEFAULTS | (AUTHORS_LATENT_DEFAULTS if latent else {})
    assert {key: getattr(config, key) for key in expected} == expected
    assert (config.latent, config.fix_first_beta) == (latent, not latent)
    assert (config.recency.kind == "none") == ("t_" not in model)


def test_a_dry_run_writes_nothing(params: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="pipeline"):
        use("ml-1m-clean", params, _presets.PRESETS, dry_run=True)
    assert params.read_text() == PARAMS.read_text()
    assert "train.l_diffrec.diffusion_loss_weight: 0.03 (added)" in caplog.text


SMALL_PRESET = """\
# for a test
pretrain_item_embeddings: {epochs: 3}
cluster_items:
  n_clusters: 5
train:
  ease:
    kind: ease
    recency: {kind: linear}
  diffrec:
    hidden_dims: [4]
    kind: diffrec
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one preset, `small`."""
    (tmp_path / "small.yaml").write_text(SMALL_PRESET)
    return tmp_path


def test_comments_and_models_of_the_user_stay(folder: Path) -> None:
    params = folder / "my params"
    params.write_text("""\
# mine
pretrain_item_embeddings: {layers: 3}

cluster_items:
  iterations: 7   # goes, with its key
  # so does this, which stands below it

# the models
train:            # all of them
  ease:           # strong
    kind: ease    # in closed form
    l2: 10.0
    recency:
      kind: linear
      weight_min: 0.5

  # mine alone
  other:
    kind: popularity
# the end of train

seed: 3   # the last
""")

    assert (
        apply("small", params, folder)
        == """\
# mine
pretrain_item_embeddings: {epochs: 3}

cluster_items:
  n_clusters: 5
  # so does this, which stands below it

# the models
train:            # all of them
  ease:           # strong
    kind: ease    # in closed form
    recency: {kind: linear}

  # mine alone
  other:
    kind: popularity
  diffrec:
    hidden_dims: [4]
    kind: diffrec
# the end of train

seed: 3   # the last
"""
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_clusters", "clusters", r"small\.yaml: cluster_items\.clusters is not a known key"),
        ("n_clusters: 5", "n_clusters: 0", r"small\.yaml: cluster_items\.n_clusters = 0"),
        ("hidden_dims", "hidden_dim", r"train\.diffrec\.hidden_dim .*did you mean 'hidden_dims'"),
        ("kind: diffrec", "kind: bert", r"kind = 'bert' is not a known model"),
        ("cluster_items", "cluster_item", r"small\.yaml: cluster_item is not a known section"),
        ("cluster_items:\n  n_clusters: 5\n", "", r"small\.yaml: cluster_items is missing"),
        ("  ease:", "  ease: 1\n  t_ease:", r"train\.ease must be a mapping, found 1"),
        ("# for a test", "x: [", r"small\.yaml is not valid YAML"),
    ],
)
def test_a_mistake_in_a_preset_is_named_and_nothing_is_written(
    old: str, new: str, message: str, folder: Path, params: Path
) -> None:
    (folder / "small.yaml").write_text(SMALL_PRESET.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        apply("small", params, folder)
    assert params.read_text() == PARAMS.read_text()


def test_a_mistake_in_params_yaml_is_named_and_nothing_is_written(params: Path) -> None:
    params.write_text(PARAMS.read_text().replace("\nruntime:", "\nrun_time:"))
    with pytest.raises(ConfigError, match=r"run_time is not a known section.*'runtime'"):
        apply("ml-1m-clean", params)
    params.write_text(PARAMS.read_text() + "  x: [\n")
    with pytest.raises(ConfigError, match=r"params\.yaml is not valid YAML"):
        apply("ml-1m-clean", params)
    with pytest.raises(ConfigError, match=r"nowhere\.yaml is missing"):
        apply("ml-1m-clean", params.with_name("nowhere.yaml"))


def test_an_unknown_name_is_answered_with_the_known_ones(params: Path) -> None:
    with pytest.raises(ConfigError, match=r"no preset 'ml-1m'; known: amazon-book-clean, .*yelp"):
        apply("ml-1m", params)
    with pytest.raises(ConfigError, match=r"no preset '\.\./params'"):
        apply("../params", params)


def run_command(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline_steps.use_preset", *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_command(params: Path) -> None:
    listed = run_command("--list")
    assert [line.split()[0] for line in listed.stdout.splitlines() if line[0] != " "] == NAMES
    used = run_command("ml-1m-clean", "--params", str(params))
    assert used.returncode == 0
    assert "train.diffrec.steps: 5 → 40" in used.stderr
    assert parse(params.read_text())["train"]["diffrec"]["steps"] == 40
    nameless = run_command()
    assert nameless.returncode == ConfigError.exit_code
    assert "name a preset; known: amazon-book-clean" in nameless.stderr


def test_make_run_takes_a_preset() -> None:
    command = ["make", "--dry-run", "run"]
    plain = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "use_preset" not in plain.stdout
    chosen = subprocess.run(
        [*command, "PRESET=yelp-clean"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert 'pipeline_steps.use_preset "yelp-clean"' in chosen.stdout
