"""Sides to start: ours and others', with the settings of the presets, which are the authors'."""

from functools import cache
from typing import Any, NamedTuple

import torch

from benchmarks._comparison import SideSpec
from diffrec_core.nn.precision import has_bfloat16_units
from pipeline_steps.params import presets

PRECISIONS = ("float32", "bfloat16")
TRAIN_EPOCHS = 5
"""Epochs of training before an evaluation is measured."""
SCHEDULE_EPOCHS = 30
"""Epochs of a whole training, with a validation every 5."""
NOT_MEASURED = "not measured"
"""How the note begins of a row without numbers that did not fail."""
NO_DATA = f"{NOT_MEASURED}: DIFFREC_BENCH_DATA names no data"
"""The note of a row that needs the ML-1M split."""


class Others(NamedTuple):
    """Where things are; empty strings where they are not.

    Attributes:
        data: folder of the ML-1M split.
        users, items: its size.
        reference: the authors' checkout.
        recbole: RecBole's.
        recbole_python: the Python that has what RecBole needs.
        kmeans_pytorch: its checkout.
    """

    data: str = ""
    users: int = 0
    items: int = 0
    reference: str = ""
    recbole: str = ""
    recbole_python: str = ""
    kmeans_pytorch: str = ""


def settings_of(name: str, preset: str = "ml-1m-clean", **changes: Any) -> dict[str, Any]:
    """A model's section of a preset, with changes."""
    return {**_models(preset)[name], **changes}


@cache
def _models(preset: str) -> dict[str, dict[str, Any]]:
    models: dict[str, dict[str, Any]] = presets.read_preset(preset).values["train"]
    return models


def ours(function: str, others: Others, name: str, **settings: Any) -> dict[str, SideSpec]:
    """Our side in both precisions."""
    return {
        precision: SideSpec(
            f"benchmarks._ours:{function}",
            {"data": others.data, "model": settings_of(name, precision=precision), **settings},
            missing=missing_units(precision) or ("" if others.data else NO_DATA),
        )
        for precision in PRECISIONS
    }


def missing_units(precision: str) -> str:
    """The note of rows in a precision that this CPU would have to emulate; else empty."""
    if precision == "bfloat16" and not has_bfloat16_units(torch.device("cpu")):
        return f"{NOT_MEASURED}: this CPU has no bfloat16 instructions"
    return ""


def _common(others: Others, name: str, measure: str) -> dict[str, Any]:
    """What every peer is told."""
    return {
        "data": others.data,
        "model": settings_of(name),
        "measure": measure,
        "train_epochs": TRAIN_EPOCHS,
    }


def authors(others: Others, name: str, measure: str, *, workers: int = 4) -> SideSpec:
    """The authors' side; their loader has 4 workers."""
    settings = {
        **_common(others, name, measure),
        "reference": others.reference,
        "workers": workers,
        "epochs": SCHEDULE_EPOCHS,
    }
    missing = "" if others.reference else f"{NOT_MEASURED}: REFERENCE names no checkout"
    return SideSpec(f"benchmarks._authors:{name}", settings, missing=missing)


def recbole(others: Others, name: str, measure: str, *, most_laps: int = 0) -> SideSpec:
    """RecBole's side."""
    settings = {**_common(others, name, measure), "recbole": others.recbole}
    missing = "" if others.recbole else f"{NOT_MEASURED}: RECBOLE names no checkout"
    return SideSpec(
        f"benchmarks._recbole:{name}", settings, others.recbole_python, most_laps, missing
    )
