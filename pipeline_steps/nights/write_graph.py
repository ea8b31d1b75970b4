"""Write the stages of dvc.yaml and their order as JSON, for the DAGs to read.

  python -m pipeline_steps write-graph

Writes .nightly/stage_graph.json, unless it is there and of the present dvc.yaml and params.yaml.
The DAGs call this themselves where it is not: Airflow's environment has no DVC.

Exit codes: 0 up to date; 2 dvc.yaml or params.yaml is missing or wrong; 5 cannot write.
"""

import logging

from pipeline_steps.nights.stage_graph import load_graph
from pipeline_steps.runtime.command import Inputs, repository_root
from pipeline_steps.shared import GRAPH_FILE

log = logging.getLogger("pipeline")


class WriteGraphInputs(Inputs):
    """None."""


def run(inputs: WriteGraphInputs) -> None:  # the frame's signature
    """Bring the file up to date."""
    project = repository_root()
    stages = load_graph(project, project / GRAPH_FILE)
    log.info("%s is up to date: %d stages", GRAPH_FILE, len(stages))
