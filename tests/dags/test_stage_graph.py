"""The graph of dvc.yaml: DVC's own, stored for the DAGs, and replaced when out of date."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import _stage_graph
import pytest
from dvc.repo import Repo
from dvc.repo.index import Index

from diffrec_core.common import errors
from pipeline_steps import shared
from pipeline_steps.nights import stage_graph
from pipeline_steps.shared import Stage

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
      cmd:
        - python train.py --model ${key} --depth ${item.depth}
        - echo done
      deps: ["${item.uses[0]}", "${ item.uses[1] }"]
      outs: ["models/${key}"]
      meta: {resources: gpu, queue: big, retries: 5, timeout_minutes: 90, reads_lock: true}
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
EDGES = {
    ("prepare", "train@one"),
    ("inside", "train@two"),
    ("prepare", "inside"),
    ("prepare", "around"),
    ("train@one", "around"),
    ("train@two", "around"),
    ("prepare", "measured"),
}


@pytest.fixture
def project(make_project: Callable[[str, str], Path]) -> Path:
    return make_project(PIPELINE, PARAMS)


def edges(stages: list[Stage]) -> set[tuple[str, str]]:
    return {(upstream, stage.name) for stage in stages for upstream in stage.upstream}


def test_graph_of_this_project_is_dvcs(project_root: Path, dvc_graph: DvcGraph) -> None:
    stages = stage_graph.stages_from_dvc(project_root)

    assert ({stage.name for stage in stages}, edges(stages)) == dvc_graph(project_root)


def test_graph_of_every_form_is_dvcs(project: Path, dvc_graph: DvcGraph) -> None:
    stages = stage_graph.stages_from_dvc(project)

    assert ({stage.name for stage in stages}, edges(stages)) == dvc_graph(project)
    assert edges(stages) == EDGES  # which is what the paths say


def test_a_dvc_yaml_in_another_folder_is_no_part_of_it(project: Path, dvc_graph: DvcGraph) -> None:
    (project / "studies").mkdir()
    study = "stages: {tune: {cmd: echo, deps: [../data/a], outs: [best.json]}}"
    (project / "studies" / "dvc.yaml").write_text(study)

    stages = stage_graph.stages_from_dvc(project)

    assert ({stage.name for stage in stages}, edges(stages)) == dvc_graph(project)
    assert edges(stages) == EDGES


def test_stages_are_resolved_in_the_order_of_the_file(project: Path) -> None:
    stages = stage_graph.stages_from_dvc(project)

    assert [stage.name for stage in stages[:3]] == ["prepare", "train@one", "train@two"]
    assert stages[2] == Stage(
        name="train@two",
        desc="Fit two",
        command="python train.py --model two --depth 0.5\necho done",
        upstream=["inside"],
        inputs=["data/d"],
        persisted=[],
        resources="gpu",
        queue="big",
        timeout_minutes=90,
        retries=5,
        reads_lock=True,
    )
    by_name = {stage.name: stage for stage in stages}
    assert by_name["prepare"].resources == "cpu"
    assert by_name["prepare"].persisted == ["data/b/inner/table.csv"]
    assert by_name["around"].inputs == ["data/b/inner/table.csv", "models/one", "models/two"]
    assert by_name["measured"].inputs == ["reports/counts.json", "reports/curves/prepare.csv"]


def test_every_path_on_a_command_line_is_declared(project_root: Path) -> None:
    # read by latent models alone, whose `uses` in params.yaml names it
    on_every_command_line = "data/item_clusters"
    with Repo(str(project_root)) as repo:
        undeclared = {
            (stage.name, path)
            for stage in Index.from_file(repo, str(project_root / "dvc.yaml")).stages
            for path in stage.cmd.split()
            if path.startswith(("data/", "models/", "reports/")) and path != on_every_command_line
            if not any(overlap(path, item.def_path) for item in (*stage.deps, *stage.outs))
        }
    assert undeclared == set()


def overlap(path: str, other: str) -> bool:
    return PurePosixPath(path).is_relative_to(other) or PurePosixPath(other).is_relative_to(path)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("stages: {", "YAML file structure is corrupted"),
        ("stages: {a: {outs: [b]}}", "required key not provided"),
        ("stages: {a: {foreach: '${none}', do: {cmd: y}}}", "Could not find 'none'"),
        ("stages: {a: {cmd: x, deps: [a], outs: [a]}}", "both a dependency and an output"),
        ("stages: {a: {cmd: x, meta: {resources: tpu}}}", r"meta.resources = 'tpu': input should"),
        ("stages: {a: {cmd: x, meta: {retries: many}}}", r"dvc.yaml: stages.a.meta.retries = 'man"),
        ("stages: {a: {cmd: x, meta: {timeout_minutes: 0}}}", "meta.timeout_minutes = 0"),
        ("stages: {a: {cmd: x, meta: {pool: gpu}}}", "meta.pool is not a known key"),
    ],
)
def test_what_dvc_or_a_dag_cannot_use_is_refused(
    make_project: Callable[[str, str], Path], pipeline: str, message: str
) -> None:
    project = make_project(pipeline, "models: {one: {}}")
    stored = project / shared.GRAPH_FILE

    with pytest.raises(errors.ConfigError, match=message):
        stage_graph.load_graph(project, stored)
    assert not stored.exists()


@pytest.mark.parametrize("missing", ["dvc.yaml", "params.yaml"])
def test_a_missing_file_is_named(project: Path, missing: str) -> None:
    (project / missing).unlink()

    with pytest.raises(errors.ConfigError, match=f"{missing} is missing"):
        stage_graph.load_graph(project, project / shared.GRAPH_FILE)


class TestStoredGraph:
    """DVC is asked once for each content of dvc.yaml and params.yaml."""

    @pytest.fixture
    def asked(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        asked: list[Path] = []
        real = stage_graph.stages_from_dvc

        def ask(project: Path) -> list[Stage]:
            asked.append(project)
            return real(project)

        monkeypatch.setattr(stage_graph, "stages_from_dvc", ask)
        return asked

    def load(self, project: Path) -> dict[str, Stage]:
        return stage_graph.load_graph(project, project / shared.GRAPH_FILE)

    def test_is_what_dvc_said(self, project: Path, asked: list[Path]) -> None:
        assert self.load(project) == self.load(project)
        assert asked == [project]
        assert list(self.load(project).values()) == stage_graph.stages_from_dvc(project)

    def test_follows_an_edit_and_its_revert(self, project: Path, asked: list[Path]) -> None:
        self.load(project)
        (project / "params.yaml").write_text(PARAMS.replace("two", "three"))
        assert {"train@one", "train@three"} <= set(self.load(project))
        (project / "params.yaml").write_text(PARAMS)
        assert {"train@one", "train@two"} <= set(self.load(project))
        (project / "dvc.yaml").write_text(PIPELINE.replace("sibling:", "brother:"))
        assert "brother" in self.load(project)
        assert len(asked) == 4

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "stage-graph/0"}'])
    def test_is_replaced_where_it_is_damaged_or_of_another_version(
        self, project: Path, asked: list[Path], content: str
    ) -> None:
        expected = self.load(project)
        (project / shared.GRAPH_FILE).write_text(content)
        assert self.load(project) == expected
        assert len(asked) == 2

    def test_is_not_written_of_files_that_change_meanwhile(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ask(project: Path) -> list[Stage]:
            (project / "params.yaml").write_text("models: {}")
            return []

        monkeypatch.setattr(stage_graph, "stages_from_dvc", ask)
        with pytest.raises(errors.ConfigError, match="changed just now"):
            self.load(project)
        assert not (project / shared.GRAPH_FILE).exists()


NAMES_OF_STAGES = """
import json, sys
sys.path.insert(0, sys.argv[1])
import _stage_graph
_stage_graph._PATIENCE_SECONDS = float(sys.argv[2])
try:
    print(json.dumps(list(_stage_graph.project_stages(*sys.argv[3:]))))
except _stage_graph.StageGraphError as error:
    sys.exit(str(error))
"""


class TestDagSide:
    """As in Airflow's environment: without any third-party package, by several processes."""

    @pytest.fixture
    def calls(self, project: Path) -> Path:
        """A file with a line for each call of the pipeline's Python."""
        calls = project / "calls"
        (project / ".venv").unlink()
        python = project / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        return calls

    def begin(self, project: Path, *up_to: str, patience: float = 600) -> "subprocess.Popen[str]":
        arguments = [str(project / "dags"), str(patience), *up_to]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", NAMES_OF_STAGES, *arguments],
            env={"PATH": os.defpath},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stages(self, project: Path, *up_to: str) -> Any:
        output, error = self.begin(project, *up_to).communicate()
        assert not error
        return json.loads(output)

    def error(self, project: Path, patience: float = 600) -> str:
        output, error = self.begin(project, patience=patience).communicate()
        assert not output
        return error

    def test_processes_that_parse_at_once_have_it_written_once(
        self, project: Path, calls: Path
    ) -> None:
        begun = [self.begin(project) for _ in range(4)]
        ended = [process.communicate() for process in begun]
        expected = [stage.name for stage in stage_graph.stages_from_dvc(project)]
        assert [(json.loads(output), error) for output, error in ended] == [(expected, "")] * 4
        assert calls.read_text() == "-m pipeline_steps write-graph --quiet\n"

    def test_an_up_to_date_graph_needs_no_pipeline_environment(
        self, project: Path, calls: Path
    ) -> None:
        stage_graph.load_graph(project, project / shared.GRAPH_FILE)
        (project / ".venv" / "bin" / "python").unlink()
        assert self.stages(project, "train@two") == ["prepare", "train@two", "inside"]
        (project / "params.yaml").write_text(PARAMS.replace("two", "three"))
        error = self.error(project)
        assert "bin/python is missing: run 'make run'" in error

    def test_an_edit_is_followed(self, project: Path, calls: Path) -> None:
        self.stages(project)
        (project / "params.yaml").write_text(PARAMS.replace("two", "three"))
        assert "train@three" in self.stages(project)
        assert len(calls.read_text().splitlines()) == 2

    def test_a_mistake_is_shown_with_what_to_do(self, project: Path, calls: Path) -> None:
        stored = self.stages(project)
        (project / "params.yaml").write_text("models: {one: {depth: 1}}")
        error = self.error(project)
        assert "Could not find 'item.uses[0]'" in error
        assert "-m pipeline_steps write-graph" in error
        (project / "params.yaml").write_text(PARAMS)
        assert self.stages(project) == stored

    def test_a_wrong_project_folder_is_named(self, project: Path, tmp_path: Path) -> None:
        result = subprocess.run(
            [sys.executable, "-I", "-S", "-c", NAMES_OF_STAGES, str(project / "dags"), "1"],
            env={"PATH": os.defpath, "DIFFREC_PROJECT": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"{tmp_path} is not the project's folder: set DIFFREC_PROJECT" in result.stderr

    def test_what_takes_longer_than_an_import_is_found_by_a_later_one(
        self, project: Path, calls: Path
    ) -> None:
        python = project / ".venv" / "bin" / "python"
        wait = f'until [ -e "{project / "go"}" ]; do sleep 0.05; done'
        python.write_text(python.read_text().replace("exec", f"{wait}\nexec"))
        assert "write-graph is still running, as process" in self.error(project, patience=0)
        assert "write-graph is still running" in self.error(project, patience=0)
        (project / "go").touch()
        assert "train@one" in self.stages(project)
        assert len(calls.read_text().splitlines()) == 1


def test_needed_for_is_all_that_leads_to_a_stage(project: Path) -> None:
    stages = {stage.name: stage for stage in stage_graph.stages_from_dvc(project)}

    assert list(_stage_graph.needed_for(stages, "train@two")) == ["prepare", "train@two", "inside"]
    with pytest.raises(_stage_graph.StageGraphError, match="no stage nothing; known: "):
        _stage_graph.needed_for(stages, "nothing")


def test_codes_that_are_not_retried_are_those_of_errors() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.DiffRecError)}
    # a bug, or killed work; and what may be transient
    assert set(shared.NOT_RETRYABLE) == codes - {1, errors.StorageError.exit_code}
