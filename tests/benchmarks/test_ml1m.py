"""The paper's split and the roles that its parts play in each protocol."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks._ml1m import METRICS, load_split, measure, protocol
from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from tests.benchmarks.conftest import N_ITEMS


def lists(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in np.split(histories.items, histories.offsets[1:-1])]


def write_split(folder: Path, **parts: list[tuple[int, int]]) -> Path:
    np.savez(folder / "split.npz", **{k: np.array(v, dtype=np.int16) for k, v in parts.items()})
    return folder


TWO_USERS = {
    "train": [(0, 5), (0, 3), (0, 1), (1, 2), (1, 4)],
    "test": [(0, 0), (1, 1)],
    "valid": [(0, 2), (0, 4), (1, 3)],
}


def test_the_parts_play_the_roles_of_each_protocol(tmp_path: Path) -> None:
    split = load_split(write_split(tmp_path, **TWO_USERS))

    a = protocol(split, "A")
    assert lists(a.train) == [[5, 3, 1], [2, 4]]
    assert lists(a.selection.histories) == lists(a.test.histories) == [[5, 3, 1], [2, 4]]
    assert lists(a.selection.targets) == [[2, 4], [3]]
    assert lists(a.test.targets) == [[0], [1]]
    assert lists(a.seen) == [[5, 3, 1, 2, 4], [2, 4, 3]]

    c = protocol(split, "C")
    assert lists(c.train) == lists(c.selection.histories) == [[5, 3, 1], [2, 4]]
    assert lists(c.selection.targets) == [[0], [1]]
    assert lists(c.test.histories) == lists(c.seen) == [[5, 3, 1, 0], [2, 4, 1]]
    assert lists(c.test.targets) == [[2, 4], [3]]
    day = 86_400_000_000
    assert c.test.histories.timestamps.tolist() == [0, day, 2 * day, 3 * day, 0, day, 2 * day]
    assert split.items.ids == ("0", "1", "2", "3", "4", "5")


def test_protocol_a_masks_what_is_no_history(tmp_path: Path) -> None:
    split = load_split(write_split(tmp_path, **TWO_USERS))
    fed: list[list[int]] = []

    def score(histories: Histories) -> torch.Tensor:
        fed.extend(lists(histories))
        # user 0: item 4, of valid, is best, then 3, of train, then the target 0
        return torch.tensor([[0.3, 0.0, 0.0, 0.4, 0.5, 0.0], [0.3, 0.2, 0.0, 0.0, 0.0, 0.1]])

    values = measure(score, protocol(split, "A"))

    assert fed == [[5, 3, 1], [2, 4]]
    # user 0 is left with item 0 alone; user 1 has the target second, after item 0
    assert values["recall@10"] == 1.0
    assert values["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_protocol_c_is_measured_as_the_pipeline_measures(data: Path) -> None:
    chosen = protocol(load_split(data), "C")
    table = torch.from_numpy(np.random.default_rng(1).normal(size=(N_ITEMS, N_ITEMS)))

    def score(histories: Histories) -> torch.Tensor:
        return torch.stack([table[items].sum(dim=0) for items in lists(histories)])

    config = EvaluationConfig(cutoffs=(10, 20))
    expected = evaluate_task(score, chosen.test, config).metrics
    assert measure(score, chosen, batch_size=5) == {name: expected[name] for name in METRICS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": [(1, 2), (0, 5)]}, "train must be grouped by user"),
        ({"late": [(0, 1)]}, r"must hold .* found \['late'"),
    ],
)
def test_another_form_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_split(tmp_path, **{**TWO_USERS, **change})
    with pytest.raises(DataError, match=message):
        load_split(tmp_path)
