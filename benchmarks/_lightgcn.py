"""LightGCN: beside RecBole's, and what is asked of the pretraining of item embeddings.

Asked are the seconds of a pretraining at the size of MovieLens-100K, the recall@20 that it comes to
on protocol A of the paper's split, and memory that grows as the interactions do.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks import _synthetic
from benchmarks._comparison import (
    Comparison,
    Group,
    Reading,
    SidesLaps,
    SideSpec,
    median_seconds,
    peak_mib,
)
from benchmarks._laps import Lap, Laps
from benchmarks._ml1m import load_split, measure, protocol
from benchmarks._specs import NO_DATA, Others, recbole, settings_of
from diffrec_core.common.config import parse
from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.models.lightgcn.network import (
    ItemEmbeddings,
    LightGCNConfig,
    fit_lightgcn,
    score_histories,
)
from diffrec_core.training.trainer import TrainingOptions

_LEVEL, _RECBOLE_EPOCHS, _RECBOLE_SECONDS = 0.1373, 30, 756.0
"""RecBole's test recall@20 after so many epochs, and how long those took on another machine."""
_ML_100K, _MOST_SECONDS = _synthetic.Shape(943, 1_008, 55_000), 20.0
_LEAST_RECALL = 0.17
_GRAPH, _BATCH = _synthetic.Shape(20_000, 10_000, 500_000), 16_384
"""Where memory is measured, with once, twice and three times the interactions; larger steps than a
preset's, which cost memory of their own but the same in each."""
_SEED = 1


def lightgcn(others: Others, repeats: int) -> list[Group]:
    """All comparisons of LightGCN."""
    return [
        _beside_recbole(others, repeats),
        _pretraining(repeats),
        _convergence(others),
        _memory(),
    ]


def _model(preset: str, **changes: Any) -> dict[str, Any]:
    """The settings of the pretraining in a preset, which are those of its model LightGCN."""
    model = settings_of("lightgcn", preset, **changes)
    del model["kind"]
    return model


def _beside_recbole(others: Others, repeats: int) -> Group:
    model = _model("ml-1m-clean", epochs=_RECBOLE_EPOCHS)
    settings = {"data": others.data, "model": model, "recall@20": _LEVEL}
    missing = "" if others.data else NO_DATA
    sides = {
        "ours": SideSpec("benchmarks._lightgcn:to_level", settings, missing=missing),
        "recbole": recbole(others, "lightgcn", "train_epoch", most_laps=1),
    }
    case = partial(Comparison, "lightgcn.to_recbole", ours=Reading("ours"))
    comparisons = [
        case(
            against="RecBole",
            other=(Reading("recbole", lambda laps: _RECBOLE_EPOCHS * median_seconds(laps)),),
            target=10.0,
            note=lambda laps: f"{_reached(laps)}; RecBole: one epoch, times {_RECBOLE_EPOCHS}",
        ),
        case(  # no target: no verdict comes from two machines
            against="RecBole, quoted",
            other=_RECBOLE_SECONDS,
            note=lambda laps: (
                f"{_reached(laps)}; RecBole: {_RECBOLE_EPOCHS} epochs on two cores "
                "of another machine, not measured in this run"
            ),
        ),
    ]
    return Group(sides, comparisons, min(repeats, 3))


def _reached(laps: SidesLaps) -> str:
    facts = laps["ours"][-1].facts
    return f"test recall@20 {facts['recall@20']:.4f} after {facts['epochs']} epochs"


def _pretraining(repeats: int) -> Group:
    model = _model("ml-100k")
    model["patience_epochs"] = model["epochs"]
    ours = SideSpec("benchmarks._lightgcn:pretraining", {"shape": _ML_100K, "model": model})
    note = "all {} epochs with a validation every {}, as if none stopped it; synthetic data"
    comparison = Comparison(
        "lightgcn.pretraining",
        "target",
        Reading("ours"),
        _MOST_SECONDS,
        wanted="less",
        target=1.0,
        note=lambda laps: note.format(model["epochs"], model["validate_every_epochs"]),
    )
    return Group({"ours": ours}, [comparison], min(repeats, 3))


def _convergence(others: Others) -> Group:
    settings = {"data": others.data, "model": _model("ml-1m-clean")}
    missing = "" if others.data else NO_DATA
    ours = SideSpec("benchmarks._lightgcn:convergence", settings, missing=missing)

    def recall(laps: Sequence[Lap]) -> float:
        return float(laps[-1].facts["recall@20"])

    comparison = Comparison(
        "lightgcn.convergence",
        "test recall@20 on protocol A",
        Reading("ours", recall),
        _LEAST_RECALL,
        wanted="higher",
        target=1.0,
        unit="metric",
        note=lambda laps: "stopped after {epochs} epochs, best {best_epoch}; one seed".format(
            **laps["ours"][-1].facts
        ),
    )
    return Group({"ours": ours}, [comparison], 1)


def _memory() -> Group:
    """Three sizes: on a straight line, the third is twice the second less the first."""
    model = _model("ml-100k", batch_size=_BATCH)
    sides = {
        str(times): SideSpec(
            "benchmarks._lightgcn:epoch",
            {
                "shape": _GRAPH._replace(interactions=times * _GRAPH.interactions),
                "model": model,
            },
        )
        for times in (1, 2, 3)
    }
    comparison = Comparison(
        "lightgcn.memory",
        "a straight line",
        Reading("3", peak_mib),
        (Reading("2", lambda laps: 2 * peak_mib(laps)), Reading("1", lambda laps: -peak_mib(laps))),
        wanted="less",
        target=1.05,
        unit="MiB",
        note=_sizes,
    )
    return Group(sides, [comparison], 1)


def _sizes(laps: SidesLaps) -> str:
    peaks = ", ".join(f"{peak_mib(laps[side]):,.0f}" for side in "123")
    times = f"{_GRAPH.interactions:,} interactions, twice and three times as many"
    return f"{peaks} MiB with {times}, of the same users and items"


def to_level(settings: dict[str, Any], laps: Laps) -> None:
    """Train to a test recall@20 on protocol A; one whole training a lap.

    A first training, which validates after every epoch, finds how many epochs that takes. There
    `valid` is not masked in the test, which makes the level harder to reach, not easier.
    """
    split = load_split(Path(settings["data"]))
    chosen, n_items = protocol(split, "A"), len(split.items)
    config = parse(settings["model"], "benchmark", LightGCNConfig)
    watched = config.model_copy(update={"validate_every_epochs": 1})
    _, report = fit_lightgcn(
        chosen.train, n_items, watched, TrainingOptions(seed=_SEED), chosen.test
    )
    reached = [
        record["epoch"]
        for record in report.history
        if record.get("validation", 0.0) >= settings["recall@20"]
    ]
    if not reached:
        raise DataError(f"LightGCN stayed below {settings['recall@20']}: {report.best_value}")
    epochs = int(reached[0])
    facts: dict[str, float] = {}
    while True:
        laps.lap({"epochs": epochs, **facts})
        options = TrainingOptions(seed=_SEED, fixed_epochs=epochs)
        embeddings, _ = fit_lightgcn(chosen.train, n_items, config, options, None)
        facts = measure(partial(_by_embeddings, embeddings), chosen)


def pretraining(settings: dict[str, Any], laps: Laps) -> None:
    """Train on synthetic data, a whole training a lap; one epoch warms up.

    Settings: `shape` and `model`. The validation asks for items drawn at random, as costly as any.
    """
    shape = _synthetic.Shape(*settings["shape"])
    past = _synthetic.histories(shape, seed=_SEED)
    task = _synthetic.task(past, shape.users, n_items=shape.items, seed=_SEED)
    config = parse(settings["model"], "benchmark", LightGCNConfig)
    fit = partial(fit_lightgcn, past, shape.items, config)
    fit(TrainingOptions(seed=_SEED, fixed_epochs=1), None)
    laps.lap()
    while True:
        _, report = fit(TrainingOptions(seed=_SEED), task)
        laps.lap({"epochs": report.epochs})


def convergence(settings: dict[str, Any], laps: Laps) -> None:
    """Train on protocol A until its selection stops it, a lap; tells the test's metrics."""
    split = load_split(Path(settings["data"]))
    chosen = protocol(split, "A")
    config = parse(settings["model"], "benchmark", LightGCNConfig)
    laps.lap()
    embeddings, report = fit_lightgcn(
        chosen.train, len(split.items), config, TrainingOptions(seed=_SEED), chosen.selection
    )
    facts = {"epochs": report.epochs, "best_epoch": report.best_epoch}
    laps.lap({**facts, **measure(partial(_by_embeddings, embeddings), chosen)})


def epoch(settings: dict[str, Any], laps: Laps) -> None:
    """Train one epoch on synthetic data, a lap, for its peak of memory; settings likewise."""
    shape = _synthetic.Shape(*settings["shape"])
    past = _synthetic.histories(shape, seed=_SEED)
    config = parse(settings["model"], "benchmark", LightGCNConfig)
    laps.lap()
    fit_lightgcn(past, shape.items, config, TrainingOptions(seed=_SEED, fixed_epochs=1), None)
    laps.lap()


def _by_embeddings(embeddings: ItemEmbeddings, histories: Histories) -> Tensor:
    return score_histories(embeddings, histories, histories.weights)
