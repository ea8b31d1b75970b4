"""A project of five small stages, and machines that share nothing but the remote."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_steps.nights.lock_holder import Holder
from pipeline_steps.nights.runs import Run, RunSpec
from pipeline_steps.nights.store import Store
from tests.conftest import DVC_SETTINGS
from tests.raw_logs import REPOSITORY

STAGES = ("list_raw", "build", "train@a", "train@b", "register")
PARAMS = "seed: 1\nmodels:\n  a: {n: 1}\n  b: {n: 2}\n"
# $SIDE is outside of every workspace: who ran, and what tests want of whom
STEP = """
echo "$1" >> "$SIDE/ran"
mkdir -p data reports/eval models
echo begun > "reports/$1.tmp"
if [ -e "$SIDE/fail-$1" ]; then echo "$1 fails"; exit 3; fi
while [ -e "$SIDE/hold-$1" ]; do sleep 0.05; done
"""
PIPELINE = """
stages:
  list_raw:
    cmd: >-
      sh step.sh list_raw && cp "$SIDE/world" data/listed.txt
      && if [ -e .previous ]; then cp .previous/all.txt "$SIDE/seen"; fi
    params: [seed]
    outs: [data/listed.txt]
    always_changed: true
  build:
    cmd: >-
      sh step.sh build && mkdir data/interactions
      && sed s/^/built-/ data/listed.txt > data/interactions/all.txt
    deps: [data/listed.txt]
    outs: [data/interactions]
  train:
    foreach: ${models}
    do:
      cmd: >-
        sh step.sh train@${key} && echo model ${key} ${item.n} > models/${key}.txt
        && echo result ${key} ${item.n} $(cat data/interactions/all.txt) > reports/eval/${key}.txt
      deps: [data/interactions]
      params: ["models.${key}"]
      outs: ["models/${key}.txt", "reports/eval/${key}.txt"]
  register:
    cmd: >-
      sh step.sh register && cp dvc.lock "$SIDE/lock" && cat reports/eval/*.txt > reports/best.txt
      && cat reports/best.txt >> reports/history.txt
    deps: [reports/eval]
    outs: [reports/best.txt, reports/history.txt: {persist: true}]
    meta: {reads_lock: true}
"""
# imported by every Python that starts: kills the worker when its outputs are sent and not noted
KILL_BEFORE_ENTRY = """
import os, signal, sys
mark = os.environ.get("KILL_BEFORE_ENTRY", "")
if mark and "stage_worker" in " ".join(sys.orig_argv) and not os.path.exists(mark):
    from pipeline_steps.nights.runs import Run
    def killed(self, stage, entry):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    Run.leave_entry = killed
"""


@dataclass
class Ended:
    """How a command ended."""

    code: int
    output: str


class Tiny:
    """The project, its remote, and as many machines as a test names."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.side = folder, folder / "a project", folder / "side"
        self.side.mkdir(parents=True)
        self.world("one")
        for name in DVC_SETTINGS:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, self.root / name)
        for name, text in (("dvc.yaml", PIPELINE), ("params.yaml", PARAMS), ("step.sh", STEP)):
            (self.root / name).write_text(text)
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        for command in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "start")):
            self.git(*command)
        (folder / "hooks").mkdir()
        (folder / "hooks" / "sitecustomize.py").write_text(KILL_BEFORE_ENTRY)

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    @property
    def store(self) -> Store:
        return Store(str(self.folder / "remote" / "store"))

    def specify(self, name: str, params: str = PARAMS, **changes: Any) -> Run:
        """Specify a run of the project's commit."""
        fields: dict[str, Any] = {
            "run": name, "commit": self.git("rev-parse", "HEAD"), "start": None,
            "end": "2026-11-24T00:00:00+00:00", "dry_run": False, "previous": None, "created": "",
        }  # fmt: skip
        run = Run(self.store, RunSpec(**fields | changes))
        run.specify(params)
        return run

    def machine(self, name: str) -> Path:
        """The folder of a machine: its workspaces and its cache."""
        return self.folder / "machines" / name

    def begin(
        self, stage: str, run: str, machine: str | None = None, **variables: str
    ) -> "subprocess.Popen[str]":
        """Start a command; by default each stage has a machine of its own."""
        own = self.machine(machine or stage)
        places = {
            "DIFFREC_REPOSITORY": self.root, "DIFFREC_REMOTE": self.folder / "remote",
            "DIFFREC_WORKSPACES": own / "workspaces", "DIFFREC_CACHE": own / "cache",
            "DIFFREC_PUBLISH": self.folder / "published", "SIDE": self.side,
            "PYTHONPATH": f"{self.folder / 'hooks'}{os.pathsep}{REPOSITORY}",
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline_steps", "run-stage", stage, "--run", run],
            cwd=REPOSITORY,
            env={**os.environ, **{name: str(path) for name, path in places.items()}, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, stage: str, run: str, machine: str | None = None, **variables: str) -> Ended:
        """Run a command to its end."""
        return ended(self.begin(stage, run, machine, **variables))

    def run_all(
        self, run: str, stages: tuple[str, ...] = STAGES, machine: str | None = None
    ) -> None:
        """Run stages in order; each must succeed."""
        for stage in stages:
            done = self.run(stage, run, machine)
            assert done.code == 0, done.output

    def world(self, text: str) -> None:
        """What `list_raw` finds when it looks."""
        (self.side / "world").write_text(f"{text}\n")

    def ran(self) -> list[str]:
        """The stages that ran since the last call, in order."""
        path = self.side / "ran"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def cached(self, machine: str) -> set[str]:
        """MD5s of the files that a machine's cache holds, folders' lists left out."""
        files = (self.machine(machine) / "cache" / "files" / "md5").glob("*/*")
        return {path.parent.name + path.name for path in files if path.suffix != ".dir"}

    def work(self, stage: str, run: str, machine: str | None = None) -> Path:
        """Folder of a stage's work."""
        return self.machine(machine or stage) / "workspaces" / run / stage

    def worker(self, stage: str, run: str, machine: str | None = None) -> int:
        """Process id of the worker, once the stage's command has begun."""
        until((self.work(stage, run, machine) / "repo/reports" / f"{stage}.tmp").exists)
        return Holder.parse((self.work(stage, run, machine) / "lock").read_bytes()).pid


def ended(process: "subprocess.Popen[str]") -> Ended:
    output, _ = process.communicate(timeout=240)
    return Ended(process.returncode, output)


def until(holds: Callable[[], object], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def md5(*texts: str) -> set[str]:
    """MD5s of files with these lines."""
    return {hashlib.md5(f"{text}\n".encode(), usedforsecurity=False).hexdigest() for text in texts}
