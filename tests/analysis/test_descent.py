import numpy as np
import pytest

from sdd.analysis.descent import best_round, interpolation_threshold, phases, stop_early, valley
from sdd.study.settings import EarlyStopping

NAN = float("nan")


def brute_force_depth(curve):
    """The deepest min of two drops, over every rim, bottom and rim."""
    n = len(curve)
    return max(
        min(curve[i], curve[k]) - curve[j]
        for j in range(n)
        for i in range(j + 1)
        for k in range(j, n)
    )


@pytest.mark.parametrize("seed", range(30))
def test_valley_is_the_deepest_of_all(seed):
    random = np.random.default_rng(seed)
    curve = random.integers(0, 12, size=random.integers(1, 25)).astype(float)
    found = valley(curve)
    assert found.depth == brute_force_depth(curve)
    assert found.before <= found.bottom <= found.after
    assert found.depth_before == curve[: found.bottom + 1].max() - curve[found.bottom]
    assert found.depth_after == curve[found.bottom :].max() - curve[found.bottom]


def test_valley_of_a_known_curve():
    found = valley([70, 71, 71, 60, 55, 58, 66, 66, 40])
    assert (found.before, found.bottom, found.after) == (2, 4, 7)
    assert (found.depth_before, found.depth_after, found.depth) == (16, 11, 11)
    assert found.exists(10.9) and not found.exists(11)


@pytest.mark.parametrize("curve", [[5, 4, 3, 3, 1], [1, 2, 2, 7], [4, 4, 4], [9], [1, 5, 2]])
def test_curves_without_a_valley(curve):
    assert valley(curve).depth == 0
    assert not valley(curve).exists(0)


def test_rounds_without_a_value_are_left_out():
    found = valley([NAN, 8, 3, NAN, 6, NAN, NAN])
    assert (found.before, found.bottom, found.after, found.depth) == (1, 2, 4, 3)
    with pytest.raises(ValueError, match="without a single"):
        valley([NAN, NAN])


def test_four_phases():
    test = [70, 70.4, 69.8, 66, 60, 55, 60, 68, 71, 70.5, 65, 30]
    train = [100, 100, 100, 100, 98, 90, 80, 70, 65, 63, 60, 30]
    found = phases(test, train, tolerance=1)
    assert found.light == range(0, 3)
    assert found.critical == range(3, 6)
    assert found.sweet == range(6, 10)  # 70.5 is still the peak
    assert found.collapsed == range(10, 12)
    assert interpolation_threshold(train, 1) == 3
    assert interpolation_threshold(train, 2) == 4


@pytest.mark.parametrize(
    ("train", "threshold"),
    [
        ([97, 99.5, 99, 98.9, 60], 2),  # a first round short of it does not matter
        ([NAN, 100, 50, NAN], 1),
        ([98.9, 98.9, 97], None),  # never within a point of all labels, flat or not
        ([62, 61, 55], None),
    ],
)
def test_interpolation_ends_where_the_noisy_labels_are_no_longer_fitted(train, threshold):
    assert interpolation_threshold(train, 1) == threshold


def test_collapse_needs_both_accuracies():
    test, train = [70, 60, 71, 65, 64], [100, 95, 80, 80, 70]
    assert phases(test, train, 1).collapsed == range(4, 5)
    assert not phases(test, [100, 95, 80, 80, 80], 1).collapsed


def test_phases_without_a_valley():
    flat, train = [80, 80.5, 80, 79.8, 75, 60], [65, 65, 65, 65, 62, 50]
    found = phases(flat, train, 1)
    assert (found.light, found.collapsed) == (range(0, 4), range(4, 6))
    assert not found.critical and not found.sweet

    rising = phases([50, 55, 60], [100, 100, 100], 1)
    assert rising.light == range(0, 3)

    cut_off = phases([70, 70, 65, 58], [100, 100, 100, 100], 1)
    assert (cut_off.light, cut_off.critical) == (range(0, 2), range(2, 4))
    assert not cut_off.collapsed


@pytest.mark.parametrize("seed", range(30))
def test_phases_are_all_rounds_in_order(seed):
    random = np.random.default_rng(seed)
    n = random.integers(1, 30)
    test, train = random.normal(60, 5, n), np.sort(random.normal(80, 10, n))[::-1]
    found = phases([*test, NAN, NAN], [*train, NAN, NAN], tolerance=2)
    rounds = [r for stretch in vars(found).values() for r in stretch]
    assert rounds == list(range(n))


@pytest.mark.parametrize(
    ("curve", "kept", "last", "stopped"),
    [
        ([70, 71, 68, 68, 68, 99], 1, 4, True),  # three bad rounds, the better end never seen
        ([70, 71, 68, 68, 71, 68, 68], 4, 6, False),  # a good round starts the count anew
        ([70, 71, 70, 70.5, 60, 60, 60], 3, 6, True),  # within the tolerance is not bad
        ([70, 69, 68, 67, 66], 1, 4, True),  # creeping down does not lower the bar
        ([50, 60, 70], 2, 2, False),
        ([70], 0, 0, False),
        ([70, 60, 60, NAN, NAN], 0, 2, False),  # ended early: what was trained is billed
        ([70, NAN, 71, 60, 60, 60, 99], 2, 5, True),
    ],
)
def test_early_stopping(curve, kept, last, stopped):
    choice = stop_early(curve, EarlyStopping(patience=3, tolerance=1))
    assert (choice.kept, choice.last, choice.ended_early) == (kept, last, stopped)


def test_patience_and_tolerance():
    curve = [70, 69, 70, 60, 72, 50, 50]
    assert stop_early(curve, EarlyStopping(1, 0)).last == 1
    assert stop_early(curve, EarlyStopping(1, 1)).last == 3
    assert stop_early(curve, EarlyStopping(2, 0)).last == 6
    assert not stop_early(curve, EarlyStopping(3, 0)).ended_early


@pytest.mark.parametrize("seed", range(20))
def test_the_kept_round_is_the_sparsest_good_one_before_the_stop(seed):
    random = np.random.default_rng(seed)
    curve, rule = random.integers(50, 60, 30), EarlyStopping(int(random.integers(1, 5)), 2)
    choice = stop_early(curve, rule)
    seen = curve[: choice.last + 1]
    assert choice.kept == np.flatnonzero(seen >= seen.max() - rule.tolerance)[-1]


def test_best_round_prefers_the_sparser_of_equals_and_bills_the_chain():
    choice = best_round([70, 72, 60, 72, 50, NAN])
    assert (choice.kept, choice.last, choice.ended_early) == (3, 4, False)
