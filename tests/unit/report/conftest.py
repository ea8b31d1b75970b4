"""A small run: three models, 24 items, two sample users; and the smallest one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from diffrec_core.report.data import ReportData
from tests.unit.report.runs import make_data, make_one_item


@pytest.fixture
def data() -> ReportData:
    """`ease` wins on validation, `lightgcn` is the runner-up, `popularity` the baseline."""
    return make_data()


Change = Callable[..., ReportData]


@pytest.fixture
def changed(data: ReportData) -> Change:
    """Give the run with some fields replaced; checked anew."""
    return lambda **changes: replace(data, **changes)


@pytest.fixture
def one_item() -> ReportData:
    """The smallest run: one model, one item, one user, one instant."""
    return make_one_item()
