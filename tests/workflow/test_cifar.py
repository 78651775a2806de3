"""A CIFAR study through the whole workflow: colour images, augmentation, convolutions, another
model as the teacher.

On real CIFAR-10 where SDD_DATA names a folder with its files; otherwise on generated images of the
same shape. The test's id says which.
"""

import os

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Workflow
from safetensors.numpy import save_file

from sdd.base import layout
from sdd.base.files import sha256, write_json
from sdd.base.records import to_dict
from sdd.data.datasets import DATASETS
from sdd.data.facts import DatasetFacts

REAL = os.environ.get("SDD_DATA")
RECIPE = {
    "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4,
    "batch_size": 32, "epochs": 2, "schedule": "constant", "augmentation": "flip-crop",
}  # fmt: skip
STUDY = {
    "study": "cifar",
    "seeds": [1],
    "experiments": [
        {"name": name, "dataset": "cifar10", "model": model, "noise": noise} | more
        for noise in [{"kind": "symmetric", "rate": 0.2}]
        for name, model, more in [
            ("teacher", "vgg-3-3", {}),
            ("student", "vgg-2-3", {}),
            ("distilled", "vgg-2-3", {"teacher": {"experiment": "teacher", "round": "best"}}),
        ]
    ],
    "recipes": {"vgg-3-3": RECIPE, "vgg-2-3": RECIPE},
    "pruning": {"rounds": 2, "fraction": 0.5},
}


def stand_in(output) -> None:
    """A prepared data set of coloured noise, a mean colour for each class."""
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 215, (10, 3, 1, 1))

    def images(labels):
        noise = rng.integers(-40, 41, (len(labels), 3, 32, 32))
        return (colours[labels] + noise).astype(np.uint8)

    arrays = {}
    for part, count in (("train", 600), ("test", 200)):
        arrays[f"{part}_labels"] = np.arange(count) % 10
        arrays[f"{part}_images"] = images(arrays[f"{part}_labels"])
    output.parent.mkdir(parents=True)
    data, known = layout.data_of(output), DATASETS["cifar10"]
    save_file(arrays, data)
    facts = DatasetFacts(
        name="cifar10", source="generated", classes=10, shape=known.shape, train=600, test=200,
        mean=known.mean, std=known.std, human_noise_rates={},
        bytes=data.stat().st_size, sha256=sha256(data),
    )  # fmt: skip
    write_json(output, to_dict(facts))


@pytest.mark.parametrize("images", ["real" if REAL else "generated"])
def test_a_cifar_study_runs_to_its_report(tmp_path, images):
    workflow = Workflow(tmp_path)
    study = dict(STUDY)
    if images == "real":
        # Nine tenths held out: training on 5,000 real images fits two cores.
        study |= {"data": {"folder": REAL}, "validation": {"fraction": 0.9}}
    else:
        stand_in(workflow.folder / layout.dataset("cifar10").facts)
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(study))
    workflow.snakemake("--configfile", "study.yaml", timeout=600)

    reports = workflow.folder / "reports" / "cifar"
    frame = pd.read_csv(reports / "rounds.csv")
    assert len(frame) == 3 * 3
    distilled = frame[frame.experiment == "distilled"]
    assert set(distilled.teacher_model) == {"vgg-3-3"}
    assert {path.name for path in (reports / "figures").glob("*.png")} == {
        "figure1_phenomenon.png", "figure2_occurrence.png", "figure5_distillation.png",
            "figure_diagnostics.png",
    }  # fmt: skip
    # Ten classes: even two short epochs are better than a guess.
    assert frame[frame.sparsity == 0].test_accuracy.min() > 15
    assert "Nothing to be done" in workflow.snakemake("--configfile", "study.yaml").stdout
