"""Check every section of params.yaml, before a run finds a fault in its last stage."""

from pipeline_steps.params.root import Params
from pipeline_steps.runtime.command import Inputs


class CheckParamsInputs(Inputs):
    """Nothing but the parameters."""


def run(inputs: CheckParamsInputs, params: Params) -> None:  # loading checks
    """Do nothing more: the frame has read `params`."""
