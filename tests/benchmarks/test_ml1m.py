"""The paper's split and the roles that its parts play in each protocol."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.ml1m import METRICS, find_data, load_split, measure, protocol
from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.ranking import RankingTask
from tests.benchmarks.conftest import N_ITEMS

TWO_USERS = {
    "train": [(0, 5), (0, 3), (0, 1), (1, 2), (1, 4)],
    "test": [(0, 0), (1, 1)],
    "valid": [(0, 2), (0, 4), (1, 3)],
}


@pytest.fixture
def two_users(tmp_path: Path) -> Path:
    arrays = {name: np.array(pairs, dtype=np.int16) for name, pairs in TWO_USERS.items()}
    np.savez(tmp_path / "split.npz", **arrays)
    return tmp_path


def lists(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in np.split(histories.items, histories.offsets[1:-1])]


def selection(task: RankingTask | None) -> tuple[list[list[int]], list[list[int]]]:
    assert task is not None
    return lists(task.histories), lists(task.targets)


def test_the_parts_play_the_roles_of_each_protocol(two_users: Path) -> None:
    split = load_split(two_users)
    train = [[5, 3, 1], [2, 4]]

    a = protocol(split, "A")
    assert lists(a.data.histories) == lists(a.test.histories) == train
    assert selection(a.data.validation) == (train, [[2, 4], [3]])
    assert lists(a.test.targets) == [[0], [1]]

    c = protocol(split, "C")
    assert lists(c.data.histories) == train
    assert selection(c.data.validation) == (train, [[0], [1]])
    assert lists(c.test.histories) == [[5, 3, 1, 0], [2, 4, 1]]
    assert lists(c.test.targets) == [[2, 4], [3]]
    day = 86_400_000_000
    assert c.test.histories.timestamps.tolist() == [0, day, 2 * day, 3 * day, 0, day, 2 * day]
    assert split.items.ids == ("0", "1", "2", "3", "4", "5")
    assert split.embeddings is None


def test_protocol_a_masks_what_is_no_history(two_users: Path) -> None:
    fed: list[list[int]] = []

    def score(histories: Histories) -> torch.Tensor:
        fed.extend(lists(histories))
        # user 0: item 4, of valid, is best, then 3, of train, then the target 0
        return torch.tensor([[0.3, 0.0, 0.0, 0.4, 0.5, 0.0], [0.3, 0.2, 0.0, 0.0, 0.0, 0.1]])

    values = measure(score, protocol(load_split(two_users), "A"))

    assert fed == [[5, 3, 1], [2, 4]]
    # user 0 is left with item 0 alone; user 1 has the target second, after item 0
    assert values["recall@10"] == 1.0
    assert values["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_protocol_c_is_measured_as_the_pipeline_measures(data: Path) -> None:
    chosen = protocol(load_split(data), "C")
    table = torch.from_numpy(np.random.default_rng(1).normal(size=(N_ITEMS, N_ITEMS)))

    def score(histories: Histories) -> torch.Tensor:
        return torch.stack([table[items].sum(dim=0) for items in lists(histories)])

    expected = evaluate_task(score, chosen.test, EvaluationConfig(cutoffs=(10, 20))).metrics
    assert measure(score, chosen) == {name: expected[name] for name in METRICS}


def test_another_form_is_refused(two_users: Path) -> None:
    np.savez(two_users / "split.npz", train=np.zeros((1, 2)), late=np.zeros((1, 2)))
    with pytest.raises(DataError, match=r"must hold .* found \['late', 'train'"):
        load_split(two_users)


def test_missing_data_are_named(data: Path) -> None:
    assert find_data(str(data)) == data.resolve()
    for folder, why in (("", "it is not set"), ("gone", "gone holds none")):
        with pytest.raises(ConfigError, match=f"name a folder with split.npz, but {why}"):
            find_data(folder)
