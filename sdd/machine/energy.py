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
long as they are n. They find each other in a ledger (sdd.machine.ledger), a folder on the host for
each device. Only this user's metered jobs with the same temporary directory meet there; anything
else that runs on the device counts as theirs.

A measurement that fails never disturbs the training: its numbers are None, and the reason says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sdd.machine.ledger import Entry, Stay, ledger_root
from sdd.machine.power import Library, Part, Probe, library, parts_of
from sdd.machine.reading import JOULES_PER_KWH, EnergyError, EnergyReading

FIRST_SAMPLE_S = 10.0  # at most this long a training that has ended waits for its first sample
SOON_S = 1.0  # as long waits a training that is interrupted


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

    def __init__(self, part: Part, entry: Entry) -> None:
        super().__init__(name=f"energy of {part.device}", daemon=True)
        self.part, self._entry = part, entry
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
        pause = 0.0 if probe.constant else probe.every_s / 2
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
            self._entry.beat()
            pause = probe.every_s

    @property
    def has_read(self) -> bool:
        """Whether the device was read, or could not be."""
        return self._read_once.is_set()

    def stop(self) -> None:
        """End the job's stay. A reading under way is not waited for: RAPL's take a second."""
        self._stopped.set()
        with _kept(self._failures):
            self._stay = self._entry.finish()

    def so_far(self, patience_s: float) -> Measured:
        """Raises what went wrong, at any time since the start."""
        return self._measured(self._entry.so_far(), patience_s)

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
                sampler = _Sampler(part, Entry(root / part.device))
                self._samplers.append(sampler)
                sampler.start()
        return self

    @property
    def has_read(self) -> bool:
        """Whether every device was read since the start, or could not be. What is over before is
        metered by a reading that is over after it, when the device rests."""
        return all(sampler.has_read for sampler in self._samplers)

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
