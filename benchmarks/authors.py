"""Train the DiffRec authors' own code with several seeds: the spread of one row of theirs.

  REFERENCE=checkout DIFFREC_BENCH_DATA=folder make bench-authors
  MODELS="diffrec t_diffrec" SEEDS="1 2 3" make bench-authors

Protocol A, with the settings of the preset ml-1m-clean, as their main.py does it: a validation
every 5 epochs, the end once the best is 20 epochs old, and the test of that epoch. Each training
takes minutes, in a process of its own; finished ones stay in reports/bench/authors.json, and are
done again if the settings changed.
"""

import logging
from functools import partial
from itertools import product
from typing import Literal

from benchmarks.diffrec_authors import checkout, train_to_early_stopping
from benchmarks.ml1m import METRICS, find_data
from benchmarks.processes import in_own_process
from benchmarks.results import Results, show, spread
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
    models = inputs.models or ["t_diffrec"]
    results = Results(inputs.out / "authors.json", ("model", "seed"))
    for model, seed in product(models, inputs.seeds or (1, 2, 3)):
        section = model_settings(model, "ml-1m-clean")
        settings = {"name": model, "model": section, "seed": seed, "workers": 0}
        where = {"reference": reference, "data": str(data)}
        train = partial(in_own_process, train_to_early_stopping, {**settings, **where})
        log.info("%s seed %d", model, seed)
        results.once(sha256_json(settings), {"model": model, "seed": seed, "protocol": "A"}, train)
    show("The authors' code, protocol A")
    for model in models:
        rows = [row for row in results.rows() if row["model"] == model]
        means = [f"{metric} {spread([row[metric] for row in rows])}" for metric in METRICS]
        show(f"{model}: {', '.join(means)}, {len(rows)} seeds")
