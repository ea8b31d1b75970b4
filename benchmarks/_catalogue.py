"""The cases at the size of a large catalogue, and the arithmetic that they cannot do without."""

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any

from benchmarks import _synthetic
from benchmarks._comparison import Comparison, Group, Reading, SidesLaps, SideSpec, peak_mib
from benchmarks._laps import Lap
from benchmarks._specs import settings_of

_STEPS, _EPOCHS, _USERS = 4, 4, 1000
"""Steps of a shortened epoch, epochs of those, and users that are scored."""


def catalogue(name: str, most_gb: float, *, clusters: int) -> Group:
    """DiffRec or L-DiffRec at Amazon-book's shape, beside the arithmetic and the memory target."""
    shape = _synthetic.AMAZON_BOOK
    model = settings_of(name, "amazon-book-clean", precision="float32")
    sides = _sides(model, clusters)
    flops = (_latent_flops if clusters else diffrec_flops)(model, shape.items)
    steps_an_epoch = -(-shape.users // model["batch_size"])
    scale = steps_an_epoch / _STEPS
    epochs = f"{_STEPS} steps, times {scale:g}"

    def limit(flops_needed: float) -> tuple[Reading]:
        return (Reading("products", lambda laps: flops_needed / _flops_per_second(laps)),)

    of = partial(Comparison, wanted="less")
    comparisons = [
        of(
            f"catalogue.{name}.train_epoch",
            "its products' arithmetic",
            Reading("ours", lambda laps: scale * _phase("train", laps)),
            limit(flops[0] * shape.users),
            note=lambda laps: f"{epochs}; {_rate(laps)}",
        ),
        of(
            f"catalogue.{name}.evaluate_1000_users",
            "its products' arithmetic",
            Reading("ours", partial(_phase, "evaluate")),
            limit(flops[1] * _USERS),
            note=_rate,
        ),
        of(
            f"catalogue.{name}.memory",
            "target",
            Reading("ours", peak_mib),
            most_gb * 1e9 / 2**20,
            target=1.0,
            unit="MiB",
        ),
    ]
    return Group(sides, comparisons, _EPOCHS + 4)


def _sides(model: dict[str, Any], clusters: int) -> dict[str, SideSpec]:
    """Our training and scoring, and the products alone."""
    shape = _synthetic.AMAZON_BOOK
    return {
        "ours": SideSpec(
            "benchmarks._ours:catalogue",
            {
                "shape": shape,
                "model": model,
                "clusters": clusters,
                "steps": _STEPS,
                "epochs": _EPOCHS,
                "users": _USERS,
            },
        ),
        "products": SideSpec(
            "benchmarks._limits:products",
            {
                "batch": model["batch_size"],
                "hidden": model["hidden_dims"][0],
                "items": shape.items,
                "precision": "float32",
            },
        ),
    }


def diffrec_flops(model: dict[str, Any], items: int) -> tuple[float, float]:
    """Of one user in training and in scoring: a hidden layer, noisy inputs dense.

    Training: two products forward, two for the weights' gradients, one back to the hidden layer.
    Scoring: T - 1 products in the hidden space, one with all items.
    """
    (hidden,) = model["hidden_dims"]
    return 10.0 * items * hidden, 2.0 * hidden * (items + (model["steps"] - 1) * hidden)


def _latent_flops(model: dict[str, Any], items: int) -> tuple[float, float]:
    """Of one user: the decoder, which is all but a few percent; forward, and twice back."""
    decoder = 2.0 * model["encoder_dims"][-1] * items
    return 3.0 * decoder, decoder


def _flops_per_second(laps: Sequence[Lap]) -> float:
    return median(float(lap.facts["flops"]) / lap.seconds for lap in laps)


def _rate(laps: SidesLaps) -> str:
    return f"{_flops_per_second(laps['products']) / 1e9:.0f} GFLOP/s"


def _phase(name: str, laps: Sequence[Lap]) -> float:
    return median(lap.seconds for lap in laps if lap.facts.get("phase") == name)
