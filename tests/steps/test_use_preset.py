"""A preset changes its own sections of params.yaml, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from diffrec_core.common.errors import ConfigError
from pipeline_steps.params import documents, presets
from pipeline_steps.params.use_preset import use

PROJECT = Path(__file__).resolve().parents[2]
PARAMS = PROJECT / "params.yaml"
NAMES = list(presets.preset_names())


def parse(text: str) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe").load(text)
    return values


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text())
    return path


def apply(name: str, params: Path, folder: Path = presets.PRESETS) -> str:
    use(name, params, folder, dry_run=False)
    return params.read_text()


def sections_of(text: str) -> dict[str, str]:
    """The text of each section of params.yaml, up to the name of the next."""
    parts = re.split(r"(?m)^(\w+):", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_accepted_and_leaves_all_else_as_it_is(name: str, params: Path) -> None:
    text = apply(name, params)

    before, after = parse(PARAMS.read_text()), parse(text)
    preset = presets.read_preset(name).values
    merged = {key: {**before[key], **preset[key]} for key in ("build_interactions", "train")}
    assert after == {**before, **preset, **merged}
    assert re.findall("#.*", text) == re.findall("#.*", PARAMS.read_text())
    kept, found = sections_of(PARAMS.read_text()), sections_of(text)
    assert list(found) == list(kept) == list(before)
    assert {key for key in found if found[key] != kept[key]} <= presets.PRESET_SECTIONS


@pytest.mark.parametrize("name", NAMES)
def test_noisy_presets_keep_low_ratings_and_others_leave_them_out(name: str, params: Path) -> None:
    apply("yelp-clean" if name.endswith("noisy") else "yelp-noisy", params)
    written = parse(params.read_text())["build_interactions"]
    written["event_types"] = ["rating"]
    text = params.read_text().replace("event_types: null", "event_types: [rating]")
    params.write_text(text)
    after = parse(apply(name, params))["build_interactions"]
    assert after == {**written, "min_value": None if name.endswith("noisy") else 4.0}


def test_the_papers_noise_experiments_are_those_of_the_robustness_step(params: Path) -> None:
    natural = parse(apply("ml-1m-natural-noise", params))
    assert natural["build_interactions"]["min_value"] == 4.0  # what is below it is the noise
    assert natural["robustness"]["natural"]
    assert natural["robustness"]["random_shares"] == []
    assert natural["train"]["diffrec"]["noise_scale"] == 0.5  # the authors', for noisy data
    random = parse(apply("ml-1m-random-noise", params))
    assert not random["robustness"]["natural"]
    assert random["robustness"]["random_shares"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert random["train"]["diffrec"]["noise_scale"] == 0.005
    assert {"ease", "diffrec", "l_diffrec"} <= set(random["robustness"]["models"])
    clean = parse(apply("ml-1m-clean", params))
    assert clean["robustness"]["models"] == []


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


def test_ml_100k_is_what_params_yaml_comes_with(params: Path) -> None:
    before = parse(PARAMS.read_text())
    differences = documents.changes(before, parse(apply("ml-100k", params)))
    assert not differences, (
        "presets/ml-100k.yaml must hold the settings of params.yaml: copy build_interactions."
        "min_value, pretrain_item_embeddings, cluster_items, train and robustness from params.yaml"
        f" into it. It differs in {differences}"
    )


def test_a_dry_run_writes_nothing(params: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="pipeline"):
        use("ml-1m-clean", params, presets.PRESETS, dry_run=True)
    assert params.read_text() == PARAMS.read_text()
    assert "train.l_diffrec.diffusion_loss_weight: 0.03 (added)" in caplog.text


def test_models_with_the_settings_of_another_data_set_are_named(
    params: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params.write_text(params.read_text().replace("\nmodels:", "\nmodels:\n  mine: {uses: []}"))
    with caplog.at_level("INFO", logger="pipeline"):
        use("amazon-book-clean", params, presets.PRESETS, dry_run=True)
    (mine, others) = [line for line in caplog.messages if line.startswith("with the settings")]
    assert mine.startswith("with the settings that params.yaml had before, not chosen for amazon-")
    assert mine.endswith(": mine")
    assert others.startswith("with the settings of ml-100k, not chosen for amazon-book-clean: ")
    assert {"slim", "bpr_mf", "mult_vae", "sasrec"} <= set(others.rpartition(": ")[2].split(", "))
    assert "diffrec" not in others
    caplog.clear()
    with caplog.at_level("INFO", logger="pipeline"):
        use("ml-100k", PARAMS, presets.PRESETS, dry_run=True)
    assert not [line for line in caplog.messages if line.startswith("with the settings")]


def test_noise_for_a_model_that_is_left_out_is_refused(params: Path) -> None:
    text = re.sub(r"\n  mult_vae: \{uses.*", "", PARAMS.read_text())
    params.write_text(text)
    with pytest.raises(ConfigError, match=r"random-noise .* not under `models` .*: mult_vae; put"):
        apply("ml-1m-random-noise", params)
    assert params.read_text() == text


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
        ("  ease:", "  ease: other\n  t_ease:", r"small\.yaml: train\.ease = 'other': there is no"),
        ("  ease:", "  ease: small\n  t_ease:", r"train\.ease is named in a circle: small → small"),
        (
            "cluster_items:",
            "robustness: {shares: []}\ncluster_items:",
            r"robustness\.shares is not",
        ),
        (
            "cluster_items:",
            "build_interactions: {min_value: low}\ncluster_items:",
            r"min_value = 'lo",
        ),
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


def test_settings_are_found_through_other_presets(folder: Path, params: Path) -> None:
    (folder / "first.yaml").write_text(
        "# one\npretrain_item_embeddings: {epochs: 3}\ncluster_items: second\ntrain:\n"
        "  ease: second\n  diffrec: small\n"
    )
    second = (folder / "small.yaml").read_text().replace("# for a test", "# two")
    second = second.replace("ease:\n    kind: ease\n    recency: {kind: linear}", "ease: small")
    (folder / "second.yaml").write_text(second.replace("n_clusters: 5", "n_clusters: 6"))
    preset = presets.read_preset("first", folder)
    assert preset.origins == {"ease": "small", "diffrec": "small"}
    assert preset.values["cluster_items"] == {"n_clusters": 6}
    assert preset.values["train"]["ease"] == {"kind": "ease", "recency": {"kind": "linear"}}
    assert parse(apply("first", params, folder))["train"]["diffrec"]["hidden_dims"] == [4]

    (folder / "second.yaml").write_text(second.replace("ease: small", "other: small"))
    missing = r"first\.yaml: train\.ease = 'second': .*second\.yaml: train\.ease is missing"
    with pytest.raises(ConfigError, match=missing):
        presets.read_preset("first", folder)


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
    command = [sys.executable, "-m", "pipeline_steps", "use-preset", *options]
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
    assert 'pipeline_steps use-preset "yelp-clean"' in chosen.stdout
