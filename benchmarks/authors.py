"""Train the DiffRec authors' own code with several seeds: the spread of one row of theirs.

  REFERENCE=checkout DIFFREC_BENCH_DATA=folder make bench-authors
  MODELS="diffrec t_diffrec" SEEDS="1 2 3" make bench-authors

Protocol A, with the settings of the preset ml-1m-clean, as their main.py does it: a validation
every 5 epochs, the end once the best is 20 epochs old, and the test of that epoch. Each training
takes minutes, in a process of its own; finished ones stay in reports/bench/authors.json, and are
done again if the settings changed.
"""

import logging
from collections.abc import Sequence
from itertools import product
from typing import Literal

from rich import box
from rich.table import Table

from benchmarks.diffrec_authors import checkout, train_to_early_stopping
from benchmarks.ml1m import METRICS, find_data
from benchmarks.processes import in_own_process
from benchmarks.results import Results, Row, show, spread
from benchmarks.settings import BenchInputs, model_settings
from diffrec_core.common.artifacts import sha256_json

log = logging.getLogger("pipeline")


class AuthorsInputs(BenchInputs):
    """The checkout and the choice of trainings."""

    reference: str = ""
    """The authors' checkout."""

    models: tuple[Literal["diffrec", "t_diffrec"], ...] = ()
    """diffrec, t_diffrec or both; by default t_diffrec."""

    seeds: tuple[int, ...] = ()
    """One training each; by default 1 2 3."""


def run(inputs: AuthorsInputs) -> None:
    """Train what is not finished, and show means and standard deviations.

    Raises:
        ConfigError: there are no data, or no checkout.
        WorkError: a training failed; those before it are finished.
    """
    data, reference = find_data(inputs.data), checkout(inputs.reference)
    models, results = (
        inputs.models or ["t_diffrec"],
        Results(inputs.out / "authors.json", ("model", "seed")),
    )
    for model, seed in product(models, inputs.seeds or (1, 2, 3)):
        section = model_settings(model, "ml-1m-clean")
        settings = {"name": model, "model": section, "seed": seed, "workers": 0}
        key = sha256_json(settings)
        if results.find(key) is None:
            log.info("%s seed %d", model, seed)
            settings |= {"reference": reference, "data": str(data)}
            row = in_own_process(train_to_early_stopping, settings)
            results.add({"key": key, "model": model, "seed": seed, "protocol": "A", **row})
    show(_table(models, results.rows()))


def _table(models: Sequence[str], rows: Sequence[Row]) -> Table:
    title = "The authors' code, protocol A"
    table = Table("model", *METRICS, "seeds", title=title, box=box.MARKDOWN)
    for model in models:
        own = [row for row in rows if row["model"] == model]
        cells = (spread([row[metric] for row in own]) for metric in METRICS)
        table.add_row(model, *cells, str(len(own)))
    return table
