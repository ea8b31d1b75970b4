"""Devices, and the processes that torchrun starts to train one model together.

All processes run the step up to the end of its training; from there on only the first one does.
"""

import atexit
import logging
import os
import threading
import time
from datetime import timedelta

import torch
from torch import distributed

from diffrec_core.common.errors import ConfigError
from diffrec_core.training.distributed import Processes
from pipeline_steps.runtime.config import RuntimeConfig

_TIMEOUT = timedelta(days=1)
"""Processes wait so long for the first one, which validates; torchrun ends them if it dies."""


def prepare_device(config: RuntimeConfig) -> torch.device:
    """Choose the device, on CUDA one for each process, and make torch deterministic there.

    Raises:
        ConfigError: CUDA is asked for and absent.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("params.yaml: runtime.device = 'cuda', but torch finds no CUDA device")
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")  # the operations that we use are deterministic there
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what determinism needs on CUDA
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def join_processes(device: torch.device) -> Processes:
    """Meet the other processes that torchrun has started; without it there are none."""
    if not distributed.is_torchelastic_launched():
        return Processes()
    if not distributed.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_TIMEOUT)
        atexit.register(distributed.destroy_process_group)
        threading.Thread(target=_exit_with, args=[os.getppid()], daemon=True).start()
    processes = Processes(distributed.get_rank(), distributed.get_world_size())
    if not processes.is_writer:  # the first process logs for all
        for name in ("pipeline", "diffrec_core"):
            logging.getLogger(name).setLevel(logging.WARNING)
    return processes


def _exit_with(parent: int) -> None:
    """End this process soon after torchrun was killed: nobody else would."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def leave_if_not_writer(processes: Processes) -> None:
    """End this process, successfully, unless it is the one that writes what was trained."""
    if not processes.is_writer:
        raise SystemExit(0)
