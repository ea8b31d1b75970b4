"""The family in training."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from diffrec_core.data.batches import shuffled_batches
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.network import DiffRecNetwork
from diffrec_core.models.sparse_rows import SparseRows


class DiffRecProgram:
    """One network, its optimizers and its data (see `training.trainer.TrainingProgram`).

    Args:
        network: what is trained.
        rows: every user's weighted history, on the network's device.
        config: learning rates, batches and loss weights.
        seed: of the order of users.
        validation: measures recall@20, or returns None.
    """

    def __init__(
        self,
        network: DiffRecNetwork,
        rows: SparseRows,
        config: DiffRecConfig,
        *,
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        self.network, self.rows, self.config, self.seed = network, rows, config, seed
        self.validate = validation
        self.module: nn.Module = network
        self.optimizers: Mapping[str, Optimizer] = {
            "denoiser": self._optimizer(network.denoiser, config.learning_rate)
        }
        if network.vae is not None:
            vae = self._optimizer(network.vae, config.vae_learning_rate)
            self.optimizers = {**self.optimizers, "vae": vae}

    def _optimizer(self, module: nn.Module, learning_rate: float) -> AdamW:
        return AdamW(
            module.parameters(), lr=learning_rate, weight_decay=self.config.weight_decay, fused=True
        )

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over all users; the mean loss."""
        self.network.train()
        total = torch.zeros((), dtype=torch.float64, device=self.rows.weights.device)
        for step, batch in enumerate(self._batches(epoch), start=self._steps_before(epoch)):
            loss = self._loss(batch, epoch, step)
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            for optimizer in self.optimizers.values():
                optimizer.step()
            total += loss.detach() * len(batch)
        return {"loss": float(total) / len(self.rows)}

    def _loss(self, batch: SparseRows, epoch: int, step: int) -> Tensor:
        return self.network.losses(
            batch,
            diffusion_weight=self._diffusion_weight(epoch),
            kl_weight=self._kl_weight(step),
        ).mean()

    def _batches(self, epoch: int) -> Iterator[SparseRows]:
        n_users, size = len(self.rows), self.config.batch_size
        for users in shuffled_batches(n_users, size, seed=self.seed, epoch=epoch):
            yield self.rows.take(torch.from_numpy(users).to(self.rows.items.device))

    def _steps_before(self, epoch: int) -> int:
        return (epoch - 1) * -(-len(self.rows) // self.config.batch_size)

    def _diffusion_weight(self, epoch: int) -> float:
        config, share = self.config, 1.0
        if config.diffusion_loss_weight_anneal_epochs:
            share -= (epoch - 1) / config.diffusion_loss_weight_anneal_epochs
        return max(share * config.diffusion_loss_weight, config.diffusion_loss_weight_floor)

    def _kl_weight(self, step: int) -> float:
        if not self.config.kl_weight_anneal_steps:
            return self.config.kl_weight_max
        return min(self.config.kl_weight_max, step / self.config.kl_weight_anneal_steps)
