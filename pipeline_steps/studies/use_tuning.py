"""Switch tuning on in params.yaml, for some models or all, with one budget for each.

`make tune` gives every model 20 trials, `make tune MODELS="ease t_diffrec" BUDGET=10m` each of two
ten minutes (also 90s, 2h). While tuning is on, models are added to those named before, whose
settings would be forgotten otherwise. `python -m pipeline_steps use-tuning --off` goes back to the
settings in params.yaml, and to no names.
"""

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffrec_core.common.config import load_section, lookup
from diffrec_core.common.errors import ConfigError
from pipeline_steps.params import documents
from pipeline_steps.runtime.command import command_line, read_params
from pipeline_steps.studies.tune import TuneConfig

log = logging.getLogger("pipeline")

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DEFAULT = "20"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare models and budget."""
    parser.add_argument(
        "--models",
        nargs="*",
        default=[],
        help="entries under `models`, beside those named before; none: all",
    )
    parser.add_argument(
        "--budget",
        default=_DEFAULT,
        help="trials per model, or seconds, minutes, hours: 90s 10m 2h",
    )
    parser.add_argument("--off", action="store_true", help="train with params.yaml as it is")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")


def main(args: argparse.Namespace) -> None:
    """Write the `tune` section.

    Raises:
        ConfigError: a model is unknown, or the budget is not one.
    """
    params = read_params(args.params)
    present = load_section(params, "tune", TuneConfig)
    values = _section(args, present, list(lookup(params, "models") or {}))
    for line in documents.update_section(args.params, "tune", values) or ["nothing to change"]:
        log.info("%s", line)


def _section(args: argparse.Namespace, present: TuneConfig, known: list[str]) -> dict[str, Any]:
    if args.off:
        return {"enabled": False, "models": None}
    for name in args.models:
        if name not in known:
            raise ConfigError(
                f"--models: {name!r} is not under `models`; known: {', '.join(known)}"
            )
    trials, seconds = parse_budget(args.budget or _DEFAULT)
    models = list(args.models) or None
    if present.enabled:
        models = _together(present.models, models)
    return {"enabled": True, "models": models, "trials": trials, "seconds": seconds}


def _together(before: Sequence[str] | None, now: Sequence[str] | None) -> list[str] | None:
    """Names of both, each once; None, which is all models, stays all.

    >>> _together(("ease", "slim"), ["ials", "ease"]), _together(None, ["ials"])
    (['ease', 'slim', 'ials'], None)
    """
    return None if before is None or now is None else list(dict.fromkeys([*before, *now]))


def parse_budget(text: str) -> tuple[int | None, float | None]:
    """Read a budget: trials, or seconds.

    Raises:
        ConfigError: it is neither.

    >>> parse_budget("50"), parse_budget("10m")
    ((50, None), (None, 600.0))
    """
    match = re.fullmatch(r"(\d+)([smh]?)", text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigError(
            f"budget {text!r}: give a number of trials such as 20, or a time such as 90s, 10m, 2h"
        )
    if match[2]:
        return None, int(match[1]) * _SECONDS[match[2]]
    return int(match[1]), None


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
