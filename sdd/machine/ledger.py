"""The ledger of a device: which jobs share it, and for how long.

Power is that of a whole device, so n jobs side by side get 1/n of it each, for exactly as long as
they are n. They find each other in a ledger, a folder on the host for each device.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sdd.base import locks
from sdd.base.private import open_regular, own_folder
from sdd.machine.reading import EnergyError

# A ledger is held for microseconds, or, on a machine with far more to do than cores, until its
# holder gets one again. Whoever waits longer gives the measurement up.
LOCK_S = 20.0


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


class Entry:
    """A job's entry in the ledger of one device; it counts from here to `finish`.

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
        own_folder(folder)
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
        fd = open_regular(self._folder / "tally", os.O_RDWR | os.O_CREAT)
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
    """Where the ledgers of this host lie: a folder of this user's alone, and in it one for this
    host in case the temporary directory is shared by several. Raises OSError where it cannot be."""
    user = own_folder(Path(tempfile.gettempdir(), f"sdd-{os.getuid()}-energy"))
    return own_folder(user / os.uname().nodename)
