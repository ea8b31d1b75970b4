"""The graph of dvc.yaml: equal to DVC's own, templates filled in, the unknown refused."""

import ast
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dags import _stage_graph
from dags._stage_graph import (
    Stage,
    StageGraphError,
    load_graph,
    model_names,
    needed_for,
    resolve,
)
from pipeline_steps.nights import start_run

DvcGraph = Callable[[Path], tuple[set[str], set[tuple[str, str]]]]

PIPELINE = """
stages:
  prepare:
    desc: Everything at once
    cmd: python prepare.py --out data/a
    deps: [prepare.py]
    params: [seed]
    outs:
      - data/a
      - ./data/b/inner/table.csv: {persist: true}
    metrics: [reports/counts.json: {cache: false}]
    plots: [reports/curves/prepare.csv: {x: epoch}]
  train:
    foreach: ${models}
    do:
      desc: Fit ${key}
      cmd: >-
        python train.py
        --model ${key} --depth ${item.depth}
      deps: ["${item.uses[0]}", "${ item.uses[1] }"]
      outs: ["models/${key}"]
      meta: {resources: gpu}
  sibling: {cmd: echo, deps: [data/ab, models_old], outs: [data/c]}
  inside: {cmd: echo, deps: [data/a/part.csv], outs: [data/d]}
  around: {cmd: echo, deps: [data/b, models], outs: [data/e]}
  measured: {cmd: echo, deps: [reports/counts.json, reports/curves], outs: [data/f]}
"""
PARAMS = """
seed: 1
models:
  one: {depth: 3, uses: [code/one.py, data/a]}
  two: {depth: 0.5, uses: [code/two.py, data/d/x/../y]}
"""


@pytest.fixture
def project(make_project: Callable[[str, str], Path]) -> Path:
    return make_project(PIPELINE, PARAMS)


def test_graph_of_this_project_is_dvcs(project_root: Path, dvc_graph: DvcGraph) -> None:
    graph = load_graph(project_root)

    stages, edges = dvc_graph(project_root)
    assert {stage.name for stage in graph.stages} == stages
    assert graph.edges == edges


def test_whatever_a_command_is_told_to_read_or_write_is_declared(project_root: Path) -> None:
    # read by latent models alone, whose `uses` in params.yaml names it
    told_to_all = "data/item_clusters"
    undeclared = {
        (stage.name, path)
        for stage in load_graph(project_root).stages
        for path in stage.command.split()
        if path.startswith(("data/", "models/", "reports/")) and path != told_to_all
        if not any(
            PurePosixPath(path).is_relative_to(known) or PurePosixPath(known).is_relative_to(path)
            for known in (*stage.deps, *stage.outs)
        )
    }
    assert undeclared == set()


def test_graph_of_every_form_is_dvcs(project: Path, dvc_graph: DvcGraph) -> None:
    graph = load_graph(project)

    stages, edges = dvc_graph(project)
    assert {stage.name for stage in graph.stages} == stages
    assert graph.edges == edges
    # and DVC's is what the paths say
    assert graph.edges == {
        ("prepare", "train@one"),
        ("inside", "train@two"),
        ("prepare", "inside"),
        ("prepare", "around"),
        ("train@one", "around"),
        ("train@two", "around"),
        ("prepare", "measured"),
    }


def test_templates_are_filled_in(project: Path) -> None:
    stages = {stage.name: stage for stage in load_graph(project).stages}

    assert stages["train@two"] == Stage(
        name="train@two",
        command="python train.py --model two --depth 0.5",
        deps=("code/two.py", "data/d/x/../y"),
        outs=("models/two",),
        resources="gpu",
        queue=None,
        timeout_minutes=None,
        retries=None,
        desc="Fit two",
    )
    assert " ".join(stages["prepare"].outs) == (
        "data/a ./data/b/inner/table.csv reports/counts.json reports/curves/prepare.csv"
    )
    assert stages["prepare"].resources == "cpu"


def test_stages_keep_the_order_of_the_file(project: Path) -> None:
    names = [stage.name for stage in load_graph(project).stages]

    assert names[:3] == ["prepare", "train@one", "train@two"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${key + 1}", r"\$\{key \+ 1\} is not a template that the DAG understands"),
        ("${}", "is not a template that the DAG understands"),
        ("${item.uses[-1]}", "is not a template that the DAG understands"),
        ("${nothing}", r"\$\{nothing\} has no 'nothing' \(found: key, item\)"),
        ("${item.use[0]}", r"has no 'use' \(found: uses, none, flag\)"),
        ("${item.uses[2]}", r"has no '2'"),
        ("${key.uses}", r"has no 'uses' \(found: 'ease'\)"),
        ("${item.uses}", r"\$\{item.uses\} is \['a', 'b'\], expected text or a number"),
        ("${item.none}", "is None, expected text or a number"),
        ("${item.flag}", "is True, expected text or a number"),
    ],
)
def test_templates_that_lead_nowhere_are_refused(template: str, message: str) -> None:
    context = {"key": "ease", "item": {"uses": ["a", "b"], "none": None, "flag": True}}

    with pytest.raises(StageGraphError, match="^here: .*" + message):
        resolve(f"before {template} after", context, "here")


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("vars: [a.yaml]\nstages: {}", "dvc.yaml uses vars"),
        ("stages: [a]", "dvc.yaml: stages is"),
        ("[]", "dvc.yaml is"),
        ("stages: {", "dvc.yaml is not valid YAML"),
        ("stages: {a: {cmd: x, wdir: sub}}", "stage a uses wdir"),
        ("stages: {a: {matrix: {m: [1]}, cmd: x}}", "stage a uses matrix"),
        ("stages: {a: {cmd: [x, y]}}", "stage a: cmd is"),
        ("stages: {a: {outs: [b]}}", "stage a: cmd is None"),
        ("stages: {a: {cmd: x, deps: b}}", "stage a: deps is 'b'"),
        ("stages: {a: {cmd: x, outs: [[b]]}}", r"stage a: outs holds \['b'\]"),
        ("stages: {a: {foreach: [x], do: {cmd: y}}}", "stage a: foreach is"),
        ("stages: {a: {foreach: '${none}', do: {cmd: y}}}", "has no 'none'"),
        ("stages: {a: {foreach: '${models}'}}", "stage a: do is None"),
        ("stages: {a: {foreach: '${models}', do: {cmd: y}, cmd: z}}", "stage a uses cmd"),
    ],
)
def test_pipelines_that_are_not_understood_are_refused(
    tmp_path: Path, pipeline: str, message: str
) -> None:
    (tmp_path / "dvc.yaml").write_text(pipeline)
    (tmp_path / "params.yaml").write_text("models: {one: {}}")

    with pytest.raises(StageGraphError, match=message):
        load_graph(tmp_path)


@pytest.mark.parametrize("missing", ["dvc.yaml", "params.yaml"])
def test_missing_file_is_named(project: Path, missing: str) -> None:
    (project / missing).unlink()

    with pytest.raises(StageGraphError, match=f"{missing} is missing"):
        load_graph(project)


paths = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(paths, max_size=4), st.lists(paths, max_size=4))
def test_an_edge_is_where_one_path_holds_the_other(deps: list[str], outs: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        stages = {
            "writes": {"cmd": "true", "outs": [f"./{out}" for out in outs]},
            "reads": {"cmd": "true", "deps": [f"x/../{dep}" for dep in deps]},
        }
        (project / "dvc.yaml").write_text(json.dumps({"stages": stages}))
        (project / "params.yaml").write_text("{}")

        edges = load_graph(project).edges

    pairs = [(PurePosixPath(dep), PurePosixPath(out)) for dep in deps for out in outs]
    overlap = any(dep.is_relative_to(out) or out.is_relative_to(dep) for dep, out in pairs)
    assert edges == ({("writes", "reads")} if overlap else set())


def test_needed_for_is_all_that_leads_to_a_stage(project: Path) -> None:
    graph = load_graph(project)

    part = needed_for(graph, "train@one")

    assert [stage.name for stage in part.stages] == ["prepare", "train@one"]
    assert part.edges == {("prepare", "train@one")}
    with pytest.raises(StageGraphError, match="no stage nothing; known: "):
        needed_for(graph, "nothing")


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{resources: tpu}", "meta.resources is 'tpu', expected cpu or gpu"),
        ("{retries: many}", "meta.retries is 'many', expected a whole number"),
        ("{pool: gpu}", "meta uses pool"),
    ],
)
def test_meta_is_checked(tmp_path: Path, meta: str, message: str) -> None:
    (tmp_path / "dvc.yaml").write_text(f"stages: {{a: {{cmd: x, meta: {meta}}}}}")
    (tmp_path / "params.yaml").write_text("{}")

    with pytest.raises(StageGraphError, match=message):
        load_graph(tmp_path)


def test_helper_needs_only_what_airflow_has() -> None:
    tree = ast.parse(Path(_stage_graph.__file__).read_text())
    imported: set[Any] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])

    assert imported <= {*sys.stdlib_module_names, "yaml"}


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [" "],
        ["ease", "diffrec"],
        ["ease diffrec"],
        ["ease,diffrec"],
        ["ease "],
        [" ease,", ",diffrec\n", "slim\tials"],
    ],
)
def test_models_are_split_as_start_run_splits_them(texts: list[str]) -> None:
    names = start_run.model_names(" ".join(texts))  # as the task's template joins them
    assert model_names(texts) == names
    assert not any(set(name) & set(" ,\n\t") for name in names)
