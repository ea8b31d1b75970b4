"""Every model's search space: its keys exist, and whatever is drawn is allowed."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.common.search_space import (
    Choice,
    Dimension,
    Real,
    Whole,
    get_value,
    with_value,
)
from diffrec_core.models.kinds import KINDS, create, implementation

CONFIGS = [
    *((kind, {"kind": kind}) for kind in KINDS),
    ("latent diffrec", {"kind": "diffrec", "latent": True}),
    ("diffrec of noise", {"kind": "diffrec", "prediction_target": "epsilon"}),
    ("binary sasrec", {"kind": "sasrec", "loss": "bce"}),
]
DENOISED = {"diffrec", "latent diffrec", "mult_vae", "mult_dae", "binary sasrec"}
"""Whose loss has a term for each interaction, to be weighed."""


def drawn(dimension: Dimension) -> list[Any]:
    match dimension.values:
        case Real(low, high) | Whole(low, high):
            return [low, high]
        case Choice(options):
            return list(options)


@pytest.mark.parametrize(("name", "section"), CONFIGS, ids=[name for name, _ in CONFIGS])
def test_every_value_of_every_dimension_is_allowed(name: str, section: dict[str, Any]) -> None:
    start = create(section, name).config.model_dump(mode="json")
    space = create(section, name).config.search_space()
    recency = [d for d in space if d.key == "recency.kind"]
    assert len(recency) == 1, "recency is tuned for every model"
    kinds = drawn(recency[0])
    assert kinds == ["none", "linear", "exponential_position", "exponential_age"]
    for kind, dimension in itertools.product(kinds, space):
        base = with_value(start, "recency.kind", kind)
        assert get_value(base, dimension.key) is not None
        if dimension.given and dimension.given[0] != "recency.kind":
            base = with_value(base, dimension.given[0], dimension.given[1][0])
        if dimension.counts(base):
            for value in drawn(dimension):
                create(with_value(base, dimension.key, value), name)


@pytest.mark.parametrize(("name", "section"), CONFIGS, ids=[name for name, _ in CONFIGS])
def test_denoising_is_tuned_where_there_is_any(name: str, section: dict[str, Any]) -> None:
    space = create(section, name).config.search_space()
    keys = [d.key.partition(".")[2] for d in space if d.key.startswith("denoising.")]
    expected = ["kind", "drop_rate_max", "exponent"] if name in DENOISED else []
    assert keys == expected


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_distinct_and_conditions_come_first(kind: str) -> None:
    space = implementation(kind).Config(kind=kind).search_space()
    names = [dimension.name for dimension in space]
    assert len(set(names)) == len(names)
    for number, dimension in enumerate(space):
        if dimension.given:
            assert dimension.given[0] in [d.key for d in space[:number]]


def test_wide_factors_are_among_those_that_ials_is_tried_with() -> None:
    space = implementation("ials").Config(kind="ials").search_space()
    (factors,) = (d.values for d in space if d.key == "factors")
    assert isinstance(factors, Whole)
    assert factors.high == 1024


def test_a_condition_tells_whether_a_dimension_counts() -> None:
    dimension = Dimension("recency.half_life", Real(1, 9), ("recency.kind", ("age", "place")))
    assert dimension.counts({"recency": {"kind": "age"}})
    assert not dimension.counts({"recency": {"kind": "none"}})
    assert not dimension.counts({})
    assert Dimension("l2", Real(1, 9)).counts({})


def test_ranges_are_widened_to_hold_a_value() -> None:
    assert Real(1.0, 9.0, log=True).including(20) == Real(1.0, 20.0, log=True)
    assert Real(1.0, 9.0).including(0.5) == Real(0.5, 9.0)
    assert Whole(2, 4).including(3) == Whole(2, 4)
    assert Choice(((1, 2), (3,))).including([1, 2]) == Choice(((1, 2), (3,)))
    assert Choice(((1, 2), (3,))).including([4]).options == ((1, 2), (3,), [4])


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.integers())
def test_what_is_put_is_got_and_the_original_stays(path: list[str], value: int) -> None:
    section: dict[str, Any] = {"a": {"b": {"c": 1}}, "c": 2}
    before = repr(section)
    changed = with_value(section, ".".join(path), value)
    assert get_value(changed, ".".join(path)) == value
    assert repr(section) == before
