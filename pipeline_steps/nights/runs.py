"""Specification and state of runs, in the store that all workers share.

    runs/RUN/run.json         its specification: commit, data window, time of creation
    runs/RUN/params.yaml      the parameters that all of its stages read
    runs/RUN/lock/STAGE.json  the entry of dvc.lock of a finished stage
    runs/RUN/files/PATH       files of its operations: the gate's decision, the report
    runs/RUN/ended/STAGE.json how a stage or operation ended last: exit code and end of the log
    finished/END--RUN         a finished run, sorted by the end of its window

A stage's entry is written after its outputs are in the remote, so outputs with an entry are there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from diffrec_core.common.artifacts import canonical_json, sha256_json
from diffrec_core.common.errors import ArtifactError, ConfigError
from diffrec_core.data.schema import RUN_SCHEMA
from pipeline_steps.nights.store import Store
from pipeline_steps.shared import safe_name

PREVIOUS_IDS = ".previous"
"""Folder in a workspace with the interactions of the previous run, whose ids keep their indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The specification of a run, fixed when it starts.

    Attributes:
        run: its name.
        commit: of the code that its stages run.
        start: start of the data window, ISO 8601 in UTC; None: open.
        end: end of the window, exclusive; None: open.
        dry_run: compare and report, promote and publish nothing.
        previous: the last finished run, if any: its results are reused where they are still valid,
            and its ids keep their indices.
        created: when it was specified, ISO 8601 in UTC.
    """

    run: str
    commit: str
    start: str | None
    end: str | None
    dry_run: bool
    previous: str | None
    created: str


def run_name(text: str) -> str:
    """A scheduler's run id as a name for files and URLs.

    Raises:
        ConfigError: no character of it is safe there.
    """
    name = safe_name(text)
    if not name:
        raise ConfigError(f"{text!r} is not a valid run name: use letters, digits, dots and dashes")
    return name


@dataclass(frozen=True, slots=True)
class End:
    """How a stage or operation of a run ended.

    Attributes:
        exit_code: of its command.
        said: the end of its log if it failed.
    """

    exit_code: int
    said: str


class Run:
    """One run in the store.

    Args:
        store: shared by all machines.
        spec: its specification.
    """

    def __init__(self, store: Store, spec: RunSpec) -> None:
        self.store, self.spec = store, spec

    @classmethod
    def load(cls, store: Store, run: str) -> Self:
        """Read a run's specification.

        Raises:
            ArtifactError: there is none of that name, or it was written by another version.
        """
        name = run_name(run)
        content = store.read_if_there(f"runs/{name}/run.json")
        if content is None:
            raise ArtifactError(
                f"there is no run {name!r}: python -m pipeline_steps start-run --run {name} "
                f"specifies it; known: {', '.join(known_runs(store)[-5:]) or 'none'}"
            )
        fields = json.loads(content)
        if fields.pop("schema", None) != RUN_SCHEMA:
            raise ArtifactError(f"run {name!r} was written by another version: start it again")
        return cls(store, RunSpec(**fields))

    def specify(self, params: str) -> None:
        """Write or replace the specification; entries of stages stay.

        That is safe, as a stage's entry holds the hashes of all that the stage was made from.
        """
        self.params = params
        self.store.write(self._name("params.yaml"), params.encode())
        content = canonical_json({"schema": RUN_SCHEMA, **asdict(self.spec)})
        self.store.write(self._name("run.json"), content.encode())

    @cached_property
    def params(self) -> str:
        """The text of the run's params.yaml."""
        return self.store.read(self._name("params.yaml")).decode()

    @property
    def digest(self) -> str:
        """Hash of the specification and parameters, without the time of creation."""
        return sha256_json({**asdict(self.spec), "created": None, "params": self.params})

    def entries(self) -> dict[str, Any]:
        """The entries of dvc.lock of finished stages, by stage."""
        files = self.store.read_folder(self._name("lock"))
        return {name.removesuffix(".json"): json.loads(text) for name, text in files.items()}

    def leave_entry(self, stage: str, entry: Mapping[str, Any]) -> None:
        """Store a finished stage's entry of dvc.lock."""
        self.store.write(self._name(f"lock/{stage}.json"), canonical_json(entry).encode())

    def store_files(self, files: Mapping[str, bytes]) -> None:
        """Store an operation's files, by path."""
        self.store.write_all({self._name(f"files/{path}"): files[path] for path in files})

    def file(self, path: str) -> bytes:
        """A file of an operation.

        Raises:
            ArtifactError: none has written it so far.
        """
        return self.store.read(self._name(f"files/{path}"))

    def finish(self) -> None:
        """Mark the run as finished: later runs reuse its results.

        A dry run, or one that has registered nothing, is not marked.
        """
        if not self.spec.dry_run and "register" in self.entries():
            self.store.write(f"finished/{_sortable(self.spec.end)}--{self.spec.run}", b"")

    def _name(self, path: str) -> str:
        return f"runs/{self.spec.run}/{path}"


def leave_end(store: Store, run: str, stage: str, end: End) -> None:
    """Store how a stage or operation ended, replacing the end of an earlier try.

    The run need not have been specified.
    """
    store.write(f"runs/{run}/ended/{stage}.json", canonical_json(asdict(end)).encode())


def ends(store: Store, run: str) -> dict[str, End]:
    """How stages and operations of a run ended last, by name; see `leave_end`."""
    files = store.read_folder(f"runs/{run}/ended")
    return {name.removesuffix(".json"): End(**json.loads(text)) for name, text in files.items()}


def known_runs(store: Store) -> list[str]:
    """Names of the specified runs, sorted."""
    names = (name.split("/") for name in store.names("runs"))
    return sorted({parts[1] for parts in names if parts[2:] == ["run.json"]})


def previous_run(store: Store, run: str, end: str | None) -> str | None:
    """The finished run with the latest window that ends no later than `end`, other than `run`."""
    limit = _sortable(end)
    finished = (name.removeprefix("finished/").partition("--") for name in store.names("finished"))
    earlier = [name for window, _, name in finished if window <= limit and name != run]
    return earlier[-1] if earlier else None


def _sortable(end: str | None) -> str:
    """A window's end as part of a file's name; an open end sorts last.

    >>> _sortable("2026-11-24T00:00:00+00:00"), _sortable(None)
    ('2026-11-24T00-00-00', 'open')
    """
    return safe_name(end.partition("+")[0]) if end else "open"
