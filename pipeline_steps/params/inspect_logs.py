"""Look at an unknown log and propose the sections of params.yaml that read it.

  python -m pipeline_steps inspect-logs raw/events.csv.gz
  python -m pipeline_steps inspect-logs raw --out proposal.yaml

Of a folder, the largest file is looked at and all are proposed. Writes to standard output, unless
a file is named; params.yaml is not changed. Guesses are marked: read them before you use them.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.errors import DataError
from diffrec_core.ingestion.inspection import inspect
from diffrec_core.ingestion.proposal import proposal
from diffrec_core.ingestion.raw_files import expand
from pipeline_steps.runtime.command import POSITIONAL, Inputs

log = logging.getLogger("pipeline")


class InspectLogsInputs(Inputs):
    """Where the log is."""

    path: Annotated[str, POSITIONAL]
    """A file, a folder or a pattern."""

    out: Path | None = None
    """File to write; by default standard output."""


def run(inputs: InspectLogsInputs) -> None:
    """Write the proposal.

    Raises:
        DataError: there is no file, or none that can be read.
    """
    files = [file for file in expand([inputs.path]) if file.stat().st_size]
    if not files:
        raise DataError(f"{inputs.path} holds empty files only")
    file = max(files, key=lambda each: each.stat().st_size)
    log.info("looking at %s, %d files in all", file, len(files))
    text = proposal(Path(inputs.path), inspect(file))
    if inputs.out:
        write_text(inputs.out, text)
    else:
        sys.stdout.write(text)
