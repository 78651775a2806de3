"""Whether two runs of a study, on two machines, come to the same claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdd.analysis.claims import NO, OPEN, UNKNOWN, YES, Claim


@dataclass(frozen=True)
class Pair:
    """A claim in two runs; None where one of them could not be asked it."""

    first: Claim | None
    second: Claim | None

    @property
    def claim(self) -> Claim:
        found = self.first or self.second
        assert found
        return found

    @property
    def agree(self) -> str:
        """`yes` where both runs say the same of the claim (`Claim.holds`) and their means lie no
        farther apart than half of the wider 95 % confidence interval: one mean lies within the
        other's interval. `no` where they do not, or only one could be asked; `not decided` where
        one has no interval (one seed, or something that was not measured)."""
        if self.first is None or self.second is None:
            return NO
        halves = [(c.interval[1] - c.interval[0]) / 2 for c in (self.first, self.second)]
        if UNKNOWN in (self.first.holds, self.second.holds) or any(h != h for h in halves):
            return OPEN
        near = abs(self.first.mean - self.second.mean) <= max(halves)
        return YES if near and self.first.holds == self.second.holds else NO


def compare(first: Sequence[Claim], second: Sequence[Claim]) -> list[Pair]:
    """Claim by claim, those of the first run in its order, then those of the second alone."""
    a, b = ({_key(claim): claim for claim in claims} for claims in (first, second))
    return [Pair(a.get(key), b.get(key)) for key in {**a, **b}]


def _key(claim: Claim) -> tuple[Any, ...]:
    """The best weight decay is what a run found, so that it may differ. Not known equals itself."""
    return claim.sentence, *(str(value) for value in claim.setting.values())
