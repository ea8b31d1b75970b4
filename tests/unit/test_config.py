"""Messages of refused parameters: full key, value found, what is allowed."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from diffrec_core.common.config import Config, PositiveTuple, check_sections, load_section, lookup
from diffrec_core.common.errors import ConfigError
from diffrec_core.data.splits import SplitConfig
from diffrec_core.models.kinds import create


class Inner(Config):
    depth: int = Field(default=1, ge=1)


class Outer(Config):
    rate: float = 0.5
    widths: PositiveTuple = (1,)
    inner: Inner = Inner()


def load(section: Any) -> Outer:
    return load_section({"a": {"b": section}}, "a.b", Outer)


def test_values_and_defaults() -> None:
    config = load({"rate": 2, "widths": [3, 4]})
    assert (config.rate, config.widths, config.inner.depth) == (2.0, (3, 4), 1)


def test_an_empty_section_is_all_defaults() -> None:
    assert load(None) == Outer()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"rat": 1.0}, r"a\.b\.rat is not a known key \(did you mean 'rate'\?\); allowed: inner"),
        ({"inner": {"dept": 1}}, r"a\.b\.inner\.dept is not a known key \(did you mean 'depth'"),
        ({"rate": "fast"}, r"a\.b\.rate = 'fast': input should be a valid number"),
        ({"rate": True}, r"a\.b\.rate = True: "),
        ({"inner": {"depth": 0}}, r"a\.b\.inner\.depth = 0: .* greater than or equal to 1"),
        ({"inner": {"depth": 1.5}}, r"a\.b\.inner\.depth = 1\.5: "),
        ({"widths": [3, -1]}, r"a\.b\.widths\.1 = -1: .* greater than 0"),
        ([1], r"a\.b must be a mapping of keys, found \[1\]"),
    ],
)
def test_refusals(section: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(section)


def test_every_problem_is_listed() -> None:
    with pytest.raises(ConfigError) as error:
        load({"rate": "x", "inner": {"depth": 0}})
    assert "a.b.rate" in str(error.value)
    assert "a.b.inner.depth" in str(error.value)


def test_a_missing_section_names_what_is_there() -> None:
    with pytest.raises(ConfigError, match=r"a\.c is missing; keys at a: b"):
        lookup({"a": {"b": 1}}, "a.c")


def test_a_section_that_nobody_reads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trian is not a known section \(did you mean 'train'"):
        check_sections({"seed": 1, "trian": {}}, {"seed", "train"})


def test_configs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().rate = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise_min": 0.02, "noise_max": 0.01}, r"noise_min = 0\.02 must be less .* swapped"),
        ({"steps": 5, "inference_noise_steps": 6}, r"inference_noise_steps = 6 .* steps = 5"),
        ({"steps": 0}, r"train\.diffrec\.steps = 0"),
        ({"noise_scale": 60.0, "noise_max": 0.02}, r"noise_scale \* noise_max = 1\.2"),
        (
            {"noise_scale": 0, "prediction_target": "epsilon"},
            r"epsilon needs noise .*noise_scale = 0\.0 with noise_schedule = linear-var .*x_start",
        ),
        ({"recency": {"weight_min": 2.0}}, r"train\.diffrec\.recency: weight_min = 2\.0"),
        ({"noise_schedule": "liner"}, r"noise_schedule = 'liner': .*'linear-var'"),
        ({"reweight": True}, r"train\.diffrec\.reweight is not a known key"),
    ],
)
def test_diffrec_refusals(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create({"kind": "diffrec", **values}, "train.diffrec")


@pytest.mark.parametrize(
    "values",
    [
        {"noise_scale": 0.0},
        {"noise_scale": 0.0, "noise_schedule": "cosine", "prediction_target": "epsilon"},
        {"noise_scale": 1e-4, "prediction_target": "epsilon"},
    ],
)
def test_no_noise_is_for_x_start_and_schedules_without_scale_have_some(
    values: dict[str, Any],
) -> None:
    create({"kind": "diffrec", **values}, "train.diffrec")


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"kind = 'gan' is not a known model; known: popularity"):
        create({"kind": "gan"}, "train.gan")
    with pytest.raises(ConfigError, match=r"train\.x\.kind is required"):
        create({}, "train.x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validation_share": 0.5, "test_share": 0.5}, "must leave something to train on"),
        ({"method": "predefined"}, "needs validation_start and test_start"),
        (
            {
                "method": "predefined",
                "validation_start": "2020-02-01",
                "test_start": "2020-01-01",
            },
            "must be before",
        ),
    ],
)
def test_split_refusals(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_section({"split": values}, "split", SplitConfig)


class _Either(Config):
    value: Literal["never", "allowed"] | Annotated[int, Field(ge=1)]
    names: tuple[Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)], ...] = Field(
        default=(), strict=False
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"value": "x"}, "s.value = 'x': input should be 'never' or 'allowed', or input should be"),
        ({"value": 0}, "s.value = 0: input should be 'never' or 'allowed', or input should be gr"),
        ({"value": {"days": 3}}, "s.value = {'days': 3}: input should be 'never' or 'allowed', or"),
        ({"value": [1]}, "s.value = [1]: input should be 'never' or 'allowed', or input should"),
        ({"value": 1, "names": ["a", -1]}, "s.names.1 = -1: input should be a valid string, or "),
        ({"names": ["a"]}, "s.value is required and missing"),
    ],
)
def test_what_may_be_one_thing_or_another_is_named_by_its_key_once(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        _Either.parse(values, "s")
    assert str(raised.value).startswith(f"params.yaml: {message}")
    assert str(raised.value).count(" s.") == 1
