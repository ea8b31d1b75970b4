"""A folder of its own for one stage of one run: the code at the run's commit, its params, its data.

Only what the stage reads is brought here. DVC does it: `dvc.lock` says what to bring, and it holds
no more than that, as DVC reads the whole of it many times.

DVC is used by its Python interface, whose version is locked: each command line costs a second.
"""

import logging
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
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
from pipeline_steps.runtime.urls import public, redacted
from pipeline_steps.shared import Stage, graph_sources

log = logging.getLogger("pipeline")
for _name in ("dvc", "dvc_data", "dvc_objects"):
    # they warn of every output that dvc.lock does not name, and here it names few, on purpose
    logging.getLogger(_name).setLevel(logging.ERROR)
Entries = Mapping[str, Mapping[str, Any]]
"""Entries of dvc.lock by stage."""

_EXITED = re.compile(r"exited with (-?\d+)$")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A clone in which DVC runs one stage.

    Attributes:
        root: the clone's folder.
        repository: folder or URL of what is cloned.
        remote: folder or URL of DVC's remote.
        cache: folder of DVC's cache; the workspaces of a machine share it.
    """

    root: Path
    repository: str
    remote: str
    cache: Path

    def prepare(self, commit: str, params: str) -> None:
        """Clone the code at a commit, unless it is there, and put the params into it.

        What an earlier try left, its checkpoints above all, stays.

        Raises:
            ConfigError: the commit is not in the repository.
        """
        if self._commit() != commit:
            half = self.root.with_name(f"{self.root.name}.new")  # a killed clone is never taken up
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
        stages = self._stages()
        if name not in stages:
            raise ConfigError(f"there is no stage {name!r}; known: {', '.join(sorted(stages))}")
        return stages[name]

    def current(self, entries: Entries) -> Entries:
        """Of some entries, those of stages that dvc.yaml has with the params that lie here.

        A run that is specified anew with fewer models keeps the entries of the others.
        """
        stages = self._stages()
        return {name: entry for name, entry in entries.items() if name in stages}

    def _stages(self) -> Mapping[str, Stage]:
        """Every stage; stored beside the cache, as workspaces of a run have the same ones."""
        digest = sha256_json(graph_sources(self.root))
        return load_graph(self.root, self.cache / "stage_graph" / f"{digest}.json")

    def bring(self, paths: Iterable[str], entries: Entries) -> None:
        """Bring outputs of stages, by their entries, from the cache or the remote.

        Other outputs that are here, what an earlier try left, are removed.

        Raises:
            StorageError: one is in no entry or cannot be had.
        """
        wanted = sorted(paths)
        self.write_lock(_only(entries, wanted))
        if wanted:
            with self._repo() as repo, _as_storage_error(f"bring {', '.join(wanted)}", self.remote):
                repo.pull(allow_missing=True, force=True)
        missing = [path for path in wanted if not (self.root / path).exists()]
        if missing:
            raise StorageError(
                f"{', '.join(missing)}: not among what the run's finished stages left, or not in "
                f"{public(self.remote)}: run the stages that write them first"
            )

    def reproduce(self, stage: str, entries: Entries, *, force: bool = False) -> int:
        """Let DVC run the stage if its entry says otherwise or there is none; its exit code.

        Args:
            stage: its name.
            entries: of dvc.lock.
            force: run it whatever its entry says.
        """
        self.write_lock(entries)
        with chdir(self.root), self._repo() as repo:  # commands run in the current folder
            try:
                repo.reproduce(stage, single_item=True, allow_missing=True, force=force)
            except DvcException as error:
                log.error("%s", error)
                return _exit_code(error)
        return 0

    def push(self, stage: str) -> None:
        """Send the stage's outputs to the remote.

        Raises:
            StorageError: it could not be done.
        """
        with self._repo() as repo, _as_storage_error(f"send the outputs of {stage}", self.remote):
            repo.push(targets=[stage])

    def write_lock(self, entries: Entries) -> None:
        """Write dvc.lock from the entries of stages."""
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

    def remove(self) -> None:
        """Remove the clone."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _repo(self) -> Repo:
        return Repo(str(self.root))

    def _commit(self) -> str | None:
        if not (self.root / ".git").is_dir():
            return None
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=self.root, capture_output=True, text=True, check=False
        )
        return head.stdout.strip()

    def _git(self, *arguments: str, cwd: Path) -> None:
        result = subprocess.run(
            ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            message = redacted(result.stderr.strip(), self.repository)
            raise ConfigError(f"git {arguments[0]}: {message}")

    def _config(self) -> str:
        """DVC's settings here; never committed, so they may name this machine's folders.

        What DVC knows of this folder stays in it, and goes with it, not in one of the machine's.
        """
        site_cache = self.root / ".dvc" / "tmp" / "site_cache"
        return (
            f"[core]\n    remote = nightly\n    site_cache_dir = {site_cache}\n"
            f"[cache]\n    dir = {self.cache}\n"
            f"['remote \"nightly\"']\n    url = {self.remote}\n"
        )


def _only(entries: Entries, paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Entries cut down to some outputs: all that is needed to bring them."""
    wanted = set(paths)
    cut = {
        name: {"cmd": entry["cmd"], "outs": [o for o in entry["outs"] if o["path"] in wanted]}
        for name, entry in entries.items()
    }
    return {name: entry for name, entry in cut.items() if entry["outs"]}


def _exit_code(error: BaseException) -> int:
    """The exit code of the command that failed, from what DVC says of it."""
    cause: BaseException | None = error
    while cause is not None:
        match = _EXITED.search(str(cause))
        if match:
            code = int(match[1])
            return code if code > 0 else 128 - code  # a signal, as a shell counts it
        cause = cause.__cause__
    return 1


@contextmanager
def _as_storage_error(what: str, remote: str) -> Iterator[None]:
    try:
        yield
    except DvcException as error:
        raise StorageError(f"could not {what}: {redacted(str(error), remote)}") from error
