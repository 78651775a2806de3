"""The paper's numbers: how it counts FLOPs, and which points belong to which setting."""

import math

import pytest

from sdd.analysis.paper import TABLE_1, TABLE_2, VANILLA, Method, paper_flops, read_off


@pytest.mark.parametrize("table", [TABLE_1, TABLE_2])
def test_accounting_reproduces_the_printed_flops(table):
    for row in table.rows.values():
        flops = paper_flops(row.trainings, table.epochs, table.macs)
        assert flops == pytest.approx(row.flops, rel=0.015)


def test_printed_co2_is_proportional_to_trainings():
    for table in (TABLE_1, TABLE_2):
        grams = [row.co2_g / row.trainings for row in table.rows.values()]
        assert max(grams) / min(grams) < 1.01


@pytest.mark.parametrize(
    ("dataset", "noise", "points"),
    [
        ("cifar10", "symmetric-0.1", 1),
        ("cifar10", "symmetric-0.15", 0),
        ("cifar100n", "human-noisy", 1),
        ("cifar100n", "human", 1),
    ],
)
def test_published_points_are_of_the_same_noise(dataset, noise, points):
    assert len(list(read_off(dataset, noise, "vit", Method()))) == points


@pytest.mark.parametrize(
    ("dataset", "noise", "model", "accuracy"),
    [
        ("cifar10", "symmetric-0.2", "vgg-5-5", 74.52),
        ("cifar10", "symmetric-0.2", "vgg-5-5-averaged", 74.52),
        ("cifar10", "symmetric-0.2", "vgg-5-4", None),
        ("cifar10", "symmetric-0.1", "vgg-5-5", None),
        ("cifar10-5000", "symmetric-0.2", "vgg-5-5", None),
    ],
)
def test_printed_rows_stand_beside_what_they_may_have_been(dataset, noise, model, accuracy):
    row = TABLE_2.beside(dataset, noise, model, VANILLA, Method())
    found = row["paper_test_accuracy_mean"]
    assert math.isnan(found) if accuracy is None else found == accuracy
    rewound = Method(retraining="weight-rewinding")
    other = TABLE_2.beside(dataset, noise, model, VANILLA, rewound)
    assert math.isnan(other["paper_test_accuracy_mean"])


@pytest.mark.parametrize(
    ("dataset", "model", "noise", "method", "points"),
    [
        ("mnist", "lenet-300-100", "symmetric-all-0.2", {"keep": "last"}, 1),
        ("mnist", "lenet-300-100", "symmetric-all-0.2", {}, 0),
        ("mnist", "lenet-300-100", "symmetric-0.2", {"keep": "last"}, 0),
        ("cifar10", "resnet18", "symmetric-all-0.2", {}, 1),
        ("cifar10", "resnet18", "symmetric-all-0.2", {"criterion": "random"}, 0),
        ("cifar10", "resnet18", "symmetric-all-0.2", {"schedule": "one-shot"}, 0),
    ],
)
def test_the_points_of_he_et_al_are_of_rewound_weights_and_their_noise(
    dataset, model, noise, method, points
):
    rewound = Method(retraining="weight-rewinding", **method)
    assert len(list(read_off(dataset, noise, model, rewound))) == points
    assert not list(read_off(dataset, noise, model, Method(**method)))
