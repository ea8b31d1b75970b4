"""A folder of its own for one stage of one run: the code at the run's commit, its params, its data.

Only the stage's inputs are fetched. DVC fetches what `dvc.lock` names, so that file holds no more,
also because DVC reads all of it many times. DVC is used by its Python interface, whose version is
locked: each command line costs a second.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml import YAML

from diffrec_core.common.artifacts import sha256_json, write_text
from diffrec_core.common.errors import ConfigError, StorageError
from pipeline_steps.nights.stage_graph import load_graph
from pipeline_steps.runtime import git
from pipeline_steps.runtime.urls import public, redacted
from pipeline_steps.shared import Stage, graph_sources

log = logging.getLogger("pipeline")
for _name in ("dvc", "dvc_data", "dvc_objects"):
    # they warn of every output that dvc.lock does not name, and here it names few on purpose
    logging.getLogger(_name).setLevel(logging.ERROR)
Entries = Mapping[str, Mapping[str, Any]]
"""Entries of dvc.lock by stage."""

_EXITED = re.compile(r"exited with (-?\d+)$")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A clone in which DVC runs one stage.

    Attributes:
        root: the clone's folder.
        repository: folder or URL to clone from.
        remote: folder or URL of DVC's remote.
        cache: folder of DVC's cache; the workspaces of a machine share it.
    """

    root: Path
    repository: str
    remote: str
    cache: Path

    def prepare(self, commit: str, params: str) -> None:
        """Clone the code at a commit, unless it is there, and write the params into it.

        Files of an earlier try stay, above all its checkpoints.

        Raises:
            ConfigError: the commit is not in the repository.
        """
        if self._commit() != commit:
            half = self.root.with_name(f"{self.root.name}.new")  # a killed clone is never used
            for folder in (self.root, half):
                shutil.rmtree(folder, ignore_errors=True)
            half.parent.mkdir(parents=True, exist_ok=True)
            clone = ("clone", "--quiet", "--no-checkout", self.repository, str(half))
            self._git(*clone, cwd=half.parent)
            self._git("checkout", "--quiet", "--detach", commit, cwd=half)
            half.rename(self.root)
        write_text(self.root / "params.yaml", params)
        write_text(self.root / ".dvc" / "config.local", self._config())

    def facts(self, name: str) -> Stage:
        """A stage of dvc.yaml, as DVC resolves it.

        Raises:
            ConfigError: it has no stage of that name, or cannot be read.
        """
        stages = self.stages()
        if name not in stages:
            raise ConfigError(f"there is no stage {name!r}; known: {', '.join(sorted(stages))}")
        return stages[name]

    def current(self, entries: Entries) -> Entries:
        """The entries of present stages: a run may have been specified again with fewer models."""
        return {name: entries[name] for name in entries.keys() & self.stages().keys()}

    def stages(self) -> Mapping[str, Stage]:
        """The stages by name; stored in the cache, as workspaces of a run have the same ones."""
        digest = sha256_json(graph_sources(self.root))
        return load_graph(self.root, self.cache / "stage_graph" / f"{digest}.json")

    def fetch(self, paths: Iterable[str], entries: Entries) -> None:
        """Fetch outputs of stages, by their entries, from the cache or the remote.

        Other outputs, left by an earlier try, are removed.

        Raises:
            StorageError: one is in no entry or cannot be fetched.
        """
        wanted = sorted(paths)
        self.write_lock(_only(entries, wanted))
        if wanted:
            with self._repo() as repo, _as_storage_error(f"fetch {', '.join(wanted)}", self.remote):
                repo.pull(allow_missing=True, force=True)
        missing = [path for path in wanted if not (self.root / path).exists()]
        if missing:
            raise StorageError(
                f"{', '.join(missing)}: no finished stage of the run has written them, or they are "
                f"not in {public(self.remote)}: run the stages that write them first"
            )

    def reproduce(self, stage: str, entries: Entries, *, force: bool = False) -> int:
        """Let DVC run the stage unless its entry is up to date; return its exit code.

        Args:
            stage: its name.
            entries: of dvc.lock.
            force: run it even if its entry is up to date.
        """
        self.write_lock(entries)
        # commands of dvc.yaml say `python`, and run in the current folder
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with chdir(self.root), self._repo() as repo:
            try:
                repo.reproduce(stage, single_item=True, allow_missing=True, force=force)
            except DvcException as error:
                log.error("%s", error)
                return _exit_code(error)
        return 0

    def push(self, stage: str) -> None:
        """Upload the stage's outputs to the remote.

        Raises:
            StorageError: that failed.
        """
        with self._repo() as repo, _as_storage_error(f"upload the outputs of {stage}", self.remote):
            repo.push(targets=[stage])

    def write_lock(self, entries: Entries) -> None:
        """Write dvc.lock."""
        text, yaml = StringIO(), YAML(typ="safe", pure=True)
        # DVC keeps the style when it adds to the file, and libyaml refuses a plain a:b in braces
        yaml.default_flow_style = False
        stages = {name: dict(entry) for name, entry in entries.items()}
        yaml.dump({"schema": "2.0", "stages": stages}, text)
        write_text(self.root / "dvc.lock", text.getvalue())

    def entry(self, stage: str) -> dict[str, Any]:
        """The stage's entry of dvc.lock, after it was reproduced."""
        lock = YAML(typ="safe", pure=True).load(self.root / "dvc.lock")
        entry: dict[str, Any] = lock["stages"][stage]
        return entry

    def _repo(self) -> Repo:
        return Repo(str(self.root))

    def _commit(self) -> str | None:
        if (self.root / ".git").is_dir():  # else git would look at the repository around it
            with suppress(subprocess.CalledProcessError):
                return git.head(self.root)
        return None

    def _git(self, *arguments: str, cwd: Path) -> None:
        result = subprocess.run(
            ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            message = redacted(result.stderr.strip(), self.repository)
            raise ConfigError(f"git {arguments[0]}: {message}")

    def _config(self) -> str:
        """DVC's settings here; never committed, so they may name this machine's folders.

        DVC's state of this folder stays in it, and is removed with it.
        """
        site_cache = self.root / ".dvc" / "tmp" / "site_cache"
        return (
            f"[core]\n    remote = nightly\n    site_cache_dir = {site_cache}\n"
            f"[cache]\n    dir = {self.cache}\n"
            f"['remote \"nightly\"']\n    url = {self.remote}\n"
        )


def _only(entries: Entries, paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Entries cut down to some outputs: all that is needed to fetch them."""
    wanted = set(paths)
    cut = {
        name: {"cmd": entry["cmd"], "outs": [o for o in entry["outs"] if o["path"] in wanted]}
        for name, entry in entries.items()
    }
    return {name: entry for name, entry in cut.items() if entry["outs"]}


def _exit_code(error: BaseException) -> int:
    """The exit code of the command that failed, from DVC's message."""
    cause: BaseException | None = error
    while cause is not None:
        match = _EXITED.search(str(cause))
        if match:
            code = int(match[1])
            return code if code > 0 else 128 - code  # a signal, as a shell counts it
        cause = cause.__cause__
    return 1


@contextmanager
def _as_storage_error(action: str, remote: str) -> Iterator[None]:
    try:
        yield
    except DvcException as error:
        raise StorageError(f"could not {action}: {redacted(str(error), remote)}") from error
