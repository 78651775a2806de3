"""How fast a machine trains, and what a model is: what a plan computes with."""

from dataclasses import dataclass, replace

from sdd.data.datasets import DATASETS, Dataset
from sdd.study.chains import Chain
from sdd.study.settings import Recipe


@dataclass(frozen=True)
class Setting:
    """What decides how long a training step takes. Weight decay, labels and epochs do not."""

    model: str
    data: Dataset  # the first known one with as many images of the same shape
    recipe: Recipe
    build: str | None = None  # of a model of the user's own

    @classmethod
    def of(cls, chain: Chain) -> "Setting":
        known = replace(chain.data, subset=None)
        alike = next(
            (d for d in DATASETS.values() if (d.shape, d.train) == (known.shape, known.train)),
            known,
        )
        recipe = replace(
            chain.recipe, weight_decay=1e-4, epochs=1, schedule="constant", milestones=()
        )
        return cls(chain.model, alike, recipe.used, chain.build)


@dataclass(frozen=True)
class Anatomy:
    """A model as it is counted, before it is trained."""

    macs: int  # multiply-accumulates of a forward pass, an image
    state_bytes: int  # of all weights and statistics, dense
    weights: int  # that may be pruned; 4 bytes each


@dataclass(frozen=True)
class Power:
    """What the metered devices draw while they train, as a whole."""

    watts: float
    pue: float
    carbon_intensity: float  # g CO2 a kWh
    method: str


@dataclass(frozen=True)
class Rates:
    """What rounds of one setting take, with as many side by side as when it was measured."""

    start_s: float  # to start a job's process, whatever it then does
    round_s: float  # of a round, besides training and evaluation: reading, storing
    setup_s: float  # of a training, besides its epochs
    image_s: dict[int, float]  # an image in an epoch of training, by calibrated round
    image_macs: dict[int, float]  # and what it computes
    power: Power | None  # None: not measured
    device: str

    def seconds_an_image(self, round: float) -> float:
        return _between(self.image_s, round)

    def macs_an_image(self, round: float) -> float:
        return _between(self.image_macs, round)


def _between(points: dict[int, float], at: float) -> float:
    """Linear between the points, constant outside of them."""
    below = max((x for x in points if x <= at), default=min(points))
    above = min((x for x in points if x >= at), default=max(points))
    if below == above:
        return points[below]
    share = (at - below) / (above - below)
    return (1 - share) * points[below] + share * points[above]


@dataclass(frozen=True)
class Machine:
    """What is to be known of model and machine to say what a study costs on it."""

    workers: int  # trainings at a time
    load: float  # how many processes wanted to run before anything was measured
    anatomy: dict[tuple[str, str], Anatomy]  # by model and data set
    rates: dict[Setting, Rates]
