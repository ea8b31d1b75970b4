"""Models are retrained on noise for real, test data stay clean, and finished fits are kept."""

import csv
import json
from collections.abc import Callable, Sequence

import pytest

from tests.integration.conftest import Project

pytestmark = pytest.mark.integration

MODELS = ("ease", "l_diffrec")


def rows(project: Project) -> Sequence[dict[str, str]]:
    with (project.root / "reports/robustness/rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_noise_is_measured_on_clean_data_and_kept(new_project: Callable[[], Project]) -> None:
    project = new_project()
    project.change(robustness={"models": list(MODELS), "random_shares": [2.0], "seeds": 2})
    project.change(build_interactions={"min_value": 5.0})
    project.repro("split")
    project.repro("studies/dvc.yaml:robustness")
    found = rows(project)
    expected = [
        (str(seed), noise, model)
        for seed in range(2)
        for noise in ("none", "random", "natural")
        for model in MODELS
    ]
    assert [(row["seed"], row["noise"], row["model"]) for row in found] == expected
    # of recall nothing is left to lose: what is masked leaves few items to each user
    ndcg = {(r["model"], r["noise"], r["seed"]): float(r["ndcg@20"]) for r in found}
    for seed in "01":  # twice as much noise as signal
        assert ndcg["ease", "random", seed] < ndcg["ease", "none", seed]
    assert (project.root / "reports/robustness/drop.svg").read_text().startswith("<svg")

    kept = project.root / ".robustness/rows.json"
    values = json.loads(kept.read_text())
    assert len(values) == len(expected)
    key = next(iter(values))
    values[key] = [0.125, 0.25]  # a fit that is kept is not run again
    kept.write_text(json.dumps(values))
    project.repro("--force", "--single-item", "studies/dvc.yaml:robustness")
    again = rows(project)
    changed = [(a, b) for a, b in zip(found, again, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0][1]["recall@20"] == "0.125"
