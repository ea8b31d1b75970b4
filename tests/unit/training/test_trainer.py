"""The epoch loop: best weights, early stopping, and resuming to the very same bits."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.training.checkpoint import load_checkpoint
from diffrec_core.training.divergence import DivergenceError
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.trainer import TrainingConfig, TrainingOptions, train
from tests.devices import DEVICES

STEPS, ROWS = 3, 128


class Program:
    """Noisy regression whose validation follows a script, so that the best epoch is known.

    It dies before a step, or multiplies a loss or a weight there, as it is told.
    """

    def __init__(
        self,
        script: list[float] | None = None,
        die_at: tuple[int, int] = (0, 0),
        spoil: Mapping[tuple[int, int], float] | None = None,
        spoil_weights_at: tuple[int, int] = (0, 0),
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        layers = nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)
        self.module: nn.Module = nn.Sequential(*layers).to(device)
        self.device = device
        self.optimizers: Mapping[str, Optimizer] = {"all": AdamW(self.module.parameters(), lr=0.1)}
        self.script, self.die_at, self.validations = script, die_at, 0
        self.spoil, self.spoil_weights_at = spoil or {}, spoil_weights_at
        self.after: dict[int, torch.Tensor] = {}
        self.steps: list[tuple[int, int]] = []

    def train_epoch(self, epoch: Epoch) -> None:
        self.module.train()
        for step in epoch.steps(STEPS):
            where = (epoch.number, step)
            if where == self.die_at:
                raise KeyboardInterrupt
            self.steps.append(where)
            self._step(epoch, where)
        self.after[epoch.number] = next(self.module.parameters()).detach().clone()

    def _step(self, epoch: Epoch, where: tuple[int, int]) -> None:
        x = torch.randn(ROWS, 3, device=self.device)[epoch.share(ROWS)]
        loss = (self.module(x) - 1.0).square().mean() * self.spoil.get(where, 1.0)
        self.optimizers["all"].zero_grad()
        loss.backward()
        epoch.average(loss)
        self.optimizers["all"].step()
        if where == self.spoil_weights_at:
            with torch.no_grad():
                next(self.module.parameters())[0, 0] = math.inf

    def validate(self) -> float | None:
        self.validations += 1
        return self.script[self.validations - 1] if self.script else None


CONFIG = TrainingConfig(epochs=10, validate_every_epochs=1, patience_epochs=3)


def saving(folder: Path, key: str = "k", device: str = "cpu") -> TrainingOptions:
    """Options that write a checkpoint after every step."""
    return TrainingOptions(
        seed=1,
        device=torch.device(device),
        checkpoint=folder / "c",
        checkpoint_every_seconds=0,
        checkpoint_key=key,
    )


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


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("die_at", [(1, 1), (5, 0), (5, 2)])
def test_an_interrupted_training_resumes_at_its_step_to_the_same_bits(
    tmp_path: Path, die_at: tuple[int, int], device: str
) -> None:
    script = [0.1, 0.2, 0.3, 0.25, 0.26, 0.27, 0.1, 0.1, 0.1, 0.1]
    whole = Program(script, device=device)
    expected = train(whole, CONFIG, TrainingOptions(seed=1, device=torch.device(device)))
    options = saving(tmp_path, device=device)
    with pytest.raises(KeyboardInterrupt):
        train(Program(script, die_at, device=device), CONFIG, options)
    resumed = Program(script[die_at[0] - 1 :], device=device)
    report = train(resumed, CONFIG, options)
    assert resumed.steps[0] == die_at
    assert report.history == expected.history
    assert (report.best_epoch, report.best_value) == (expected.best_epoch, expected.best_value)
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, resumed.module.state_dict()[name])


def test_an_epoch_killed_while_it_is_validated_is_not_trained_again(tmp_path: Path) -> None:
    program = Program()

    def killed() -> float | None:
        raise KeyboardInterrupt

    program.validate = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(program, CONFIG, saving(tmp_path))
    resumed = Program([0.1])
    train(resumed, TrainingConfig(epochs=1), saving(tmp_path))
    assert (resumed.steps, resumed.validations) == ([], 1)


def test_a_checkpoint_of_something_else_is_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Program(die_at=(3, 0)), CONFIG, saving(tmp_path, "a"))
    afresh = Program()
    train(afresh, CONFIG, saving(tmp_path, "b"))
    assert afresh.steps[0] == (1, 0)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Program(die_at=(3, 0)), CONFIG, saving(tmp_path))
    file = tmp_path / "c" / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="is corrupt: remove it"):
        train(Program(), CONFIG, saving(tmp_path))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e5])
def test_divergence_says_where_and_what_to_try(tmp_path: Path, value: float) -> None:
    program = Program(spoil={(3, 1): value})
    with pytest.raises(DivergenceError) as caught:
        train(program, CONFIG, saving(tmp_path))
    message = str(caught.value)
    assert isinstance(caught.value, DataError) and caught.value.exit_code == 3
    assert "diverged in epoch 3, step 2: the loss is" in message
    assert "Lower the learning rate (of all 0.1)" in message
    assert f"{tmp_path / 'c'}, of epoch 3, step 1" in message
    state, tensors = load_checkpoint(tmp_path / "c", "k") or pytest.fail("no checkpoint")
    assert (state.epoch, len(tensors["epoch/losses"])) == (2, 1)
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_divergence_is_noticed_without_checkpoints_too() -> None:
    program = Program(spoil={(2, 1): math.nan})
    with pytest.raises(DivergenceError, match=r"epoch 2, step 2.* There is no checkpoint yet"):
        train(program, CONFIG, TrainingOptions())


def test_weights_that_are_no_numbers_are_noticed_before_a_loss_shows_it(tmp_path: Path) -> None:
    program = Program(spoil_weights_at=(2, 2))
    with pytest.raises(DivergenceError, match="epoch 2, step 3: weights are not finite"):
        train(program, CONFIG, saving(tmp_path))
    assert program.after[1] is not None and program.validations == 1


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
