"""Error rates, delays and regret of what decides at night, in simulated years.

  make bench-gate
  REPS=100 USERS="150 2000" make bench-gate
  python -m benchmarks gate --world ndcg --policies contest --odds 60

A year has 365 nights, a night so many users. Each policy sees the same nights:

  switches, equal     switches a year between four equal recipes: all are needless
  years to worse      share of the years with a switch, when three challengers are 1 % worse
  nights to +2 %      that a challenger which is better needs to become champion, in the median; -
                      where it does so in less than half of the years
  regret              mean shortfall from the best recipe of each night, in % of the metric, of a
                      champion and three challengers that drift; and switches a year

The level and spread of the metric are those of weekly nights of MovieLens-100K. The contest is that
of diffrec_core.contest, which is here called with its own functions; the others are simplified. All
weights are taken to be fresh: that today's gate serves old ones is in no figure.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from rich.table import Table

from benchmarks.contest.policies import NAMES, Policy, policies
from benchmarks.contest.worlds import WORLDS, World, Years, constant, drifting, measure
from benchmarks.results import show
from diffrec_core.common.artifacts import write_json
from diffrec_core.common.errors import ConfigError
from diffrec_core.common.rng import derive_seed
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import Floats, Indices
from pipeline_steps.runtime.command import Inputs
from pipeline_steps.runtime.progress import progress

GAINS = (0.02, 0.05)
_TASKS = ("equal", "worse", *GAINS, "drift")

Figures = dict[str, Any]


class GateInputs(Inputs):
    """What is simulated."""

    reps: int = Field(default=400, ge=1)
    """Years for each figure."""

    users: tuple[int, ...] = ()
    """Of a night; by default 50 150 500 2000 10000."""

    world: Literal["recall", "ndcg"] = "recall"
    """The metric whose spread is simulated: recall or ndcg, both @20."""

    policies: tuple[str, ...] = ()
    """Names in the table; by default all."""

    odds: float = Field(default=20.0, gt=1.0)
    """Of the contest."""

    horizon: int = Field(default=60, ge=9)
    """Nights that count in the contest."""

    seed: int = 0
    """Of all draws."""

    out: Path = Path("reports/bench")
    """Folder of results."""


def run(inputs: GateInputs) -> None:
    """Simulate, show the table and write it to gate.json.

    Raises:
        ConfigError: a policy is unknown.
    """
    config = ContestConfig(odds=inputs.odds, horizon_nights=inputs.horizon)
    chosen = _choose(policies(config), inputs.policies)
    users = tuple(dict.fromkeys(inputs.users)) or (50, 150, 500, 2000, 10000)
    rows: dict[str, list[Figures]] = {name: [] for name in chosen}
    with progress("gate", len(users) * len(_TASKS) * len(chosen)) as advance:
        for done, (name, number, figures) in enumerate(_simulate(chosen, users, inputs), 1):
            if len(rows[name]) < users.index(number) + 1:
                rows[name].append({"users": number})
            rows[name][-1] |= figures
            advance(done, f"{number} users, {name}")
    write_json(inputs.out / "gate.json", {"reps": inputs.reps, "world": inputs.world, "rows": rows})
    show(_table(rows, inputs), "Users of a night: " + " / ".join(map(str, users)))


def _choose(known: dict[str, Policy], names: Sequence[str]) -> dict[str, Policy]:
    for name in names:
        if name not in known:
            raise ConfigError(f"--policies {name!r} is unknown; known: {', '.join(NAMES)}")
    return {name: policy for name, policy in known.items() if not names or name in names}


def _simulate(
    chosen: dict[str, Policy], users: Sequence[int], inputs: GateInputs
) -> Iterator[tuple[str, int, Figures]]:
    """Policy, users and figures of each simulation; all policies see the same nights."""
    for number in users:
        for task in _TASKS:
            seed = derive_seed(inputs.seed, str(task), number)
            years = measure(_truth(task, inputs.reps, seed), number, WORLDS[inputs.world], seed)
            for name, policy in chosen.items():
                yield name, number, figures_of(task, years, policy(years))


def _truth(task: str | float, reps: int, seed: int) -> Floats:
    if task == "equal":
        return constant(reps, 0.0, 0.0, 0.0, 0.0)
    if task == "worse":
        return constant(reps, 0.0, -0.01, -0.01, -0.01)
    return drifting(reps, seed + 2) if task == "drift" else constant(reps, 0.0, float(task))


def figures_of(task: str | float, years: Years, champions: Indices) -> Figures:
    """Figures of (R, T) champions after each night of years."""
    before = np.concatenate([np.zeros_like(champions[:, :1]), champions[:, :-1]], axis=1)
    is_switch = champions != before
    a_year = float(is_switch.sum(axis=1).mean() * 365 / champions.shape[1])
    error = float(is_switch.sum(axis=1).std() / np.sqrt(len(champions)))
    match task:
        case "equal":
            return {"switches_equal": a_year, "switches_equal_error": error}
        case "worse":
            return {"years_to_worse": float(is_switch.any(axis=1).mean())}
        case "drift":
            return {"regret": _regret(years.truth, before), "switches": a_year}
    found = np.where((champions == 1).any(axis=1), (champions == 1).argmax(axis=1) + 1.0, np.inf)
    nights = float(np.median(found))
    return {
        f"nights_to_{task:.0%}": nights if np.isfinite(nights) else None,
        f"found_in_30_{task:.0%}": float((found <= 30).mean()),
    }


def _regret(truth: Floats, serving: Indices) -> float:
    served = np.take_along_axis(truth, serving[:, :, None], axis=2)[:, :, 0]
    return float(100 * (truth.max(axis=2) - served).mean())


_COLUMNS = {
    "switches, equal": "switches_equal",
    "years to worse": "years_to_worse",
    **{f"nights to +{gain:.0%}": f"nights_to_{gain:.0%}" for gain in GAINS},
    "regret, %": "regret",
    "switches, drift": "switches",
}


def _table(rows: dict[str, list[Figures]], inputs: GateInputs) -> Table:
    world: World = WORLDS[inputs.world]
    table = Table(
        title=f"{inputs.reps} years each; {inputs.world} of {world.level}, user sd "
        f"{world.user_sd}, night sd {world.night_sd}"
    )
    for column in ("policy", *_COLUMNS):
        table.add_column(column)
    for name, figures in rows.items():
        cells = ("/".join(_cell(one[key]) for one in figures) for key in _COLUMNS.values())
        table.add_row(name, *cells)
    return table


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return text.removeprefix("0") if 0 < value < 1 else text
