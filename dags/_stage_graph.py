"""The graph of dvc.yaml as plain values: the one graph that DVC runs and Airflow schedules.

Pure and quick: standard library and PyYAML only, because Airflow reads it each time it parses
the DAG. It knows the part of the dvc.yaml language that this project uses (`foreach` over a
mapping of params.yaml, `${key}`, `${item.uses[0]}`) and refuses the rest rather than guess;
tests/dags holds its stages and edges equal to DVC's own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Any

import yaml

# libyaml, where PyYAML has it, is ten times as fast; both are safe loaders
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
_REFERENCE = re.compile(r"\w+(\.\w+|\[\d+\])*")
_REFERENCE_PART = re.compile(r"\w+")
_FILE_KEYS = {"stages", "artifacts", "metrics", "params", "plots"}
_STAGE_KEYS = {
    "cmd", "desc", "deps", "params", "outs", "metrics", "plots", "meta", "always_changed", "frozen"
}  # fmt: skip
_META_KEYS = {"resources", "queue", "timeout_minutes", "retries", "reads_lock"}
_RESOURCES = ("cpu", "gpu")


class StageGraphError(ValueError):
    """dvc.yaml or params.yaml cannot be read as a graph of stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage that DVC can run by name.

    Attributes:
        name: as DVC prints it: ``split``, or ``train@ease`` for a member of a foreach stage.
        command: the shell command, its templates filled in.
        deps: paths that it reads, relative to the project's folder.
        outs: paths that it writes, metrics and plots included.
        resources: what it runs on, from `meta.resources`: ``cpu`` or ``gpu``.
        queue: of the workers that may take it, from `meta.queue`; None: any.
        timeout_minutes: how long a try may take, from `meta.timeout_minutes`; None: the default.
        retries: how often it is tried again, from `meta.retries`; None: the default.
        desc: what it is for, in one line.
    """

    name: str
    command: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    resources: str
    queue: str | None
    timeout_minutes: int | None
    retries: int | None
    desc: str


@dataclass(frozen=True, slots=True)
class StageGraph:
    """The stages in the order of dvc.yaml, and the (upstream, downstream) pairs of names."""

    stages: tuple[Stage, ...]
    edges: frozenset[tuple[str, str]]


def load_graph(project: Path) -> StageGraph:
    """Read dvc.yaml and params.yaml in the project's folder.

    Raises:
        StageGraphError: a file is missing, is not YAML, or uses what this module does not know.
    """
    pipeline = _read_mapping(project / "dvc.yaml")
    params = _read_mapping(project / "params.yaml")
    _refuse_unknown("dvc.yaml", pipeline, _FILE_KEYS)
    entries = _mapping(pipeline.get("stages"), "dvc.yaml: stages")
    stages = tuple(
        _stage(member, template, context)
        for name, entry in entries.items()
        for member, template, context in _expand(name, entry, params)
    )
    return StageGraph(stages=stages, edges=frozenset(_edges(stages)))


def resolve(text: str, context: Mapping[str, Any], where: str) -> str:
    """Fill in the `${...}` templates of a text.

    Args:
        text: what dvc.yaml says.
        context: the values that a template may name, by their first part.
        where: named in errors.

    Raises:
        StageGraphError: a template is not a dotted path, or leads to nothing or to no scalar.

    >>> resolve("models/${key}: ${item.uses[1]}", {"key": "ease", "item": {"uses": [0, 5]}}, "")
    'models/ease: 5'
    """

    def fill(match: re.Match[str]) -> str:
        value = _follow(match[1].strip(), context, where)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise StageGraphError(f"{where}: {match[0]} is {value!r}, expected text or a number")
        return str(value)

    return _TEMPLATE.sub(fill, text)


def needed_for(graph: StageGraph, *names: str) -> StageGraph:
    """The part of a graph that leads to some stages, these included.

    Raises:
        StageGraphError: there is no stage of such a name.
    """
    known = {stage.name for stage in graph.stages}
    if not set(names) <= known:
        missing = ", ".join(sorted(set(names) - known))
        raise StageGraphError(f"dvc.yaml has no stage {missing}; known: {', '.join(sorted(known))}")
    found = set(names)
    while more := {up for up, down in graph.edges if down in found} - found:
        found |= more
    return StageGraph(
        stages=tuple(stage for stage in graph.stages if stage.name in found),
        edges=frozenset(edge for edge in graph.edges if set(edge) <= found),
    )


def model_names(texts: Iterable[str]) -> list[str]:
    """The models that the lines of a DAG's param name, split as `start_run` splits `--models`.

    >>> model_names(["ease diffrec", "slim,ials "])
    ['ease', 'diffrec', 'slim', 'ials']
    """
    return " ".join(texts).replace(",", " ").split()


def _edges(stages: tuple[Stage, ...]) -> Iterator[tuple[str, str]]:
    """Yield (upstream, downstream) wherever a dep and an out overlap; an edge may come twice.

    By tables of paths, as a comparison of each dep with each out takes seconds.
    """
    writers: dict[str, list[str]] = {}
    writers_below: dict[str, list[str]] = {}
    for stage in stages:
        for out in map(normpath, stage.outs):
            writers.setdefault(out, []).append(stage.name)
            for folder in _folders(out):
                writers_below.setdefault(folder, []).append(stage.name)
    for stage in stages:
        for dep in map(normpath, stage.deps):
            for path in (dep, *_folders(dep)):
                yield from ((upstream, stage.name) for upstream in writers.get(path, ()))
            yield from ((upstream, stage.name) for upstream in writers_below.get(dep, ()))


def _folders(path: str) -> Iterator[str]:
    """The folders that hold a path, the nearest first.

    >>> list(_folders("a/b/c"))
    ['a/b', 'a']
    """
    while path := path.rpartition("/")[0]:
        yield path


def _expand(
    name: str, entry: Any, params: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield (stage name, its entry, what its templates may name); several for a foreach stage."""
    where = f"dvc.yaml: stage {name}"
    entry = _mapping(entry, where)
    if "foreach" not in entry:
        yield name, entry, params
        return
    _refuse_unknown(where, entry, {"foreach", "do"})
    members = entry["foreach"]
    if isinstance(members, str):
        match = _TEMPLATE.fullmatch(members)
        members = _follow(match[1].strip(), params, where) if match else members
    template = _mapping(entry.get("do"), f"{where}: do")
    for key, item in _mapping(members, f"{where}: foreach").items():
        yield f"{name}@{key}", template, {**params, "key": key, "item": item}


def _stage(name: str, entry: Mapping[str, Any], context: Mapping[str, Any]) -> Stage:
    where = f"dvc.yaml: stage {name}"
    _refuse_unknown(where, entry, _STAGE_KEYS)
    if not isinstance(entry.get("cmd"), str):
        raise StageGraphError(f"{where}: cmd is {entry.get('cmd')!r}, expected one command")
    meta = _mapping(entry.get("meta", {}), f"{where}: meta")
    _refuse_unknown(f"{where}: meta", meta, _META_KEYS)
    outs = [path for kind in ("outs", "metrics", "plots") for path in _paths(entry, kind, where)]
    return Stage(
        name=name,
        command=resolve(entry["cmd"], context, where),
        deps=tuple(resolve(path, context, where) for path in _paths(entry, "deps", where)),
        outs=tuple(resolve(path, context, where) for path in outs),
        resources=_resources(meta, where),
        queue=None if meta.get("queue") is None else str(meta["queue"]),
        timeout_minutes=_count(meta, "timeout_minutes", where),
        retries=_count(meta, "retries", where),
        desc=resolve(str(entry.get("desc", "")), context, where),
    )


def _resources(meta: Mapping[str, Any], where: str) -> str:
    value = meta.get("resources", "cpu")
    if value not in _RESOURCES:
        raise StageGraphError(f"{where}: meta.resources is {value!r}, expected cpu or gpu")
    return str(value)


def _count(meta: Mapping[str, Any], key: str, where: str) -> int | None:
    value = meta.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise StageGraphError(f"{where}: meta.{key} is {value!r}, expected a whole number")
    return value


def _paths(entry: Mapping[str, Any], kind: str, where: str) -> Iterator[str]:
    """Yield the paths of a list whose items are paths or `path: {flags}`."""
    items = entry.get(kind, [])
    if not isinstance(items, list):
        raise StageGraphError(f"{where}: {kind} is {items!r}, expected a list of paths")
    for item in items:
        path = next(iter(item)) if isinstance(item, dict) and len(item) == 1 else item
        if not isinstance(path, str):
            raise StageGraphError(f"{where}: {kind} holds {item!r}, expected a path")
        yield path


def _follow(reference: str, context: Mapping[str, Any], where: str) -> Any:
    """Return the value that a dotted path such as `item.uses[0]` leads to."""
    if not _REFERENCE.fullmatch(reference):
        raise StageGraphError(
            f"{where}: ${{{reference}}} is not a template that the DAG understands; "
            f"allowed: dotted paths with [positions], such as ${{key}} or ${{item.uses[0]}}"
        )
    value: Any = context
    for part in _REFERENCE_PART.findall(reference):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            known = ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)
            raise StageGraphError(f"{where}: ${{{reference}}} has no {part!r} (found: {known})")
    return value


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except FileNotFoundError as error:
        raise StageGraphError(f"{path} is missing: is this the project's folder?") from error
    except yaml.YAMLError as error:
        raise StageGraphError(f"{path} is not valid YAML: {error}") from error
    return _mapping(content, str(path))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise StageGraphError(f"{where} is {value!r}, expected a mapping with text as keys")
    return value


def _refuse_unknown(where: str, entry: Mapping[str, Any], allowed: set[str]) -> None:
    unknown = sorted(set(entry) - allowed)
    if unknown:
        raise StageGraphError(
            f"{where} uses {', '.join(unknown)}, which the DAG does not understand; "
            f"allowed: {', '.join(sorted(allowed))}. Teach dags/_stage_graph.py first"
        )
