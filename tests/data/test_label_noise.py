"""Label noise: exact counts, uniform draws, and the same bits as ever; and the hold-out."""

import hashlib

import numpy as np
import pytest

from sdd.data import noise
from sdd.data.noise import Truth, hold_out, mistaken_for, realised_rate
from sdd.data.noise_kinds import KINDS
from sdd.data.noise_maps import SUPER_CLASSES
from sdd.data.settings import Noise

CLASSES = 10
SYNTHETIC = ["symmetric", "symmetric-all", "bernoulli", "asymmetric", "pair-flip"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def balanced(count: int = 20_000) -> np.ndarray:
    return rng(99).permutation(np.arange(count) % CLASSES)


def corrupt(labels, classes, kind, rate, rng, *, dataset=None, human=None) -> np.ndarray:
    return noise.corrupt(Noise(kind, rate), Truth(labels, classes, dataset, human), rng)


def noisy(labels: np.ndarray, kind: str, rate: float, seed: int = 0) -> np.ndarray:
    return corrupt(labels, CLASSES, kind, rate, rng(seed), dataset="cifar10", human=labels)


def digest(labels: np.ndarray) -> str:
    return hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()[:12]


def assert_uniform(counts: np.ndarray) -> None:
    """Pearson's chi-square within four standard deviations of its mean."""
    expected = counts.sum() / len(counts)
    degrees = len(counts) - 1
    assert ((counts - expected) ** 2 / expected).sum() < degrees + 4 * (2 * degrees) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_no_noise_changes_nothing(kind):
    labels = balanced(1000)
    result = noisy(labels, kind, 0.0)
    assert np.array_equal(result, labels)
    assert result is not labels


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_the_seed_decides_and_the_input_stays(kind):
    labels = balanced(1000)
    before = labels.copy()
    assert np.array_equal(noisy(labels, kind, 0.3), noisy(labels, kind, 0.3))
    assert not np.array_equal(noisy(labels, kind, 0.3), noisy(labels, kind, 0.3, seed=1))
    assert np.array_equal(labels, before)
    assert noisy(labels.astype(np.uint8), kind, 0.3).dtype == np.int64


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_more_noise_contains_less(kind):
    labels = balanced(1000)
    less, more = noisy(labels, kind, 0.1), noisy(labels, kind, 0.4)
    wrong = less != labels
    assert np.array_equal(more[wrong], less[wrong])
    assert (more != labels).sum() > wrong.sum()


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.999])
@pytest.mark.parametrize("count", [7, 999, 45_000])
def test_symmetric_flips_an_exact_count_to_other_classes(count, rate):
    labels = balanced(count)
    wrong = noisy(labels, "symmetric", rate) != labels
    assert wrong.sum() == round(rate * count)
    assert realised_rate(noisy(labels, "symmetric", rate), labels) == wrong.mean()


def test_symmetric_is_uniform_over_the_other_classes():
    labels = balanced()
    result = noisy(labels, "symmetric", 0.5)
    shift = (result - labels) % CLASSES
    assert_uniform(np.bincount(shift, minlength=CLASSES)[1:])
    table = np.zeros((CLASSES, CLASSES))
    np.add.at(table, (labels, result), 1)
    assert_uniform(table[~np.eye(CLASSES, dtype=bool)])


def test_symmetric_draws_samples_from_the_whole_file_whatever_their_labels():
    labels = balanced()
    wrong = noisy(labels, "symmetric", 0.2) != labels
    assert_uniform(wrong.reshape(20, -1).sum(1))
    others = np.sort(labels)
    assert np.array_equal(noisy(others, "symmetric", 0.2) != others, wrong)


def test_symmetric_all_may_hit_the_own_class():
    labels = balanced()
    result = noisy(labels, "symmetric-all", 0.5)
    wrong = (result != labels).mean()
    assert wrong == pytest.approx(0.5 * 0.9, abs=0.01)
    # Of the 10,000 samples that were drawn; the rest also count as not shifted.
    shift = np.bincount((result - labels) % CLASSES, minlength=CLASSES)
    shift[0] -= 10_000
    assert_uniform(shift)


def test_bernoulli_flips_each_sample_by_itself():
    labels = balanced()
    counts = [(noisy(labels, "bernoulli", 0.3, seed) != labels).sum() for seed in range(30)]
    assert len(set(counts)) > 1
    assert np.mean(counts) == pytest.approx(6000, abs=4 * 65 / 30**0.5)
    result = noisy(labels, "bernoulli", 0.3)
    assert_uniform(np.bincount((result - labels) % CLASSES, minlength=CLASSES)[1:])


def test_pair_flip_goes_to_the_next_class():
    labels = balanced()
    result = noisy(labels, "pair-flip", 0.4)
    shift = np.bincount((result - labels) % CLASSES, minlength=CLASSES)
    assert shift.tolist() == [12_000, 8_000] + [0] * 8


@pytest.mark.parametrize(
    ("dataset", "pairs"),
    [
        ("cifar10", {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}),
        ("cifar10n", {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}),
        ("mnist", {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}),
        ("mnist-5k", {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}),
    ],
)
def test_asymmetric_flips_an_exact_count_of_the_mistaken(dataset, pairs):
    labels = balanced()
    result = corrupt(labels, CLASSES, "asymmetric", 0.4, rng(), dataset=dataset)
    wrong = result != labels
    assert wrong.sum() == round(0.4 * np.isin(labels, list(pairs)).sum()) == 4000
    found = set(zip(labels[wrong].tolist(), result[wrong].tolist(), strict=True))
    assert found == set(pairs.items())
    assert_uniform(np.bincount(labels[wrong])[list(pairs)])


def test_asymmetric_stays_in_the_super_class_on_cifar100():
    assert sorted(sum(SUPER_CLASSES, ())) == list(range(100))
    successor = mistaken_for("cifar100", 100)
    assert np.array_equal(successor, mistaken_for("cifar100n", 100))
    # beaver -> dolphin -> otter -> seal -> whale -> beaver
    assert successor[[4, 30, 55, 72, 95]].tolist() == [30, 55, 72, 95, 4]
    labels = np.arange(5000) % 100
    result = corrupt(labels, 100, "asymmetric", 0.2, rng(), dataset="cifar100")
    wrong = result != labels
    assert wrong.sum() == 1000
    assert np.array_equal(result[wrong], successor[labels[wrong]])


@pytest.mark.parametrize("dataset", [None, "fashion-mnist"])
def test_asymmetric_needs_a_known_data_set(dataset):
    with pytest.raises(ValueError, match=f"{dataset}.*cifar100.*pair-flip"):
        corrupt(balanced(), CLASSES, "asymmetric", 0.2, rng(), dataset=dataset)


def test_human_labels_are_taken_as_they_are():
    labels, given = np.array([0, 1, 2, 3]), np.array([0, 2, 2, 9], dtype=np.uint8)
    result = corrupt(labels, CLASSES, "human", 0.0, rng(), human=given)
    assert result.tolist() == given.tolist()
    assert realised_rate(result, labels) == 0.5
    for wrong in (None, given[:3], np.array([0, 1, 2, 10])):
        with pytest.raises(ValueError, match=r"human labels of all 4|from 0 to 9"):
            corrupt(labels, CLASSES, "human", 0.0, rng(), human=wrong)


# sha256 of int64 labels: what published results were trained on. numpy's streams count too.
PINNED = {
    "given": "6861b9a000f0",
    "clean": "6861b9a000f0",
    "symmetric": "f6a595ea6d3e",
    "symmetric-all": "de01d25f2665",
    "bernoulli": "5a84eb66a0df",
    "asymmetric": "babe4ba27d8a",
    "pair-flip": "95987770f6e1",
    "human": "ce76425eb236",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_every_kind_stay(kind):
    labels = rng(1).integers(CLASSES, size=1000)
    human = rng(2).integers(CLASSES, size=1000)
    result = corrupt(labels, CLASSES, kind, 0.4, rng(3), dataset="cifar10", human=human)
    assert digest(result) == PINNED[kind]


def test_the_bits_of_the_hold_out_stay():
    train, validation = hold_out(rng(1).integers(CLASSES, size=1000), 0.1, rng(3))
    assert (digest(train), digest(validation)) == ("e88aefb365b8", "98053337b722")


def test_what_a_kind_needs_is_what_it_reads():
    labels = balanced(1000)
    for name, kind in KINDS.items():
        given = {"dataset": "cifar10", "human": np.zeros_like(labels)}
        low, high = (corrupt(labels, CLASSES, name, r, rng(), **given) for r in (0.1, 0.4))
        assert np.array_equal(low, high) == (kind.needs != "rate"), name
        # Without what it does not need it gives the same.
        given = {"dataset": "cifar10"} if kind.maps else {}
        given |= {"human": np.zeros_like(labels)} if kind.needs == "labels" else {}
        assert np.array_equal(corrupt(labels, CLASSES, name, 0.4, rng(), **given), high), name
        if given:
            with pytest.raises(ValueError):
                corrupt(labels, CLASSES, name, 0.4, rng())


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_rates_outside_zero_to_one_are_refused(rate):
    with pytest.raises(ValueError, match=r"rate is .* at least 0 and below 1"):
        noisy(balanced(), "symmetric", rate)
    with pytest.raises(ValueError, match=r"fraction is .* at least 0 and below 1"):
        hold_out(balanced(), rate, rng())


def test_unknown_kinds_and_labels_are_refused():
    with pytest.raises(ValueError, match=r"no label noise 'uniform'.*symmetric-all.*human"):
        noisy(balanced(), "uniform", 0.1)
    for labels in (np.array([0, 10]), np.array([-1, 0]), np.zeros((2, 2), int)):
        with pytest.raises(ValueError, match="one row of integers from 0 to 9"):
            noisy(labels, "symmetric", 0.1)
    with pytest.raises(ValueError, match="no other class"):
        corrupt(np.zeros(5, int), 1, "symmetric", 0.2, rng())


def test_realised_rate_of_nothing():
    assert realised_rate(np.empty(0, int), np.empty(0, int)) == 0.0


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.125, 1 / 3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_hold_out_is_an_exact_stratified_partition(fraction, seed):
    labels = rng(seed).choice(7, size=997, p=rng(seed).dirichlet(np.ones(7)))
    train, validation = hold_out(labels, fraction, rng(seed))
    assert len(validation) == round(fraction * 997)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(997))
    assert np.array_equal(train, np.sort(train))
    assert np.array_equal(validation, np.sort(validation))
    quotas = fraction * np.bincount(labels, minlength=7)
    assert np.all(np.abs(np.bincount(labels[validation], minlength=7) - quotas) < 1)


def test_hold_out_rounds_by_largest_remainder():
    labels = np.repeat([0, 1, 2], [14, 15, 18])  # quotas of 10 %: 1.4, 1.5, 1.8; in all 4.7
    _, validation = hold_out(labels, 0.1, rng())
    assert np.bincount(labels[validation]).tolist() == [1, 2, 2]
    # 0.1 * 30 is 3 and a hair in floating point, which must not count as a remainder.
    labels = np.repeat([0, 1, 2, 3], [30, 14, 14, 14])
    _, validation = hold_out(labels, 0.1, rng())
    assert np.bincount(labels[validation]).tolist() == [3, 2, 1, 1]


def test_hold_out_of_cifar_sized_labels():
    labels = np.arange(50_000) % 100
    train, validation = hold_out(labels, 0.1, rng())
    assert set(np.bincount(labels[validation])) == {50}
    assert len(train) == 45_000


def test_hold_out_is_drawn_at_random_by_the_generator():
    labels = balanced()
    _, first = hold_out(labels, 0.1, rng(0))
    _, again = hold_out(labels, 0.1, rng(0))
    _, other = hold_out(labels, 0.1, rng(1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert_uniform(np.bincount(first // 1000, minlength=20))
