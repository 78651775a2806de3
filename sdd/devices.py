"""Where a job computes."""

import platform

import torch

from sdd.energy import cpu_brand
from sdd.errors import DeviceError


def choose_device(setting: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises DeviceError for a CUDA that is not there."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device: cuda, but torch finds no CUDA device. Set device: auto or cpu.")
    if setting == "auto":
        setting = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(setting)


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_brand() or platform.machine()
