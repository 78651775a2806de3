"""Wrong labels, put in on purpose, and the samples kept apart from them.

The paper (section 3) flips the labels of a given proportion of the training samples to one of
the other classes with equal probability: `symmetric`. The other synthetic kinds are those of the
work it builds on (He et al., ICML 2022; github.com/he-zh/sparse-double-descent).
Randomness is a numpy Generator. Labels are integers in 0..classes-1, [N].
"""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]

KINDS = (
    "clean",  # the labels as they are
    "symmetric",  # exactly round(rate * N) samples, each to one of the OTHER classes
    "symmetric-all",  # exactly round(rate * N) samples, each to any class, its own included
    "bernoulli",  # every sample with probability `rate`, to one of the other classes
    "asymmetric",  # samples of confusable classes, each to the class it is mistaken for
    "pair-flip",  # exactly round(rate * N) samples, each from class c to c + 1 (modulo classes)
    "human",  # given labels
)

# Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017.
MISTAKEN_DIGITS = {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
# Truck for automobile, bird for airplane, deer for horse, cat and dog for each other.
MISTAKEN_OBJECTS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
# CIFAR-100's twenty super-classes (Krizhevsky 2009), as indices of their five classes.
SUPER_CLASSES = (
    (4, 30, 55, 72, 95),  # aquatic mammals
    (1, 32, 67, 73, 91),  # fish
    (54, 62, 70, 82, 92),  # flowers
    (9, 10, 16, 28, 61),  # food containers
    (0, 51, 53, 57, 83),  # fruit and vegetables
    (22, 39, 40, 86, 87),  # household electrical devices
    (5, 20, 25, 84, 94),  # household furniture
    (6, 7, 14, 18, 24),  # insects
    (3, 42, 43, 88, 97),  # large carnivores
    (12, 17, 37, 68, 76),  # large man-made outdoor things
    (23, 33, 49, 60, 71),  # large natural outdoor scenes
    (15, 19, 21, 31, 38),  # large omnivores and herbivores
    (34, 63, 64, 66, 75),  # medium-sized mammals
    (26, 45, 77, 79, 99),  # non-insect invertebrates
    (2, 11, 35, 46, 98),  # people
    (27, 29, 44, 78, 93),  # reptiles
    (36, 50, 65, 74, 80),  # small mammals
    (47, 52, 56, 59, 96),  # trees
    (8, 13, 48, 58, 90),  # vehicles 1
    (41, 69, 81, 85, 89),  # vehicles 2
)
NEXT_IN_SUPER_CLASS = {
    label: members[(i + 1) % len(members)]
    for members in SUPER_CLASSES
    for i, label in enumerate(members)
}
MISTAKEN = {
    "mnist-5k": MISTAKEN_DIGITS,
    "mnist": MISTAKEN_DIGITS,
    "cifar10": MISTAKEN_OBJECTS,
    "cifar10n": MISTAKEN_OBJECTS,
    "cifar100": NEXT_IN_SUPER_CLASS,
    "cifar100n": NEXT_IN_SUPER_CLASS,
}


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


def corrupt(
    labels: Labels,
    classes: int,
    kind: str,
    rate: float,
    rng: np.random.Generator,
    *,
    dataset: str | None = None,
    human: Labels | None = None,
) -> NDArray[np.int64]:
    """New labels, [N] int64, with noise of one of `KINDS`; `labels` themselves stay as they are.

    Of one seed, the samples that a lower rate flips are among those of a higher one.
    `asymmetric` needs the name of the `dataset`. It flips round(rate * n) of the n samples whose
    class is mistaken for another, so the realised rate is lower: half of `rate` on CIFAR-10.
    `human` needs the `human` labels of the same samples; their rate is a fact, `rate` isn't read.

    Raises ValueError for an unknown kind, a rate outside [0, 1), labels outside 0..classes-1,
    and what a kind needs but isn't given.
    """
    _check_rate("rate", rate)
    true = _checked(labels, classes)
    match kind:
        case "clean":
            return true
        case "symmetric":
            return _replace(true, _sample(len(true), rate, rng), _others(true, classes, rng))
        case "symmetric-all":
            chosen = _sample(len(true), rate, rng)
            return _replace(true, chosen, rng.integers(classes, size=len(true)))
        case "bernoulli":
            return _replace(true, rng.random(len(true)) < rate, _others(true, classes, rng))
        case "asymmetric":
            mistaken = mistaken_for(dataset, classes)[true]
            candidates = np.flatnonzero(mistaken != true)
            return _replace(true, candidates[_sample(len(candidates), rate, rng)], mistaken)
        case "pair-flip":
            return _replace(true, _sample(len(true), rate, rng), (true + 1) % classes)
        case "human":
            if human is None or np.shape(human) != true.shape:
                raise ValueError(f"Human noise needs the human labels of all {len(true)} samples.")
            return _checked(human, classes)
    raise ValueError(f"There is no label noise {kind!r}. Known are: {', '.join(KINDS)}.")


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


def _others(true: Labels, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For every label one of the other classes, uniformly."""
    if classes < 2:
        raise ValueError("With fewer than two classes there is no other class to flip to.")
    return (true + rng.integers(1, classes, size=len(true))) % classes


def _replace(true: Labels, where: NDArray, by: Labels) -> NDArray[np.int64]:
    noisy = true.copy()
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
