"""What a chain's curves say: its valley, its four phases, and which of its models one would keep.

Everything here is a pure function of accuracies in percent, one per round, densest first. Rounds
without a value (NaN: the chain ended early) are left out; indices are always those of the rounds.
A `tolerance` is in points of accuracy: a smaller change counts as noise.

Imports no numpy: a chain has some tens of rounds, and what plans or adopts them must not wait.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from sdd.study.settings import EarlyStopping


@dataclass(frozen=True)
class Valley:
    """The deepest valley of a curve: the rounds of its two rims and its bottom, and how deep."""

    before: int
    bottom: int
    after: int
    depth_before: float  # points from the best round up to the bottom, down to the bottom
    depth_after: float  # points from the bottom up to the best round from there on

    @property
    def depth(self) -> float:
        """Points; the lower rim counts, so a curve that only falls or only rises has depth 0."""
        return min(self.depth_before, self.depth_after)

    def exists(self, tolerance: float) -> bool:
        """Whether the curve has a valley at all, that is, one deeper than its noise."""
        return self.depth > tolerance


def valley(curve: Sequence[float]) -> Valley:
    """Find the round j that maximises min(max(a[:j+1]) - a[j], max(a[j:]) - a[j]).

    Among equally deep bottoms the densest one is taken, among equally high rims the sparsest.
    """
    rounds, a = _known(curve)
    before, after = accumulate(a, max), reversed([*accumulate(reversed(a), max)])
    depths = [min(rims) - value for *rims, value in zip(before, after, a, strict=True)]
    bottom = depths.index(max(depths))
    left, right = _last_argmax(a[: bottom + 1]), bottom + _last_argmax(a[bottom:])
    return Valley(
        before=rounds[left],
        bottom=rounds[bottom],
        after=rounds[right],
        depth_before=a[left] - a[bottom],
        depth_after=a[right] - a[bottom],
    )


@dataclass(frozen=True)
class Phases:
    """The rounds of the four phases of sparse double descent; together they are all rounds."""

    light: range
    critical: range
    sweet: range
    collapsed: range


def phases(test: Sequence[float], train: Sequence[float], tolerance: float) -> Phases:
    """Split a chain into the phases of He et al. (2022), told by test and training accuracy.

    `train` is measured on the labels trained on, noise included. With t = `tolerance`:

    light      up to the last round before the valley's bottom whose test accuracy is still within
               t of the best one before the bottom: pruning has cost nothing yet.
    critical   from there to the bottom, included: the model still fits its noisy labels, or is
               about to stop to, and its test accuracy falls.
    sweet      from behind the bottom, over the second peak, until the collapse.
    collapsed  the rounds at the sparse end, all behind the peak, where test AND training accuracy
               are more than t below what they were at the peak: too few weights to learn at all.

    A curve without a valley deeper than t has no sweet phase. Its only peak is its best round; it
    is light as long as it comes within t of that, collapsed as above, and critical in between:
    where test accuracy is gone and training accuracy is not, as in a chain cut off in its valley.
    """
    fits = [float(fit) for fit in train]
    both = [t if math.isfinite(fit) else math.nan for t, fit in zip(test, fits, strict=True)]
    rounds, a = _known(both)
    b = [fits[number] for number in rounds]
    found = valley(a)
    if found.exists(tolerance):
        before, bottom, peak = found.before, found.bottom, found.after
    else:
        before, bottom, peak = _last_argmax(a), None, _last_argmax(a)

    collapse = len(a)
    fallen = [
        x < a[peak] - tolerance and y < b[peak] - tolerance for x, y in zip(a, b, strict=True)
    ]
    while collapse - 1 > peak and fallen[collapse - 1]:
        collapse -= 1
    recovery = collapse if bottom is None else bottom + 1
    descent = 1 + max(i for i in range(recovery) if a[i] >= a[before] - tolerance)

    edges = [0, descent, recovery, collapse, len(a)]
    at = [rounds[e] if e < len(a) else rounds[-1] + 1 for e in edges]
    return Phases(*(range(start, stop) for start, stop in pairwise(at)))


def interpolation_threshold(train: Sequence[float], tolerance: float) -> int | None:
    """Last round that fits its own, noisy, training labels within t of all; None if none does."""
    rounds, b = _known(train)
    fitting = [number for number, fit in zip(rounds, b, strict=True) if fit >= 100 - tolerance]
    return fitting[-1] if fitting else None


@dataclass(frozen=True)
class Choice:
    """What a rule makes of a chain."""

    kept: int  # the round whose model is kept
    last: int  # the last round trained; rounds 0 to this one are billed
    ended_early: bool  # whether the rule ended the chain


def stop_early(validation: Sequence[float], rule: EarlyStopping) -> Choice:
    """Prune on until `patience` rounds in a row are bad; keep the sparsest round that was not.

    The paper calls its rule "traditional" and does not state it; this one is ours.

    A round is bad if its validation accuracy is more than `tolerance` below the best so far. All
    that was trained until the stop is billed; a chain that never stops is billed as a whole.
    """
    best, bad, kept, last = -math.inf, 0, 0, 0
    for last, accuracy in zip(*_known(validation), strict=True):
        if accuracy >= best - rule.tolerance:
            best, bad, kept = max(best, accuracy), 0, last
        else:
            bad += 1
        if bad >= rule.patience:
            return Choice(kept, last, ended_early=True)
    return Choice(kept, last, ended_early=False)


def best_round(validation: Sequence[float]) -> Choice:
    """Without early stopping: the best validation accuracy, ties to the sparser round.

    The whole chain is billed, since only a chain trained to its end says which round is the best.
    """
    rounds, a = _known(validation)
    return Choice(rounds[_last_argmax(a)], rounds[-1], ended_early=False)


def _known(curve: Sequence[float]) -> tuple[list[int], list[float]]:
    """The rounds with a value, and their values."""
    known = {number: float(value) for number, value in enumerate(curve) if math.isfinite(value)}
    if not known:
        raise ValueError("a curve without a single known value")
    return list(known), list(known.values())


def _last_argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: (values[i], i))
