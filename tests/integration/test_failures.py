"""What goes wrong, and what the user is told: exit codes, messages, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from diffrec_core.common.artifacts import sha256_file
from tests.integration.conftest import Project, copy_of

pytestmark = pytest.mark.integration

WEIGHTS = "models/candidates/diffrec/seed-1/weights.safetensors"
LONG = {"train": {"diffrec": {"epochs": 150, "patience_epochs": 150, "validate_every_epochs": 50}}}


@pytest.fixture
def project(new_project: Callable[[], Project]) -> Project:
    return new_project()


def test_a_killed_training_continues_and_gives_the_same_weights(
    copied_project: Project, tmp_path: Path
) -> None:
    project = copied_project
    project.change(**LONG)
    whole = copy_of(project, tmp_path / "whole")
    whole.repro("train@diffrec")
    checkpoint = project.root / ".checkpoints/train/diffrec/checkpoint.safetensors"
    with Started(project, "dvc", "repro", "train@diffrec") as running:
        _wait_for(checkpoint.is_file)
        os.killpg(running.pid, signal.SIGKILL)
    assert not (project.root / WEIGHTS).exists()
    resumed = project.repro("train@diffrec")
    assert "resumed after epoch" in resumed.stderr
    assert sha256_file(project.root / WEIGHTS) == sha256_file(whole.root / WEIGHTS)
    assert not checkpoint.exists()


def test_a_stage_killed_in_the_middle_leaves_nothing_half_written(project: Project) -> None:
    project.repro("build_interactions")
    with Started(project, "dvc", "repro", "split") as running:
        _wait_for(lambda: any((project.root / "data").glob("split")) or running.poll() is not None)
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    for part in (project.root / "data").glob("split/[!.]*"):
        assert (part / "manifest.json").is_file()
    project.repro("split")
    assert len(list((project.root / "data").glob("split/[!.]*"))) == 3


def test_a_missing_raw_folder_is_named(project: Project) -> None:
    project.change(list_raw={"logs": ["data/raw/elsewhere"]})
    result = project.run("python", "-m", "pipeline_steps.list_raw", "--out", "data/raw.json")
    assert result.returncode == 3
    assert "data/raw/elsewhere" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (project.root / "data/raw.json").exists()


def test_a_wrong_column_is_named_with_the_columns_found(project: Project) -> None:
    project.change(ingest={"columns": {"user_id": "usr"}})
    result = project.run("dvc", "repro", "ingest")
    assert result.returncode != 0
    assert "ingest.columns.user_id" in result.stderr
    assert "'user'" in result.stderr or "user," in result.stderr
    assert "Traceback" not in result.stderr


def test_too_few_users_say_which_filter_to_lower(project: Project) -> None:
    project.change(build_interactions={"min_user_interactions": 1000})
    result = project.run("dvc", "repro", "build_interactions")
    assert result.returncode != 0
    assert "build_interactions.min_user_interactions" in result.stderr
    assert not (project.root / "data/interactions").exists()


def test_an_unknown_key_is_refused_with_its_full_name(copied_project: Project) -> None:
    copied_project.change(train={"diffrec": {"stepz": 3}})
    result = copied_project.run("dvc", "repro", "train@diffrec")
    assert "train.diffrec.stepz is not a known key (did you mean 'steps'?)" in result.stderr
    assert result.returncode != 0


def test_a_corrupt_model_file_is_refused_by_its_checksum(copied_project: Project) -> None:
    project = copied_project
    weights = project.root / "models/candidates/ease/seed-1/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.write_bytes(content)
    result = project.run("dvc", "repro", "--single-item", "evaluate@ease")
    assert result.returncode != 0
    assert "weights.safetensors is corrupt" in result.stderr
    assert not (project.root / "reports/evaluation/ease").exists()


def test_a_full_disk_is_told_and_leaves_no_output(project: Project) -> None:
    """A limit on the size of files stands in for a full disk: the system refuses to write."""
    project.repro("ingest")
    limited = (
        "import resource, runpy, sys;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048));"
        "sys.argv = ['build_interactions', *sys.argv[1:]];"
        "runpy.run_module('pipeline_steps.build_interactions', run_name='__main__')"
    )
    arguments = ("--events", "data/events", "--titles", "data/titles", "--out", "data/interactions")
    result = project.run("python", "-c", limited, *arguments, TRACE_DIR=os.devnull)
    assert "cannot write data/interactions" in result.stderr
    assert result.returncode == 5
    assert [path.name for path in (project.root / "data").glob("*interactions*")] == []
    assert [path.name for path in (project.root / "data").glob(".*.tmp")] == []


def test_help_and_bad_usage(project: Project) -> None:
    shown = project.run("python", "-m", "pipeline_steps.train", "--help")
    assert shown.returncode == 0
    assert "Fit one model on the training part" in shown.stdout
    assert project.run("python", "-m", "pipeline_steps.train").returncode == 2


class Started:
    """A command in a process group of its own, which is gone when the block ends."""

    def __init__(self, project: Project, *command: str) -> None:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            command,
            cwd=project.root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> "subprocess.Popen[bytes]":
        return self.process

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the command did not get so far")
        time.sleep(0.02)
