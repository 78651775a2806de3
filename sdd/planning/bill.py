"""The bill of a study: what it costs, for programs and for people."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sdd.planning.rates import Rates, Setting


@dataclass(frozen=True)
class Forecast:
    """What a part of the study takes on this machine."""

    trainings: int
    flops: int  # the paper's rule: dense, a MAC counted as one
    flops_computed: float  # what is computed, between calibrated rounds interpolated
    seconds: float
    seconds_at_least: float  # with as many workers as one likes: chains are sequential
    energy_kwh: float | None  # None: not measured
    co2_g: float | None


@dataclass(frozen=True)
class Bill:
    """A study's cost. Bytes, seconds, FLOPs; `None` stands for what cannot be known."""

    study: str
    device: str
    early_stopping_ends_chains: bool
    workers: int  # trainings at a time
    load: float  # of the machine, before anything was measured
    chains: int
    rounds: int  # of a chain, the dense one included
    trainings: int
    epochs: int
    jobs: dict[str, int]  # by kind, as Snakemake counts them in a fresh folder
    done: int  # rounds that are there and fit the config
    disk: dict[str, int]
    dense: Forecast  # if sparse rounds took as long as dense ones
    whole: Forecast
    remaining: Forecast
    stopped: Forecast | None  # after early stopping; None until every round is there
    energy_method: str | None
    rates: tuple[tuple[Setting, Rates], ...]

    def to_dict(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return asdict(self) | {"rates": [asdict(s) | asdict(r) for s, r in self.rates]}


BUSY = 0.5  # a load from which on what is measured is not the machine alone

LABELS = {
    "dense": "were sparse rounds no faster",
    "whole": "the whole study",
    "remaining": "what is left to do",
    "stopped": "had it been stopped early",
}


def text(bill: Bill) -> str:
    """The bill as a page of at most 90 columns."""
    return "\n".join(_lines(bill))


def _lines(bill: Bill) -> Iterator[str]:
    yield f"{bill.study}: {bill.chains} chains of {bill.rounds} rounds"
    if bill.early_stopping_ends_chains:
        yield "Early stopping really ends them: what follows is the most that they can cost."
    yield ""
    yield f"  trainings  {bill.trainings:>9,}   {bill.done:,} of them done"
    yield f"  epochs     {bill.epochs:>9,}"
    yield f"  jobs       {sum(bill.jobs.values()):>9,}   as Snakemake counts them:"
    yield from _wrapped([f"{count:,} {kind}" for kind, count in bill.jobs.items()])
    yield ""
    trainings = "1 training" if bill.workers == 1 else f"{bill.workers} trainings"
    yield f"On {bill.device}, {trainings} at a time:"
    if bill.load > BUSY:
        yield f"  It is busy (load {bill.load:.1f}): times are those of a machine that stays so."
    yield ""
    yield f"  {'':33}{'trainings':>10}{'FLOPs':>9}{'computed':>10}{'time':>11}{'energy':>11}"
    for name, label in LABELS.items():
        forecast = getattr(bill, name)
        if forecast is None:
            yield f"  {label:33} not known before the run"
        elif name != "remaining" or bill.done:
            yield (
                f"  {label:33}{forecast.trainings:>10,}{prefixed(forecast.flops):>9}"
                f"{prefixed(forecast.flops_computed):>10}{duration(forecast.seconds):>11}"
                f"{energy(forecast.energy_kwh):>11}"
            )
    yield ""
    yield "  FLOPs: the paper's rule, dense, a MAC counted as one; computed: with sparse rounds."
    yield (
        f"  However many cores: {duration(bill.whole.seconds_at_least)} at least, since a chain's "
        "rounds follow each other."
    )
    if bill.energy_method:
        yield f"  Energy of the trainings: {bill.energy_method}."
        yield f"  {prefixed(bill.whole.co2_g)}g CO2 for the whole study."
    yield ""
    yield f"Disk: {size(sum(bill.disk.values()))}"
    yield from _wrapped([f"{size(count)} {kind}" for kind, count in bill.disk.items()])
    yield ""
    yield "Measured just now, side by side, by training on made-up images:"
    yield ""
    yield (
        f"  {'model':18}{'images like':15}{'start-up':>10}{'images/s, dense':>18}"
        f"{'the sparsest round':>21}"
    )
    for setting, rates in bill.rates:
        dense, sparsest = rates.seconds_an_image(0), rates.seconds_an_image(bill.rounds - 1)
        yield (
            f"  {setting.model:18}{setting.data.name:15}"
            f"{duration(rates.start_s + rates.round_s):>10}"
            f"{1 / dense:>18,.0f}{f'{sparsest / dense:.2f} of the time':>21}"
        )


def _wrapped(parts: list[str], width: int = 88) -> Iterator[str]:
    line = "   "
    for i, part in enumerate(parts):
        piece = f" {part}" + ("," if i + 1 < len(parts) else "")
        if len(line) + len(piece) > width:
            yield line
            line = "   "
        line += piece
    yield line


def duration(seconds: float) -> str:
    """In the unit that reads best: 0.048 s -> "48 ms", 690 s -> "11.5 min"."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= (2 * length if unit == "days" else 1.5 * length if length > 1 else 1):
            return f"{seconds / length:,.1f} {unit}"
    return f"{1000 * seconds:.0f} ms"


def energy(kwh: float | None) -> str:
    if kwh is None:
        return "not measured"
    return f"{kwh:,.1f} kWh" if kwh >= 1 else f"{1000 * kwh:.1f} Wh"


def size(count: float) -> str:
    return f"{prefixed(count)}B"


def prefixed(value: float) -> str:
    """With a prefix of thousands: 42.9e12 -> "42.9 T"."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:,.3g} E"
