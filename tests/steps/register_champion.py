"""Run in a night's folder: fit the most popular items on what was before a time, make it champion.

`python register_champion.py INTERACTIONS UNTIL RECALL`, with MLFLOW_TRACKING_URI set.
"""

import sys
from datetime import datetime
from pathlib import Path

import mlflow
import pandas as pd
import polars as pl

from diffrec_core.data.histories import Histories
from diffrec_core.data.interactions import read_interactions
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from pipeline_steps.registry import tracking, versions
from pipeline_steps.runtime.command import repository_root


def main(folder: Path, until: datetime, recall: float) -> None:
    interactions = read_interactions(folder)
    known = interactions.frame.filter(pl.col("timestamp") < until)
    model = create({"kind": "ease", "l2": 10.0}, "train.popularity")
    histories = Histories.from_frame(known, len(interactions.users))
    model.fit(TrainingData(histories=histories, items=interactions.items))
    directory = Path("model")
    directory.mkdir(exist_ok=True)
    model.save(directory)
    with tracking.tracking("test"):
        with mlflow.start_run() as run:
            mlflow.log_metric("test_recall_at_20", recall)
        number = tracking.register_model(
            run.info.run_id,
            "diffrec",
            model=directory,
            interactions=folder,
            repeats="never",
            code=[repository_root() / "diffrec_core"],
            tags={"data_last": model.training_window[1]},
            example=pd.DataFrame({"user_id": [interactions.users.ids[0]]}),
        )
        versions.move_alias("diffrec", "champion", number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), float(sys.argv[3]))
