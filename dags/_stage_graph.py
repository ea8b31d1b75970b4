"""The graph of dvc.yaml as plain values: the one graph that DVC runs and Airflow schedules.

Pure and quick: standard library and PyYAML only, because Airflow reads it each time it parses
the DAG. It knows the part of the dvc.yaml language that this project uses (`foreach` over a
mapping of params.yaml, `${key}`, `${item.uses[0]}`) and refuses the rest rather than guess;
tests/dags holds its stages and edges equal to DVC's own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

import yaml

_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
_REFERENCE = re.compile(r"\w+(\.\w+|\[\d+\])*")
_REFERENCE_PART = re.compile(r"\w+")
_FILE_KEYS = {"stages", "artifacts", "metrics", "params", "plots"}
_STAGE_KEYS = {
    "cmd", "desc", "deps", "params", "outs", "metrics", "plots", "meta", "always_changed", "frozen"
}  # fmt: skip


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
        desc: what it is for, in one line.
    """

    name: str
    command: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    resources: str
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


def overlaps(dep: str, out: str) -> bool:
    """Whether a stage that reads `dep` needs the stage that writes `out`.

    It does when one path holds the other: a file of a folder that is written, or a folder into
    which several stages write.

    >>> overlaps("data/items.parquet", "data"), overlaps("reports", "reports/a")
    (True, True)
    >>> overlaps("data/split", "data/split_old")
    False
    """
    dep_path, out_path = PurePosixPath(normpath(dep)), PurePosixPath(normpath(out))
    return dep_path.is_relative_to(out_path) or out_path.is_relative_to(dep_path)


def _edges(stages: tuple[Stage, ...]) -> Iterator[tuple[str, str]]:
    for downstream in stages:
        for upstream in stages:
            if any(overlaps(dep, out) for dep in downstream.deps for out in upstream.outs):
                yield upstream.name, downstream.name


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
    outs = [path for kind in ("outs", "metrics", "plots") for path in _paths(entry, kind, where)]
    return Stage(
        name=name,
        command=resolve(entry["cmd"], context, where),
        deps=tuple(resolve(path, context, where) for path in _paths(entry, "deps", where)),
        outs=tuple(resolve(path, context, where) for path in outs),
        resources=str(meta.get("resources", "cpu")),
        desc=resolve(str(entry.get("desc", "")), context, where),
    )


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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
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
