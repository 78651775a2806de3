"""The power of a device: carbontracker's components, imported late because that takes 20 to 180 ms.

RAPL for the CPU, else half the TDP that carbontracker's table gives for it; NVML for a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from sdd.machine.reading import EnergyError

SAMPLE_EVERY_S = 1.0


class Handler(Protocol):
    """What is used of a carbontracker component."""

    def power_usage(self) -> list[float]: ...  # W

    def shutdown(self) -> None: ...


@dataclass(frozen=True)
class Probe:
    """A component that is ready to be read."""

    handler: Handler
    method: str
    every_s: float = SAMPLE_EVERY_S  # pause between two readings
    constant: bool = False  # an estimate that what the device does has no part in


@dataclass(frozen=True)
class Part:
    """One device to meter. `open` is called once, in the thread that then reads it."""

    device: str  # the ledger's name
    open: Callable[[], Probe]
    required: bool = True  # without it there is no reading; else the method says that it is missing


@dataclass(frozen=True)
class Library:
    version: str
    pue: float
    carbon_intensity: float  # g CO2 per kWh


@cache
def library() -> Library:
    """carbontracker's version and constants; carbontracker.constants names their sources."""
    from importlib.metadata import version

    from carbontracker import constants

    intensity = float(constants.WORLD_AVG_CARBON_INTENSITY)
    return Library(version("carbontracker"), constants.PUE_2023, intensity)


def open_cpu() -> Probe:
    """RAPL if the host shows it, else carbontracker's estimate of a constant power.

    RAPL that is there but may not be read is an error and no reason to estimate: the reading then
    names the files to open (`chmod +r`), and what is stated as measured stays measured.
    """
    from carbontracker.components.cpu.intel import IntelCPU

    rapl = IntelCPU(pids=[], devices_by_pid=False)
    if rapl.available():
        rapl.init()
        if rapl.devices():  # virtual machines may show the interface with nothing behind it
            return Probe(rapl, "RAPL", every_s=0.0)  # each reading is itself a second's mean
    cpu = _generic_cpu()
    known = "no RAPL" if cpu.find_matching_tdp() else "no RAPL, and not in the table: its mean"
    watts = sum(cpu.power_usage())
    method = f"estimate: constant {watts:.4g} W for {cpu.devices()[0]} ({known})"
    return Probe(cpu, method, constant=True)


def _generic_cpu():
    from carbontracker.components.cpu import generic

    generic.logger.logger_err.setLevel("CRITICAL")  # it prints its findings to stdout

    class HostCPU(generic.GenericCPU):
        def get_cpu_brand(self) -> str:
            # py-cpuinfo takes this line too, but by a second Python that needs over a second.
            return cpu_brand() or super().get_cpu_brand()

    cpu = HostCPU(pids=[], devices_by_pid=False)
    cpu.init()
    return cpu


def cpu_brand(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The CPU's name as Linux knows it on x86; None elsewhere."""
    return cpu_field("model name", cpuinfo)


def cpu_field(name: str, cpuinfo: Path) -> str | None:
    """What Linux writes of the first CPU under this name; None where it does not."""
    with suppress(OSError), cpuinfo.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            field, _, value = line.partition(":")
            if field.strip() == name:
                return value.strip() or None
    return None


def gpu_part(device: str) -> Part:
    """The one GPU that torch calls `device`. Raises pynvml.NVMLError where NVML does not see it.

    Its ledger bears its UUID: the same GPU has other numbers in other jobs (CUDA_VISIBLE_DEVICES),
    and under Slurm's device cgroups different GPUs have the same one.
    """
    import pynvml
    from carbontracker.components.gpu.nvidia import NvidiaGPU

    gpu_id = visible_gpu(device, os.environ.get("CUDA_VISIBLE_DEVICES"))

    class OneGPU(NvidiaGPU):
        def _get_handles(self) -> list:
            if isinstance(gpu_id, str):
                return [pynvml.nvmlDeviceGetHandleByUUID(gpu_id)]
            return [pynvml.nvmlDeviceGetHandleByIndex(gpu_id)]

    gpu = OneGPU(pids=[], devices_by_pid=False)
    gpu.init()
    (handle,) = gpu._handles
    return Part(pynvml.nvmlDeviceGetUUID(handle), lambda: Probe(gpu, f"NVML of {gpu.devices()[0]}"))


def visible_gpu(device: str, visible: str | None) -> int | str:
    """NVML's index or UUID of torch's `device`: "cuda", "cuda:1" or, to be sure, "GPU-<uuid>".

    NVML numbers GPUs by PCI bus; so does CUDA if CUDA_DEVICE_ORDER=PCI_BUS_ID, or if all are alike.
    Raises EnergyError where CUDA_VISIBLE_DEVICES (`visible`) shows no such GPU.
    """
    if device.startswith("GPU-"):
        return device
    index = int(device.partition(":")[2] or 0)
    if visible is None:
        return index
    names = [name.strip() for name in visible.split(",")]
    if index >= len(names) or not names[index]:
        raise EnergyError(f"CUDA_VISIBLE_DEVICES={visible!r} shows no {device}")
    return int(names[index]) if names[index].isdigit() else names[index]


def parts_of(device: str) -> tuple[Part, ...]:
    """What is metered for a job on `device` (torch's name of it), the main part first."""
    cpu = Part("cpu", open_cpu)
    if device.partition(":")[0] == "cpu":
        return (cpu,)
    if device.startswith(("cuda", "GPU-")):
        return gpu_part(device), replace(cpu, required=False)
    raise EnergyError(f"no way to measure a device {device!r}")
