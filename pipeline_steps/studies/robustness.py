"""Retrain models on noisier and noisier data, and see how much worse they rank clean test data.

Noise is added to train and validation: random pairs of users and items, and natural noise, the
events that `build_interactions.min_value` left out. Finished fits are kept: a killed run goes on
where it stopped. Writes one row for each fit, and a picture of what models lose.

  make robustness MODELS="ease diffrec"
"""

import csv
import io
from pathlib import Path

from diffrec_core.common.artifacts import write_text
from diffrec_core.data.splits import PARTS
from diffrec_core.report.noise import NoiseResult, noise_picture
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.command import Inputs, Report
from pipeline_steps.studies.noise_study import METRICS, NoiseStudy, StudyData


class RobustnessInputs(Inputs):
    """The data, clean, and the output."""

    events: Path
    """For natural noise."""

    interactions: Path
    """For the vocabulary."""

    train: Path
    """Training part."""

    validation: Path
    """Validation part."""

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
    write_text(inputs.out / "rows.csv", _csv(rows))
    write_text(inputs.out / "drop.svg", noise_picture(rows))
    return {"fits": len(rows)}


def _csv(rows: list[NoiseResult]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "noise", "share", "seed", *METRICS])
    for r in rows:
        writer.writerow([r.model, r.noise, f"{r.share:.4f}", r.seed, r.recall, r.ndcg])
    return buffer.getvalue()
