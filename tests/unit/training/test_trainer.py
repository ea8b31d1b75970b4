"""The epoch loop: best weights, early stopping, and resuming to the very same bits."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from diffrec_core.errors import ArtifactError, DataError
from diffrec_core.training.trainer import TrainingConfig, TrainingOptions, train


class Program:
    """Noisy regression whose validation follows a script, so that the best epoch is known."""

    def __init__(self, script: list[float] | None = None, die_in_epoch: int = 0) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.optimizers: Mapping[str, Optimizer] = {"all": AdamW(self.module.parameters(), lr=0.1)}
        self.script, self.die_in_epoch, self.validations = script, die_in_epoch, 0
        self.after: dict[int, torch.Tensor] = {}

    def train_epoch(self, epoch: int) -> dict[str, float]:
        if epoch == self.die_in_epoch:
            raise KeyboardInterrupt
        self.module.train()
        loss = (self.module(torch.randn(8, 3)) - 1.0).square().mean()
        self.optimizers["all"].zero_grad()
        loss.backward()
        self.optimizers["all"].step()
        self.after[epoch] = next(self.module.parameters()).detach().clone()
        return {"loss": float(loss.detach())}

    def validate(self) -> float | None:
        self.validations += 1
        return self.script[self.validations - 1] if self.script else None


CONFIG = TrainingConfig(epochs=10, validate_every_epochs=1, patience_epochs=3)


def test_best_weights_are_kept_and_training_stops() -> None:
    program = Program([0.1, 0.5, 0.4, 0.5, 0.3, 0.9])
    report = train(program, CONFIG, TrainingOptions(seed=1))
    assert (report.epochs, report.best_epoch, report.best_value) == (5, 2, 0.5)
    assert torch.equal(next(program.module.parameters()), program.after[2])
    assert [record.get("validation") for record in report.history] == [0.1, 0.5, 0.4, 0.5, 0.3]


def test_without_validation_all_epochs_are_run() -> None:
    report = train(Program(), CONFIG, TrainingOptions(seed=1))
    assert (report.epochs, report.best_epoch, report.best_value) == (10, 10, None)


def test_fixed_epochs_validate_nothing() -> None:
    program = Program([0.1])
    report = train(program, CONFIG, TrainingOptions(seed=1, fixed_epochs=4))
    assert (report.epochs, report.best_epoch, program.validations) == (4, 4, 0)


def test_the_last_epoch_is_validated() -> None:
    program = Program([0.5, 0.6])
    config = TrainingConfig(epochs=7, validate_every_epochs=5, patience_epochs=20)
    assert train(program, config, TrainingOptions(seed=1)).best_epoch == 7


def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path: Path) -> None:
    script = [0.1, 0.2, 0.3, 0.25, 0.26, 0.27, 0.1, 0.1, 0.1, 0.1]
    options = TrainingOptions(
        seed=1, checkpoint=tmp_path / "c", checkpoint_every_seconds=0, checkpoint_key="k"
    )
    whole = Program(script)
    expected = train(whole, CONFIG, TrainingOptions(seed=1))
    with pytest.raises(KeyboardInterrupt):
        train(Program(script, die_in_epoch=5), CONFIG, options)
    resumed = Program(script[4:])
    report = train(resumed, CONFIG, options)
    assert min(resumed.after) == 5
    assert report.history == expected.history
    assert (report.best_epoch, report.best_value) == (expected.best_epoch, expected.best_value)
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, resumed.module.state_dict()[name])


def test_a_checkpoint_of_something_else_is_not_taken_up(tmp_path: Path) -> None:
    def options(key: str) -> TrainingOptions:
        return TrainingOptions(
            seed=1, checkpoint=tmp_path / "c", checkpoint_every_seconds=0, checkpoint_key=key
        )

    with pytest.raises(KeyboardInterrupt):
        train(Program(die_in_epoch=3), CONFIG, options("a"))
    afresh = Program()
    train(afresh, CONFIG, options("b"))
    assert min(afresh.after) == 1


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    options = TrainingOptions(
        seed=1, checkpoint=tmp_path / "c", checkpoint_every_seconds=0, checkpoint_key="k"
    )
    with pytest.raises(KeyboardInterrupt):
        train(Program(die_in_epoch=3), CONFIG, options)
    tensors = tmp_path / "c" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="is corrupt: remove it"):
        train(Program(), CONFIG, options)


def test_a_diverging_loss_is_an_error() -> None:
    program = Program()
    program.train_epoch = lambda epoch: {"loss": math.inf}  # type: ignore[method-assign]
    with pytest.raises(DataError, match="loss is inf in epoch 1: lower the learning rate"):
        train(program, CONFIG, TrainingOptions())


def test_training_leaves_the_global_random_state_alone() -> None:
    program = Program()
    before = torch.random.get_rng_state()
    train(program, CONFIG, TrainingOptions(seed=1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_progress_is_told() -> None:
    seen: list[int] = []
    options = TrainingOptions(seed=1, advance=lambda done, _: seen.append(done))
    train(Program(), CONFIG, options)
    assert seen == [*range(1, 11), 10]
