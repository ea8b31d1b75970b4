"""Early stopping on a validation metric that is to grow."""

from dataclasses import dataclass


@dataclass(slots=True)
class EarlyStopping:
    """Remembers the best epoch and says when waiting for a better one is over.

    Attributes:
        patience_epochs: stop when the best is this many epochs old.
        best_epoch: 1-based; 0 before the first validation.
        best_value: the metric at the best epoch.
    """

    patience_epochs: int
    best_epoch: int = 0
    best_value: float = float("-inf")

    def update(self, epoch: int, value: float) -> bool:
        """Take a validation result; return whether it is the best so far (ties: the earlier)."""
        if value > self.best_value:
            self.best_epoch, self.best_value = epoch, value
            return True
        return False

    def should_stop(self, epoch: int) -> bool:
        """Whether the best is `patience_epochs` old at this epoch."""
        return epoch - self.best_epoch >= self.patience_epochs
