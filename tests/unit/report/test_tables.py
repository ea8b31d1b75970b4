"""Tables hold the numbers that were given, and mark the best."""

from dataclasses import replace
from datetime import UTC, datetime

from diffrec_core.report.facts import flatten, parts_table, write_value
from diffrec_core.report.tables import detail_tables, main_table
from tests.unit.report.runs import METRICS, certainty


def test_main_table_holds_every_model_and_number(data):
    table = main_table(data)
    assert table.groups == [("Validation, 41 users", 2), ("Test, 43 users", 2), ("Cost", 3)]
    assert [model.name for model, _ in table.rows] == ["ease", "lightgcn", "popularity"]
    keys = ["recall@20", "ndcg@20"]
    for model, cells in table.rows:
        expected = [model.validation[key] for key in keys] + [model.test[key] for key in keys]
        costs = [model.fit_seconds, model.parameters, model.peak_memory_mib]
        assert [cell.value for cell in cells] == expected + costs
        assert [cell.text for cell in cells[:4]] == [f"{value:.4f}" for value in expected]
    assert [cell.text for cell in table.rows[0][1][4:]] == ["12.35", "1,234,567", "512"]
    assert table.rows[2][1][4].text == "<0.01"


def test_the_best_of_each_metric_is_marked_and_no_cost(data):
    data.models[2].test["ndcg@20"] = 0.9
    best = {model.name: [cell.best for cell in cells] for model, cells in main_table(data).rows}
    assert best["ease"] == [True] * 3 + [False] * 4
    assert best["popularity"] == [False] * 3 + [True] + [False] * 3
    assert not any(best["lightgcn"])


def test_groups_p_values_and_intervals_are_shown_where_there_are_any(data):
    told = {
        "ease": certainty(0, None, differs=False),
        "lightgcn": certainty(0, 0.31, differs=False),
        "popularity": certainty(1, 0.0002, differs=True),
    }
    models = [replace(model, certainty=told[model.name]) for model in data.models]
    table = main_table(replace(data, models=models))
    assert table.groups == [("Validation, 41 users", 4), ("Test, 43 users", 4), ("Cost", 3)]
    headings = [column.heading for column in table.columns]
    assert headings[2:4] == headings[6:8] == ["group", "p"]
    rows = {model.name: cells for model, cells in table.rows}
    assert [rows[name][2].text for name in told] == ["A", "A", "B"]
    assert [rows[name][3].text for name in told] == ["1.000", "0.310", "<0.001"]
    assert [rows[name][2].value for name in told] == [0, 0, 1]
    assert rows["ease"][0].small == [".1000–.2000"]
    assert [cell.small for cell in rows["ease"][1:4]] == [[]] * 3
    assert not any(cell.best for cells in rows.values() for cell in cells[2:4])
    lone = main_table(replace(data, models=models[:1]))
    assert "p" not in [column.heading for column in lone.columns]


def test_the_metric_of_the_choice_is_a_column_of_the_main_table(data):
    table = main_table(replace(data, selected_on="validation map@10"))
    headings = [(column.group, column.heading, column.chosen) for column in table.columns]
    assert ("Validation, 41 users", "map@10", True) in headings
    assert ("Test, 43 users", "map@10", False) in headings


def test_details_hold_every_metric_at_every_cutoff(data):
    tables = dict(detail_tables(data))
    assert list(tables) == [10, 20, 50]
    for k, table in tables.items():
        assert [column.heading for column in table.columns] == 2 * [f"{m}@{k}" for m in METRICS]
        for model, cells in table.rows:
            assert cells[len(METRICS)].value == model.test[f"recall@{k}"]


def test_facts_of_parts_become_a_table():
    table = parts_table(
        {"train": {"users": 1200, "new_users": 0}, "test": {"users": 7, "new_users": 1}}
    )
    assert table.columns == ["", "users", "new users"]
    assert table.rows == [("train", ["1,200", "0"]), ("test", ["7", "1"])]


def test_flatten_keeps_every_leaf_in_order():
    nested = {"a_b": {"c": {"d": 1}, "e": [1, None]}, "f": False}
    assert list(flatten(nested)) == [("a b · c · d", "1"), ("a b · e", "1, –"), ("f", "no")]


def test_times_are_shortened_only_where_they_are_utc():
    assert write_value(datetime(2024, 5, 1, 12, tzinfo=UTC).isoformat()) == "2024-05-01 12:00 UTC"
    assert write_value("2024-05-01T12:00:00.123456+00:00") == "2024-05-01 12:00 UTC"
    assert write_value("2024-05-01T12:00:00+02:00") == "2024-05-01T12:00:00+02:00"
    assert write_value("2024-05-01") == "2024-05-01"
