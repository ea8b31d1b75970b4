"""The frame of every command: typed inputs to command line, sections, report, exit codes.

A command is a module with a docstring (its `--help`), a class of inputs and a function `run`:

    class Inputs(Inputs):
        interactions: Path
        \"\"\"Folder of interactions.\"\"\"

    def run(inputs: Inputs, split: SplitConfig, seed: Seed) -> Report: ...

Each field of the inputs is an option, its docstring the help; every other parameter of `run` is a
section of params.yaml (`runtime.sections`). A stage ends with `execute(run)`; `__main__` runs the
verbs.
"""

import argparse
import logging
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict
from pydantic.fields import FieldInfo

from diffrec_core.common.artifacts import canonical_json, write_text
from diffrec_core.common.config import Config
from diffrec_core.common.errors import DiffRecError
from pipeline_steps.runtime.progress import set_up_logging
from pipeline_steps.runtime.sections import load_sections, read_params, section_keys

log = logging.getLogger("pipeline")

Report = Mapping[str, Any]
"""Counts and facts of a command, written to `--report` with its timings."""


POSITIONAL: Final = "positional"
"""Marks a field of the inputs that is given by position."""


class Inputs(Config):
    """Base of the inputs of a command: paths and names, frozen; texts are read as their types."""

    model_config = ConfigDict(strict=False, protected_namespaces=(), populate_by_name=True)


def execute(run: Callable[..., Report | None], argv: list[str] | None = None) -> NoReturn:
    """Parse the command line, run the command, write its report, and exit with its code.

    Exit codes: 0 done, 2 bad parameters, 3 bad data, 4 bad artifact, 5 cannot write, 6 not enough
    memory, 7 an alarm, 130 interrupted. A traceback means a bug.
    """
    args = vars(command_line(run).parse_args(argv))
    set_up_logging(quiet=args.pop("quiet"), verbose=args.pop("verbose"))
    sys.exit(_exit_code(run, args))


def command_line(run: Callable[..., Report | None]) -> argparse.ArgumentParser:
    """The command line of a command: its inputs, and the options of every command."""
    parser = argparse.ArgumentParser(
        description=sys.modules[run.__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, field in _inputs(run).model_fields.items():
        _add_option(parser, name, field)
    if section_keys(run) or "params" in get_type_hints(run):
        parser.add_argument(
            "--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="parameters"
        )
    parser.add_argument("--report", type=Path, metavar="FILE", help="counts and timings, as JSON")
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only")
    parser.add_argument("--verbose", action="store_true", help="debug messages too")
    return parser


def _inputs(run: Callable[..., Any]) -> type[Inputs]:
    inputs: type[Inputs] = get_type_hints(run)["inputs"]
    return inputs


def _add_option(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    kind, options = _plain(field.annotation), dict[str, Any](help=_help(field))
    if POSITIONAL in field.metadata:
        if get_origin(kind) is tuple:
            options["nargs"] = "+"
        elif not field.is_required():
            options |= {"nargs": "?", "default": argparse.SUPPRESS}
        parser.add_argument(name, **options)
        return
    if kind is bool:
        options["action"] = "store_true"
    elif get_origin(kind) is Literal:
        options["choices"] = get_args(kind)
    elif get_origin(kind) is tuple:
        options |= {"nargs": "+" if field.is_required() else "*", "action": "extend"}
        options["metavar"] = name.upper()
    else:
        options["metavar"] = {Path: "PATH", int: "N"}.get(kind, name.upper())
    flag = f"--{(field.alias or name).replace('_', '-')}"
    default = {} if field.is_required() else {"default": argparse.SUPPRESS}
    parser.add_argument(flag, dest=name, required=field.is_required(), **default, **options)


def _plain(annotation: Any) -> Any:
    """The type without its `| None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split()).replace("%", "%%")
    default = field.default
    if field.is_required() or default in (None, False, ()):
        return text
    return f"{text} (default: {default})"


def _exit_code(run: Callable[..., Report | None], args: dict[str, Any]) -> int:
    started = time.perf_counter()
    params_path, report_path = args.pop("params", None), args.pop("report")
    try:
        inputs = _inputs(run).parse(args, "", "command line")
        report = run(inputs, **_sections(run, params_path, inputs))
        if report_path:
            seconds = round(time.perf_counter() - started, 3)
            timings = {"seconds": seconds, "peak_memory_mib": peak_memory_mib()}
            write_text(report_path, canonical_json({**(report or {}), **timings}))
    except DiffRecError as error:
        log.error("%s", error)
        return error.exit_code
    except KeyboardInterrupt:
        log.error("interrupted; nothing was left half-written, a re-run continues")
        return 130
    return 0


def _sections(
    run: Callable[..., Report | None], path: Path | None, inputs: Inputs
) -> dict[str, Any]:
    if path is None:
        return {}
    sections = load_sections(run, read_params(path), inputs)
    whole = get_type_hints(run).get("params")
    if whole is not None:
        sections["params"] = path if whole is Path else whole.load(path)
    return sections


def peak_memory_mib() -> float:
    """Largest resident size of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def repository_root() -> Path:
    """The folder that holds this package."""
    return Path(__file__).resolve().parents[2]
