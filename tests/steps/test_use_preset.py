"""Presets and values put over params.yaml: what changes, what stays, and what comes back."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from diffrec_core.common.errors import ConfigError
from pipeline_steps.params import overlay, set_params, use_preset
from pipeline_steps.params.overlay import change, leaves
from pipeline_steps.params.presets import PRESETS, preset_names, read_preset
from tests.raw_logs import REPOSITORY
from tests.steps.registries import call

PARAMS = REPOSITORY / "params.yaml"
NAMES = list(preset_names())


def parse(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe").load(path)
    return values


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text())
    return path


def use(params: Path, *arguments: str) -> str:
    done = call(use_preset, *arguments, "--params", params)
    assert done.returncode == 0, done.stderr
    return params.read_text()


def comments(text: str) -> list[str]:
    return re.findall("#.*", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_changes_its_keys_and_keeps_comments_and_all_else(name: str, params: Path) -> None:
    before = parse(params)
    text = use(params, name)
    after = parse(params)
    assert after.pop("preset")["name"] == name
    assert list(after) == list(before)
    overlay = read_preset(name).overlay
    assert {key for key in after if after[key] != before[key]} <= set(overlay)
    set_by_it = {key: value for key, value in leaves(overlay) if value != {}}
    assert set_by_it.items() <= dict(leaves(after)).items()
    assert comments(text) == comments(PARAMS.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stays_of_the_preset_before(name: str, params: Path, tmp_path: Path) -> None:
    alone = use(params, name)
    other = tmp_path / "other.yaml"
    other.write_text(PARAMS.read_text())
    use(other, "yelp-noisy" if name != "yelp-noisy" else "ml-1m-tuned")
    assert use(other, name) == alone
    stamp = other.stat()
    assert use(other, name) == alone
    assert other.stat() == stamp  # nothing to change, so nothing is written


@pytest.mark.parametrize("name", NAMES)
def test_off_brings_back_what_was_there_before(name: str, params: Path) -> None:
    use(params, name)
    use(params, "--off")
    assert params.read_text() == PARAMS.read_text()


def test_tuned_settings_lie_over_the_preset_that_they_were_tuned_with(
    params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "reports" / "tuning" / "ease"
    study.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    of_groceries = parse(PRESETS / "groceries.yaml")
    use(params, "groceries")
    for l2 in (3.0, 4.0):
        (study / "preset.yaml").write_text(f"# t\ntrain: {{ease: {{l2: {l2}}}}}\n")
        use(params, "tuned")
        now = parse(params)
        assert now["list_raw"]["logs"] == of_groceries["list_raw"]["logs"]
        assert now["split"]["test_share"] == of_groceries["split"]["test_share"]
        assert now["train"]["ease"]["l2"] == l2
    use(params, "--off")
    assert params.read_text() == PARAMS.read_text()


def test_values_that_a_person_has_changed_meanwhile_stay(params: Path) -> None:
    use(params, "ml-1m-clean")
    assert call(set_params, "recommend.k=3", "--params", params).returncode == 0
    use(params, "--off")
    assert parse(params)["recommend"]["k"] == 3
    assert parse(params)["train"] == parse(PARAMS)["train"]


def test_a_dry_run_writes_nothing(params: Path) -> None:
    done = call(use_preset, "ml-1m-clean", "--dry-run", "--params", params)
    assert "train.diffrec.steps: 5 → 40" in done.stderr
    assert params.read_text() == PARAMS.read_text()


def test_models_without_settings_for_the_data_set_are_named(params: Path) -> None:
    done = call(use_preset, "amazon-book-clean", "--params", params)
    (line,) = [line for line in done.stderr.splitlines() if "settings not chosen" in line]
    assert {"sasrec", "t_item_knn"} <= set(re.findall(r"\w+", line.partition("clean:")[2]))
    assert "diffrec" not in line.partition("clean:")[2].split(", ")


def test_a_file_may_stand_for_a_preset(params: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# mine\nbase: ml-1m-clean\ntrain: {ease: {l2: 3.0}}\n")
    (tmp_path / "base.yaml").write_text("# b\n")
    use(params, str(file))
    assert parse(params)["train"]["ease"]["l2"] == 3.0
    assert parse(params)["train"]["diffrec"]["steps"] == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster_items: {clusters: 2}", r"cluster_items\.clusters is not a known key"),
        ("cluster_items: {n_clusters: 0}", r"cluster_items\.n_clusters = 0"),
        ("train: {ease: {kind: bert}}", r"kind = 'bert' is not a known model"),
        ("train: {ease: {l: 1.0}}", r"train\.ease\.l is not a known key"),
        ("train: {ease: 1}", r"train\.ease must be a mapping, found 1"),
        ("cluster_item: {}", r"preset .*bad.*: cluster_item is not a known section"),
        ("base: nobody", r"there is no preset 'nobody'; known: amazon-book-clean, "),
        ("x: [", r"bad\.yaml is not valid YAML"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(
    text: str, message: str, params: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(f"# bad\n{text}\n")
    done = call(use_preset, str(bad), "--params", params)
    assert done.returncode == ConfigError.exit_code
    assert re.search(message, done.stderr), done.stderr
    assert params.read_text() == PARAMS.read_text()


def test_presets_that_are_each_others_base_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# a\nbase: b\n")
    (tmp_path / "b.yaml").write_text("# b\nbase: a\n")
    with pytest.raises(ConfigError, match="a → b → a"):
        read_preset("a", tmp_path)


def test_without_a_name_the_known_ones_are_told(params: Path) -> None:
    done = call(use_preset, "--params", params)
    assert done.returncode == ConfigError.exit_code
    assert "name a preset, or --off; known: amazon-book-clean" in done.stderr
    listed = call(use_preset, "--list", "--params", params)
    assert [line.split()[0] for line in listed.stdout.splitlines() if line[0] != " "] == NAMES


def test_new_keys_stand_within_their_section(tmp_path: Path) -> None:
    """The parser hangs the comment before the next section on the last key of this one."""
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text())
    change(path, {"train": {"diffrec": {"dropout": 0.25}, "ease": {"recency": {"kind": "linear"}}}})
    lines = path.read_text().splitlines()
    here = lines.index("    dropout: 0.25")
    assert "  t_diffrec:" in lines[here:]
    assert "  diffrec:" in lines[:here]
    assert comments(path.read_text()) == comments(PARAMS.read_text())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.ease.l2", "expected KEY=VALUE"),
        ("train.ease.l2=[", "the value is not valid YAML"),
        ("train.ease.l2=-1.0", r"train.ease.l2 = -1.0"),
        ("nothing=1", "nothing is not a known section"),
    ],
)
def test_set_refuses_what_is_not_allowed(text: str, message: str, params: Path) -> None:
    done = call(set_params, text, "--params", params)
    assert done.returncode == ConfigError.exit_code
    assert message in done.stderr
    assert params.read_text() == PARAMS.read_text()


def test_dvc_reads_texts_that_are_written(params: Path) -> None:
    text = "s3://bucket/x y, z?"
    change(
        params, {"list_raw": {"logs": [text, text]}, "preset": {"name": "x", "before": {"k": text}}}
    )
    written = parse_yaml(params.read_text(), str(params))
    assert written["list_raw"]["logs"] == [text, text]
    assert written["preset"]["before"] == {"k": text}
    assert parse(params)["list_raw"]["logs"] == [text, text]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = TEXTS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)
MAPPINGS = st.dictionaries(TEXTS, VALUES, max_size=3)


@given(text=TEXTS, values=st.lists(VALUES, max_size=3), mapping=MAPPINGS)
@example("1:20", ["a:b", "0?", "null", "~"], {"kind": "package.module:Class", "a: b": "- x"})
@example("\x85", ["#", "[", "a, b"], {"{": "}"})
def test_dvc_reads_whatever_is_written(
    text: str, values: list[Any], mapping: dict[str, Any]
) -> None:
    content = {"text": text, "values": values, "mapping": mapping, "nested": [mapping, [values]]}
    document = CommentedMap({key: overlay._styled(value) for key, value in content.items()})
    written = io.StringIO()
    overlay._yaml().dump(document, written)
    assert parse_yaml(written.getvalue(), "params.yaml") == content
