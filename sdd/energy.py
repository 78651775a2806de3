"""Energy and CO2 of one training: carbontracker's power, shared fairly among jobs.

    with EnergyMeter("cuda:0") as meter:
        train()
    meter.reading.to_dict()  # as it goes into metrics.json

*Power* (W) comes from carbontracker's own components, read about once a second in a daemon thread:
RAPL for the CPU, else half the TDP that its table gives for this CPU; NVML for the one GPU that the
job runs on. A job on the CPU is metered by the CPU; a job on a GPU by that GPU, and by the CPU as
well if it can be: the method says which. Energy holds carbontracker's PUE, and CO2 follows from its
world average carbon intensity. Its `tracker` is not used: it looks up where the host is, on the
network, and starting it keeps the training waiting for over a second.

*Share*: power is that of a whole device, so n jobs side by side get 1/n of it each, for exactly as
long as they are n. They find each other in a ledger, a folder on the host for each device (`Job`).
Only this user's metered jobs with the same temporary directory meet there; anything else that runs
on the device counts as theirs.

A measurement that fails never disturbs the training: its numbers are None, and the reason says why.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol, Self

from sdd import locks

JOULES_PER_KWH = 3.6e6
SAMPLE_EVERY_S = 1.0
FIRST_SAMPLE_S = 10.0  # at most this long a training that has ended waits for its first sample
SOON_S = 1.0  # as long waits a training that is interrupted
LOCK_S = 2.0  # a ledger is held for microseconds; whoever waits longer gives the measurement up


class EnergyError(Exception):
    """No energy can be stated; the message is the reason that the reading gives."""


@dataclass(frozen=True)
class EnergyReading:
    """What one training took. Where it is unknown, the numbers are None (never 0), reason says why.

    Per metered device: power_w * seconds * share * pue / 3.6e6 = energy_kwh.
    """

    energy_kwh: float | None  # this job's share, PUE included
    co2_g: float | None  # energy_kwh * carbon_intensity
    method: str
    carbon_intensity: float | None  # g CO2 per kWh
    pue: float | None  # power usage effectiveness: the data centre's power over the computers'
    power_w: float | None  # mean power of the whole metered devices, summed, PUE not included
    share: float | None  # this job's part of the metered devices' energy, in (0, 1]
    seconds: float  # wall time inside the meter
    reason: str | None

    @classmethod
    def unknown(cls, reason: str, seconds: float) -> EnergyReading:
        return cls(None, None, "not measured", None, None, None, None, seconds, reason)

    def to_dict(self) -> dict[str, float | str | None]:
        return asdict(self)

    def after(self, earlier: EnergyReading) -> EnergyReading:
        """What both took: of a training that was interrupted and went on."""
        parts, seconds = (earlier, self), earlier.seconds + self.seconds
        for part in parts:
            if part.energy_kwh is None:
                return EnergyReading.unknown(f"in a part of the training, {part.reason}", seconds)
        whole = [p.power_w * p.seconds for p in parts]
        return replace(
            self,
            energy_kwh=earlier.energy_kwh + self.energy_kwh,
            co2_g=earlier.co2_g + self.co2_g,
            method=" and ".join(dict.fromkeys(p.method for p in parts)),
            power_w=sum(whole) / seconds,
            share=sum(p.share * j for p, j in zip(parts, whole, strict=True)) / sum(whole),
            seconds=seconds,
        )


# --- The ledger: who shares a device, and for how long ---


@dataclass(frozen=True)
class Tally:
    """A device's fair time, which runs at 1/n of the clock while n jobs run.

    A job's part of a stretch is how far `fair_s` moved in it. That needs no history: neither the
    number of jobs that came and went nor a job's length makes the ledger grow.
    """

    clock_s: float
    fair_s: float

    def at(self, now_s: float, running: int) -> Tally:
        """The tally at now_s, after `running` (>= 1) jobs shared the time since clock_s."""
        return Tally(now_s, self.fair_s + (now_s - self.clock_s) / running)


@dataclass(frozen=True)
class Stay:
    """One job's time on a device: from start_s to end_s (monotonic clock), fair_s of it its own."""

    start_s: float
    end_s: float
    fair_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Job:
    """This job's entry in the ledger of one device; it counts from here to `finish`.

    The folder holds the tally and an empty file a running job, which that job keeps locked. The
    kernel drops the lock when the process dies, however it dies, so an unlocked file is a dead
    job's. It counts as running up to the last time that any job looked (`beat`), and for every job
    alike, so the parts of all jobs, the killed one's too, add up to the time that the device was
    in use. Every look happens under the tally's lock, with one time for all.

    The clock is the monotonic one, which all processes of a host share and which no time service
    sets. It restarts at boot, when no job runs, and the first job starts the tally afresh.

    Raises OSError where the folder cannot be used, EnergyError where it is not answered.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._look() as tally:
            self._start = tally
            self._fd, self._path = locks.sign(folder, suffix=".job")

    def beat(self) -> None:
        """Bring the tally up to now: bounds how long a job that gets killed is still counted."""
        with self._look():
            pass

    def so_far(self) -> Stay:
        """How long this job has run, and how much of it was its own."""
        with self._look() as tally:
            return self._stay(tally)

    def finish(self) -> Stay:
        """Leave the ledger (once), and say how long this job ran and how much of it was its own."""
        try:
            with self._look() as tally:
                if os.fstat(self._fd).st_nlink == 0:
                    raise EnergyError(f"the ledger {self._folder} was emptied during the training")
                os.unlink(self._path)
        finally:
            os.close(self._fd)
        return self._stay(tally)

    def _stay(self, tally: Tally) -> Stay:
        start = self._start
        return Stay(start.clock_s, tally.clock_s, tally.fair_s - start.fair_s)

    @contextmanager
    def _look(self) -> Iterator[Tally]:
        """Lock the ledger, bury the dead, and bring the tally up to now."""
        fd = os.open(self._folder / "tally", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock(fd)
            running, now = len(locks.living(self._folder, "*.job")), self._clock()
            if running:
                tally = Tally(*struct.unpack("dd", os.pread(fd, 16, 0))).at(now, running)
            else:
                tally = Tally(now, 0.0)  # what stands there, if anything, concerns nobody
            os.pwrite(fd, struct.pack("dd", tally.clock_s, tally.fair_s), 0)
            yield tally
        finally:
            os.close(fd)  # and so unlock it

    def _lock(self, fd: int) -> None:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EnergyError(f"the ledger {self._folder} stayed locked") from None
                time.sleep(0.001)


def ledger_root() -> Path:
    """Where the ledgers of this host lie: a folder for this user, and for this host in case the
    temporary directory is shared by several."""
    return Path(tempfile.gettempdir(), f"sdd-{os.getuid()}-energy", os.uname().nodename)


# --- The power: carbontracker's components, imported late because that takes 20 to 180 ms ---


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
    return Probe(cpu, f"estimate: constant {watts:.4g} W for {cpu.devices()[0]} ({known})")


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
    with suppress(OSError), cpuinfo.open() as lines:
        for line in lines:
            field, _, value = line.partition(":")
            if field.strip() == "model name":
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


# --- The meter ---


@dataclass(frozen=True)
class Measured:
    """One device during one training."""

    power_w: float
    stay: Stay
    method: str


def combine(measured: Sequence[Measured], missing: Sequence[str], source: Library) -> EnergyReading:
    """One reading of a job's devices; `missing` are notes on optional ones that did not answer."""
    whole_j = sum(m.power_w * m.stay.seconds for m in measured)
    own_j = sum(m.power_w * m.stay.fair_s for m in measured)
    energy_kwh = own_j * source.pue / JOULES_PER_KWH
    return EnergyReading(
        energy_kwh=energy_kwh,
        co2_g=energy_kwh * source.carbon_intensity,
        method=f"carbontracker {source.version}, "
        + "; ".join([*(m.method for m in measured), *missing]),
        carbon_intensity=source.carbon_intensity,
        pue=source.pue,
        power_w=sum(m.power_w for m in measured),
        share=own_j / whole_j,
        seconds=measured[0].stay.seconds,
        reason=None,
    )


@contextmanager
def _kept(failures: list[Exception]) -> Iterator[None]:
    """Whatever goes wrong in the block is kept as a reason: it must not reach the training."""
    try:
        yield
    except Exception as failure:
        failures.append(failure)


class _Sampler(threading.Thread):
    """Reads one device until told to stop, at the middle of each pause: a first reading at the very
    start would be that of a device not yet at work. A training that ends before is read once."""

    def __init__(self, part: Part, job: Job) -> None:
        super().__init__(name=f"energy of {part.device}", daemon=True)
        self.part, self._job = part, job
        self._watts: list[float] = []
        self._method = ""
        self._failures: list[Exception] = []
        self._stay: Stay | None = None
        self._stopped, self._read_once = threading.Event(), threading.Event()

    def run(self) -> None:
        with _kept(self._failures):
            probe = self.part.open()
            self._method = probe.method
            with _kept(self._failures):
                self._sample(probe)
            with suppress(Exception):
                probe.handler.shutdown()
        self._read_once.set()

    def _sample(self, probe: Probe) -> None:
        pause = probe.every_s / 2
        while True:
            stopped = self._stopped.wait(pause)
            if stopped and self._watts:
                return
            watts = sum(probe.handler.power_usage())
            if watts > 0:  # RAPL's counter wraps around, and carbontracker then says 0
                self._watts.append(watts)
                self._read_once.set()
            if stopped:
                return
            self._job.beat()
            pause = probe.every_s

    def stop(self) -> None:
        """End the job's stay. A reading under way is not waited for: RAPL's take a second."""
        self._stopped.set()
        with _kept(self._failures):
            self._stay = self._job.finish()

    def so_far(self, patience_s: float) -> Measured:
        """Raises what went wrong, at any time since the start."""
        return self._measured(self._job.so_far(), patience_s)

    def result(self, patience_s: float) -> Measured:
        """After `stop`. Raises what went wrong, at any time since the start."""
        return self._measured(self._stay, patience_s)

    def _measured(self, stay: Stay | None, patience_s: float) -> Measured:
        answered = self._read_once.wait(patience_s)
        watts = list(self._watts)  # the thread may still be adding to it
        if self._failures:
            raise self._failures[0]
        if not watts:
            raise EnergyError("no power above 0 W was read" if answered else "no timely answer")
        return Measured(sum(watts) / len(watts), stay, self._method)


class EnergyMeter:
    """Context manager: meters what happens inside; afterwards `reading` says what it took.

    `device` is torch's name of where the training runs. `parts` and `ledger` replace the devices
    to read and the folder of the ledgers. Nothing but the body's own exceptions comes out of it.
    """

    def __init__(
        self, device: object = "cpu", *, parts: Sequence[Part] = (), ledger: Path | None = None
    ) -> None:
        self._device, self._parts = str(device), parts
        self._ledger = ledger
        self._samplers: list[_Sampler] = []
        self._failures: list[Exception] = []
        self._entered = time.monotonic()
        self.reading = EnergyReading.unknown("the training has not ended", 0.0)

    def __enter__(self) -> Self:
        with _kept(self._failures):
            library()  # imported in the thread, it would hold up the training that has begun
        self._entered = time.monotonic()
        with _kept(self._failures):
            root = self._ledger or ledger_root()
            for part in self._parts or parts_of(self._device):
                sampler = _Sampler(part, Job(root / part.device))
                self._samplers.append(sampler)
                sampler.start()
        return self

    def so_far(self) -> EnergyReading:
        """What it took up to now, inside the block."""
        seconds = time.monotonic() - self._entered
        failures = list(self._failures)
        if not failures:
            with _kept(failures):
                return self._read(lambda sampler: sampler.so_far(SOON_S))
        return EnergyReading.unknown(_why(failures[0]), seconds)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        seconds = time.monotonic() - self._entered
        for sampler in self._samplers:
            sampler.stop()
        if not self._failures:
            with _kept(self._failures):
                # A training that failed is not kept from saying so.
                patience_s = FIRST_SAMPLE_S if kind is None else 0.0
                self.reading = self._read(lambda sampler: sampler.result(patience_s))
        if self._failures:
            self.reading = EnergyReading.unknown(_why(self._failures[0]), seconds)

    def _read(self, measure: Callable[[_Sampler], Measured]) -> EnergyReading:
        measured, missing = [], []
        for sampler in self._samplers:
            try:
                measured.append(measure(sampler))
            except Exception as failure:
                if sampler.part.required:
                    raise
                missing.append(f"{sampler.part.device} not measured ({_why(failure)})")
        return combine(measured, missing, library())


def _why(failure: Exception) -> str:
    if isinstance(failure, EnergyError):
        return str(failure)
    return f"{type(failure).__name__}: {failure}".removesuffix(": ")
