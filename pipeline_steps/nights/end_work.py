"""End the work of every stage that runs on this machine, as before a reboot.

  python -m pipeline_steps end-work

Each gets SIGTERM, and after a while SIGKILL; nothing is left half-written, and the same stage, run
again, goes on from its checkpoint. `make airflow` does this when it is stopped, so that no training
outlives it. Other machines' work goes on.
"""

import logging

from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.workers import end_all
from pipeline_steps.runtime.command import Inputs

log = logging.getLogger("pipeline")


class EndWorkInputs(Inputs):
    """None."""


def run(inputs: EndWorkInputs) -> None:  # the frame's signature
    """End all work of this machine and log what there was."""
    for stage in end_all(settings().workspaces):
        log.info("ended %s", stage)
