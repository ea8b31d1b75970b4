"""Simulated years of what decides at night."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.contest.policies import contest, policies
from benchmarks.contest.worlds import WORLDS, constant, drifting, measure
from benchmarks.gate import GateInputs, figures_of, run
from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ConfigError
from diffrec_core.contest.config import ContestConfig

CONFIG = ContestConfig()


def test_simulated_years_have_the_error_rate_and_the_delays_that_are_promised() -> None:
    """Between equals a switch in about four years; +5 % in 21 to 25 nights at 150 users."""
    world = WORLDS["recall"]
    equal = measure(constant(300, 0.0, 0.0, 0.0, 0.0), 150, world, 1)
    switches = figures_of("equal", equal, contest(equal, config=CONFIG))["switches_equal"]
    assert 0.08 < switches < 0.30
    better = measure(constant(300, 0.0, 0.05, nights=60), 150, world, 2)
    nights = figures_of(0.05, better, contest(better, config=CONFIG))["nights_to_5%"]
    assert 19 <= nights <= 27
    worse = measure(constant(100, 0.0, -0.5, nights=100), 150, world, 3)
    assert contest(worse, config=CONFIG).max() == 0


def test_every_policy_finds_what_is_much_better_but_the_one_that_never_looks() -> None:
    better = measure(constant(20, 0.0, 0.5, nights=100), 500, WORLDS["ndcg"], 0)
    for name, policy in policies(CONFIG).items():
        champions = policy(better)
        assert champions.shape == (20, 100)
        assert champions[:, -1].tolist() == [int(name != "never")] * 20, name


def test_regret_and_delays_by_hand() -> None:
    years = measure(constant(1, 0.0, 0.1, nights=4), 100, WORLDS["ndcg"], 0)
    champions = np.array([[0, 0, 1, 1]])
    # the recipe that serves a night was chosen after the one before: three of four nights lose .1
    drift = figures_of("drift", years, champions)
    assert drift["regret"] == pytest.approx(7.5)
    assert drift["switches"] == pytest.approx(365 / 4)
    found = figures_of(0.1, years, champions)
    assert found == {"nights_to_10%": 3.0, "found_in_30_10%": 1.0}
    assert figures_of("worse", years, champions)["years_to_worse"] == 1.0


def test_what_a_night_measures_has_the_spread_of_its_world() -> None:
    world = WORLDS["recall"]
    years = measure(constant(200, 0.0, 0.05, nights=50), 150, world, 0)
    difference = years.values[:, :, 1] - years.values[:, :, 0]
    assert difference.mean() == pytest.approx(0.05 * world.level, rel=0.1)
    expected = np.hypot(world.night_sd, world.user_sd / 150**0.5)
    assert difference.std() == pytest.approx(expected, rel=0.03)
    night = next(years.rounds())
    assert night.within.mean() / 149 == pytest.approx(world.user_sd**2, rel=0.03)
    truth = drifting(300, 0)
    assert truth[:, :, 0].std() == pytest.approx(0.02, rel=0.05)
    assert truth[:, :, 1:].mean() == pytest.approx(-0.01, abs=0.004)


def test_the_benchmark_writes_and_shows_a_row_for_each_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("never", "contest")
    run(GateInputs(reps=2, users=(50, 150), policies=names, out=tmp_path))
    written = read_json(tmp_path / "gate.json")
    assert tuple(sorted(written["rows"])) == tuple(sorted(names))
    assert [row["users"] for row in written["rows"]["contest"]] == [50, 150]
    assert written["rows"]["never"][0]["nights_to_2%"] is None
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'best' is unknown; known: never, "):
        run(GateInputs(policies=("best",), out=tmp_path))
