"""Training: one epoch loop with early stopping, checkpoints and progress, for every model."""
