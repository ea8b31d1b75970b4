"""Logging and progress: bars and colours on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

log = logging.getLogger("pipeline")
console = Console(stderr=True)
_LOG_EVERY_SECONDS = 15.0


def set_up_logging(*, quiet: bool, verbose: bool) -> None:
    """Send our messages to standard error: warnings, information or debugging messages."""
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
def progress(label: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
    """Yield a function `advance(done, note)`: a bar on a terminal, log lines elsewhere.

    Args:
        label: what is being done.
        total: where `done` ends; None when that is not known.
    """
    if console.is_terminal and log.isEnabledFor(logging.INFO):
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
