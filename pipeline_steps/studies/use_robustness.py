"""Switch the robustness step on in params.yaml, for some models, or off.

`make robustness` retrains the models that `robustness.models` names, as a preset may, on noisier
and noisier data; where that names none, ease, diffrec and l_diffrec. `make robustness MODELS="ease
lightgcn"` retrains those. `python -m pipeline_steps use-robustness --off` switches it off again.
"""

import argparse
import logging
from pathlib import Path

from diffrec_core.common.config import load_section, lookup
from diffrec_core.common.errors import ConfigError
from pipeline_steps.params import documents
from pipeline_steps.runtime.command import command_line, read_params
from pipeline_steps.studies.robustness import RobustnessConfig

log = logging.getLogger("pipeline")

_DEFAULT = ("ease", "diffrec", "l_diffrec")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the models."""
    parser.add_argument(
        "--models",
        nargs="*",
        default=[],
        help=f"entries under `models`; none: those named already, or else {', '.join(_DEFAULT)}",
    )
    parser.add_argument("--off", action="store_true", help="retrain nothing")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")


def main(args: argparse.Namespace) -> None:
    """Write the models into the `robustness` section.

    Raises:
        ConfigError: a model is unknown.
    """
    params = read_params(args.params)
    named = load_section(params, "robustness", RobustnessConfig).models
    known = list(lookup(params, "models") or {})
    models = [] if args.off else list(args.models or named) or [n for n in _DEFAULT if n in known]
    for name in models:
        if name not in known:
            raise ConfigError(f"{name!r} is not under `models`; known: {', '.join(known)}")
    changed = documents.update_section(args.params, "robustness", {"models": models})
    for line in changed or ["nothing to change"]:
        log.info("%s", line)


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
