"""The frame that every step shares: command line, logging, progress, report and exit codes.

A step module has a docstring (its `--help`), a function `add_arguments(parser)`, a function
`run(step)` and ends with `execute(run, add_arguments, __doc__)`. Where its data lies is told on
the command line, by dvc.yaml; what to do with it, by its section of params.yaml.
"""

import argparse
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from diffrec_core.common.artifacts import (
    atomic_directory,
    canonical_json,
    fingerprint,
    write_manifest,
    write_text,
)
from diffrec_core.common.config import ConfigT, check_sections, load_section, lookup
from diffrec_core.common.errors import ConfigError, DiffRecError

log = logging.getLogger("pipeline")

SECTIONS = frozenset(
    {
        *("seed", "seeds", "models", "runtime"),
        *("list_raw", "ingest", "build_interactions", "split"),
        *("pretrain_item_embeddings", "cluster_items", "tune", "train", "evaluate"),
        *("robustness", "select", "refit", "register", "gate", "recommend", "nightly", "monitor"),
    }
)
"""The top level of params.yaml."""
_LOG_EVERY_SECONDS = 15.0


@dataclass(slots=True)
class Step:
    """What a step is given.

    Attributes:
        args: its parsed command line.
        params: the whole of params.yaml.
        report: counts and facts that the step collects; written to `--report` with timings.
    """

    args: argparse.Namespace
    params: Mapping[str, Any]
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The run's seed: `seed` in params.yaml."""
        seed = lookup(self.params, "seed")
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"params.yaml: seed = {seed!r}: must be a whole number, 0 or more")
        return seed

    def section(self, key: str, model: type[ConfigT]) -> ConfigT:
        """Read a section of params.yaml into its model."""
        return load_section(self.params, key, model)

    @contextmanager
    def output(
        self, path: Path, *, schema: str, params: Mapping[str, Any], inputs: Mapping[str, Path]
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield a directory to fill and a dict of further manifest entries.

        When the block ends well, the manifest is written and the directory appears at `path`.
        """
        fingerprints = {name: fingerprint(source) for name, source in inputs.items()}
        extra: dict[str, Any] = {}
        with atomic_directory(path) as directory:
            yield directory, extra
            write_manifest(directory, schema=schema, params=params, inputs=fingerprints, **extra)

    @contextmanager
    def progress(self, label: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
        """Yield a function `advance(done, note)`: a bar on a terminal, log lines elsewhere."""
        with progress(label, total, quiet=self.args.quiet) as advance:
            yield advance


console = Console(stderr=True)


def execute(
    run: Callable[[Step], None],
    add_arguments: Callable[[argparse.ArgumentParser], None],
    doc: str | None,
) -> None:
    """Parse the command line, run the step, write its report, and exit with its code.

    Exit codes: 0 done, 2 bad parameters, 3 bad data, 4 bad artifact, 5 cannot write, 6 not enough
    memory, 7 an alarm of the monitor, 130 interrupted. A traceback means a bug.
    """

    def add_all_arguments(parser: argparse.ArgumentParser) -> None:
        add_arguments(parser)
        parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
        parser.add_argument(
            "--report", type=Path, metavar="FILE", help="counts and timings, as JSON"
        )

    command_line(partial(_run_step, run), add_all_arguments, doc)


def _run_step(run: Callable[[Step], None], args: argparse.Namespace) -> None:
    started = time.perf_counter()
    step = Step(args=args, params=read_params(args.params))
    run(step)
    if args.report:
        timings = {
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_mib": peak_memory_mib(),
        }
        write_text(args.report, canonical_json({**step.report, **timings}))


def command_line(
    main: Callable[[argparse.Namespace], None],
    add_arguments: Callable[[argparse.ArgumentParser], None],
    doc: str | None,
) -> None:
    """Parse the command line, run `main` on it, and exit with its code, as `execute` does.

    For commands that are no stages: they need no params.yaml and write no report.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only")
    parser.add_argument("--verbose", action="store_true", help="debug messages too")
    args = parser.parse_args()
    _set_up_logging(quiet=args.quiet, verbose=args.verbose)
    sys.exit(_guarded(main, args))


def _guarded(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    try:
        main(args)
    except DiffRecError as error:
        log.error("%s", error)
        return error.exit_code
    except KeyboardInterrupt:
        log.error("interrupted; nothing was left half-written, a re-run continues")
        return 130
    return 0


def read_params(path: Path) -> dict[str, Any]:
    """Read params.yaml (YAML 1.2, as DVC reads it).

    Raises:
        ConfigError: the file is missing, is not YAML, or has a section that nobody reads.
    """
    params = read_sections(path, YAML(typ="safe", pure=True))
    check_sections(params, SECTIONS)
    return params


def read_sections(path: Path, yaml: YAML) -> dict[str, Any]:
    """Read a file that holds sections of keys, with the given parser.

    Raises:
        ConfigError: it is missing, is not YAML, or holds no sections.
    """
    try:
        sections = yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing: run from the project's folder") from error
    except YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(sections, dict):
        raise ConfigError(f"{path} must hold sections of keys, found {type(sections).__name__}")
    return sections


def peak_memory_mib() -> float:
    """Largest resident size of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def _set_up_logging(*, quiet: bool, verbose: bool) -> None:
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, markup=False, rich_tracebacks=False)
        handler.setFormatter(logging.Formatter("%(message)s", datefmt="%H:%M:%S"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
        )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("pipeline", "diffrec_core"):
        logging.getLogger(name).setLevel(level)


@contextmanager
def progress(label: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[int, str], None]]:
    """Yield a function `advance(done, note)`: a bar on a terminal, log lines elsewhere.

    Args:
        label: what is being done.
        total: where `done` ends; None when that is not known.
        quiet: no bar.
    """
    if console.is_terminal and not quiet:
        with _bar() as bar:
            task = bar.add_task(label, total=total, note="")
            yield lambda done, note: bar.update(task, completed=done, note=note)
    else:
        yield _line_logger(label, total)


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
        transient=True,
    )


def _line_logger(label: str, total: int | None) -> Callable[[int, str], None]:
    """Log the first, the last and, in between, a line every few seconds."""
    last = 0.0

    def advance(done: int, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        at_end = total is not None and done >= total
        if at_end or now - last >= _LOG_EVERY_SECONDS:
            last = now
            log.info("%s %d/%s %s", label, done, "?" if total is None else total, note)

    return advance


def parse_time(text: str) -> datetime:
    """Read a moment; without an offset it is UTC.

    Raises:
        argparse.ArgumentTypeError: it is not ISO 8601.

    >>> parse_time("2026-11-24T01:00:00+01:00").isoformat()
    '2026-11-24T00:00:00+00:00'
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time: write it as 2026-11-24T00:00:00Z"
        ) from error
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def repository_root() -> Path:
    """The folder that holds this package: where git and dvc are asked about the code."""
    return Path(__file__).resolve().parents[2]
