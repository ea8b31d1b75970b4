"""End every stage that is running on this machine, such as before a reboot.

  python -m pipeline_steps end-work

Each gets SIGTERM, and SIGKILL if it has not ended after a while; nothing is left half-written, and
the same stage, run again, resumes from its checkpoint. `make airflow` does this when it is stopped,
so that no training outlives it. Stages on other machines keep running.
"""

import logging

from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.workers import end_all
from pipeline_steps.runtime.command import Inputs

log = logging.getLogger("pipeline")


def run(inputs: Inputs) -> None:  # the frame's signature
    """End all jobs of this machine and log their names."""
    for stage in end_all(settings().workspaces):
        log.info("ended %s", stage)
