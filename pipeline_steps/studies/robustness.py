"""Retrain models on noisier and noisier data, and see how much worse they rank clean test data.

Noise is added to train and validation: random pairs of users and items, and natural noise, the
events that `build_interactions.min_value` excluded. Finished fits are stored: a killed run resumes
where it stopped. Writes one row for each fit, and a picture of how much each model loses.

  make robustness MODELS="ease diffrec"
"""

from pathlib import Path

from diffrec_core.common.artifacts import write_text
from diffrec_core.data.splits import PARTS
from diffrec_core.report.noise import METRICS, noise_picture
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.command import Report
from pipeline_steps.runtime.inputs import PartsInputs
from pipeline_steps.runtime.outputs import write_csv
from pipeline_steps.studies.noise_study import NoiseStudy, StudyData


class RobustnessInputs(PartsInputs):
    """The data, clean, and the output."""

    events: Path
    """For natural noise."""

    interactions: Path
    """For the vocabulary."""

    test: Path
    """Test part."""

    out: Path
    """Folder to write: rows.csv and drop.svg."""

    finished: Path = Path(".robustness/rows.json")
    """Finished fits, for a run that goes on."""


def run(inputs: RobustnessInputs, params: Params) -> Report:
    """Fit every model on every noise with every seed, and write rows and picture."""
    paths = {part: getattr(inputs, part) for part in PARTS}
    data = StudyData.read(inputs.interactions, inputs.events, paths)
    rows = list(NoiseStudy(params, data, inputs.finished).run())
    cells = (
        {
            "model": row.model,
            "noise": row.noise,
            "share": f"{row.share:.4f}",
            "seed": row.seed,
            **{metric: row.value(metric) for metric in METRICS},
        }
        for row in rows
    )
    write_csv(inputs.out / "rows.csv", ["model", "noise", "share", "seed", *METRICS], cells)
    write_text(inputs.out / "drop.svg", noise_picture(rows))
    return {"fits": len(rows)}
