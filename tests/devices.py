"""The devices that are present: every test of code that runs on a device runs on each."""

import torch

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
