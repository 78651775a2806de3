"""Wrong labels, put in on purpose, and the samples kept apart from them.

The paper (section 3) flips the labels of a given proportion of the training samples to one of
the other classes with equal probability: `symmetric`. The other synthetic kinds are those of the
work it builds on (He et al., ICML 2022; github.com/he-zh/sparse-double-descent).
Randomness is a numpy Generator. Labels are integers in 0..classes-1, [N].

A kind of noise is a function (truth, rate, rng) -> labels, named in `sdd.data.noise_kinds`. What it
returns is new, [N] int64. Of one seed, the samples that a lower rate flips are among those of a
higher one.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sdd.base.names import load
from sdd.data.noise_kinds import KINDS
from sdd.data.noise_maps import MISTAKEN
from sdd.data.settings import Noise

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Truth:
    """The true labels of some samples, and what is known of the samples beside them."""

    labels: Labels  # [N]
    classes: int
    dataset: str | None = None  # its name, for noise that depends on what the classes are
    human: Labels | None = None  # [N], people's labels of the same samples
    given: Labels | None = None  # [N], as the data set has them, where these are not the true ones

    def at(self, index: NDArray[np.int64]) -> "Truth":
        """Of the samples at `index`."""
        human, given = (
            None if values is None else values[index] for values in (self.human, self.given)
        )
        return replace(self, labels=self.labels[index], human=human, given=given)


def choose(labels: Labels, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sorted indices of `count` samples, stratified as in `hold_out`."""
    if count == len(labels):
        return np.arange(count)
    return hold_out(labels, count / len(labels), rng)[1]


def hold_out(
    labels: Labels, fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split samples into sorted (train, validation) indices, the latter round(fraction * N).

    Stratified: every class gives its proportion, rounded by largest remainder (of equal
    remainders the lower class). Raises ValueError for a fraction outside [0, 1).
    """
    _check_rate("fraction", fraction)
    classes, counts = np.unique(labels, return_counts=True)
    quotas = fraction * counts
    # Rounded first: 0.1 * 30 is a hair above 3, and must not win over an honest remainder.
    whole = np.floor(np.round(quotas, 9)).astype(int)
    short = round(fraction * len(labels)) - whole.sum()
    whole[np.argsort(np.round(whole - quotas, 9), kind="stable")[:short]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in zip(classes, whole, strict=True)
    ]
    validation = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def corrupt(noise: Noise, truth: Truth, rng: np.random.Generator) -> NDArray[np.int64]:
    """New labels with this noise, [N] int64; the true ones themselves stay as they are.

    Raises ValueError for an unknown kind, a rate outside [0, 1), labels outside 0..classes-1,
    and what a kind needs but isn't given.
    """
    if noise.kind not in KINDS:
        raise ValueError(f"There is no label noise {noise.kind!r}. Known are: {', '.join(KINDS)}.")
    _check_rate("rate", noise.rate)
    checked = replace(truth, labels=_checked(truth.labels, truth.classes))
    return load(KINDS[noise.kind].function)(checked, noise.rate, rng)


def given(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The labels as the data set has them, right or wrong."""
    return _checked(truth.labels if truth.given is None else truth.given, truth.classes)


def clean(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The true labels."""
    return truth.labels.copy()


def symmetric(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Exactly round(rate * N) samples, each to one of the OTHER classes."""
    return _replace(truth, _sample(len(truth.labels), rate, rng), _others(truth, rng))


def symmetric_all(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Exactly round(rate * N) samples, each to any class, its own included."""
    chosen = _sample(len(truth.labels), rate, rng)
    return _replace(truth, chosen, rng.integers(truth.classes, size=len(truth.labels)))


def bernoulli(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Every sample with probability `rate`, to one of the other classes."""
    return _replace(truth, rng.random(len(truth.labels)) < rate, _others(truth, rng))


def asymmetric(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """round(rate * n) of the n samples whose class is mistaken for another, each to that class.

    So the realised rate is lower: half of `rate` on CIFAR-10.
    """
    mistaken = mistaken_for(truth.dataset, truth.classes)[truth.labels]
    candidates = np.flatnonzero(mistaken != truth.labels)
    return _replace(truth, candidates[_sample(len(candidates), rate, rng)], mistaken)


def pair_flip(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Exactly round(rate * N) samples, each from class c to c + 1 (modulo classes)."""
    following = (truth.labels + 1) % truth.classes
    return _replace(truth, _sample(len(truth.labels), rate, rng), following)


def human(truth: Truth, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """People's labels; their rate is a fact, and `rate` isn't read."""
    if truth.human is None or np.shape(truth.human) != truth.labels.shape:
        raise ValueError(f"Human noise needs the human labels of all {len(truth.labels)} samples.")
    return _checked(truth.human, truth.classes)


def realised_rate(noisy: Labels, true: Labels) -> float:
    """The proportion of labels that are wrong, in 0..1; 0 where there are none."""
    return float(np.mean(noisy != true)) if len(true) else 0.0


def mistaken_for(dataset: str | None, classes: int) -> NDArray[np.int64]:
    """[classes]: the class that each class is mistaken for in `dataset`; itself if for none.

    The maps are Patrini et al.'s. He et al.'s code differs twice: on MNIST it leaves out 7 -> 1,
    and on CIFAR-100 it takes any five consecutive classes for a super-class, though the classes
    are in alphabetical order. Here they are the real super-classes.
    """
    if dataset not in MISTAKEN:
        raise ValueError(
            f"Which classes of {dataset!r} are mistaken for each other is not known; asymmetric "
            f"noise exists for {', '.join(MISTAKEN)}. Use pair-flip for other data sets."
        )
    return np.array([MISTAKEN[dataset].get(label, label) for label in range(classes)])


def _sample(count: int, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """round(rate * count) different positions."""
    return rng.permutation(count)[: round(rate * count)]


def _others(truth: Truth, rng: np.random.Generator) -> NDArray[np.int64]:
    """For every label one of the other classes, uniformly."""
    if truth.classes < 2:
        raise ValueError("With fewer than two classes there is no other class to flip to.")
    steps = rng.integers(1, truth.classes, size=len(truth.labels))
    return (truth.labels + steps) % truth.classes


def _replace(truth: Truth, where: NDArray, by: Labels) -> NDArray[np.int64]:
    noisy = truth.labels.copy()
    noisy[where] = by[where]
    return noisy


def _check_rate(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}, but must be at least 0 and below 1.")


def _checked(labels: Labels, classes: int) -> NDArray[np.int64]:
    """A copy as int64; ValueError where a label is no class."""
    copy = np.array(labels, dtype=np.int64)
    if copy.ndim != 1 or (copy.size and not 0 <= copy.min() <= copy.max() < classes):
        raise ValueError(f"Labels must be one row of integers from 0 to {classes - 1}.")
    return copy
