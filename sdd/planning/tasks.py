"""What a calibration asks of a process that trains, and what that answers: JSON files."""

from dataclasses import dataclass

from sdd.machine.reading import EnergyReading
from sdd.study.specs import RoundSpec

TASK, TIMES = "task.json", "times.json"
SECONDS = 1.0  # of training at each calibrated round ...
TURNS = 2  # ... in so many turns, since the machine may have something else to do for a while
WORKER_S = 900.0  # longer than any calibration takes


@dataclass(frozen=True)
class Task:
    """Rounds to time: the dense one, and sparse ones by how much is pruned of it in one go."""

    dense: RoundSpec
    sparse: RoundSpec
    fractions: dict[int, float]
    dataset: str  # the path of its facts
    images: int
    classes: int
    device: str
    sharing: int
    deterministic: bool


@dataclass(frozen=True)
class Times:
    """What these took: see `sdd.planning.rates.Rates`."""

    round_s: float
    setup_s: float
    image_s: dict[int, float]
    image_macs: dict[int, float]
    energy: EnergyReading
