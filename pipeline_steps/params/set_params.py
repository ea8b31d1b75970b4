"""Set values in params.yaml; its comments and layout stay.

python -m pipeline_steps set train.ease.l2=100.0 'robustness.models=[ease]'
"""

import logging
from functools import reduce
from pathlib import Path
from typing import Annotated

from pipeline_steps.params.overlay import change, parse_assignment
from pipeline_steps.params.presets import merged
from pipeline_steps.runtime.command import POSITIONAL, Inputs

log = logging.getLogger("pipeline")


class SetInputs(Inputs):
    """The values."""

    values: Annotated[tuple[str, ...], POSITIONAL]
    """KEY=VALUE, such as train.diffrec.steps=10; the value is YAML."""


def run(inputs: SetInputs, params: Path) -> None:
    """Set the values.

    Raises:
        ConfigError: a key is unknown, or a value is not allowed.
    """
    overlay = reduce(merged, map(parse_assignment, inputs.values))
    for line in change(params, overlay) or ["nothing to change"]:
        log.info("%s", line)
