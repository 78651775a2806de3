"""Every recipe of every shipped study trains: it does not diverge, and soon it does not only guess.

The short form takes a few steps of small batches on generated images of two classes; the long one
(pytest -m long) 23,040 images in the recipe's own batches, on the data set's images where
SDD_DATA names a folder with its files, on a GPU where there is one.
"""

import math
import os
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT

from sdd.data import preparation
from sdd.data.arrays import read_dataset
from sdd.data.datasets import Dataset
from sdd.data.facts import DatasetFacts
from sdd.data.settings import DatasetSpec
from sdd.models import names
from sdd.rounds.network import new_network, place_network
from sdd.sparsity.masks import dense_masks
from sdd.study import reading, validation
from sdd.study.settings import Recipe
from sdd.study.specs import RoundSpec
from sdd.study.study import Study
from sdd.training.loop import train
from sdd.training.samples import Samples

STUDIES = sorted((ROOT / "workflow" / "studies").glob("*.yaml"))
FOLDER = os.environ.get("SDD_DATA")
# Images in the long form, whatever the batch: 180 batches of 128, and 45 of 512, which are enough.
SEEN = 23_040
# Losses of half of the steps above so many times guessing's: a single batch of 16 may be far off.
HOPELESS = 10


@dataclass(frozen=True)
class Case:
    """A recipe of a study, on one of the data sets that the study trains its model on.

    For a recipe that waits to be chosen: on one of all the study's that fit its model.
    """

    study: str
    model: str
    data: Dataset
    recipe: Recipe

    @property
    def steps_alike(self) -> tuple[object, ...]:
        """What its first steps depend on, whatever the images."""
        fixed = {"epochs": 1, "schedule": "constant", "milestones": (), "factor": 0.1}
        return self.model, self.data.shape, replace(self.recipe, **fixed)


def shipped() -> list[Case]:
    base = reading.load(ROOT / "config.yaml")
    cases: dict[object, Case] = {}
    for path in (None, *STUDIES):
        own = reading.load(path) if path else base
        config = reading.merge(base, own)
        if config.get("datasets"):
            continue  # its file is made by a script; tests/workflow runs both
        study = Study.of(validation.validate(config))
        trained = [(chain.model, chain.data) for chain in study.chains.values()]
        waiting = own.get("recipes", {}).keys() - {model for model, _ in trained}
        trained += [(model, data) for model in sorted(waiting) for _, data in trained
                    if fits(model, data)]  # fmt: skip
        for model, data in trained:
            case = Case(study.name, model, data, study.config.recipes[model].used)
            cases.setdefault((data, *case.steps_alike), case)
    return list(cases.values())


def fits(model: str, data: Dataset) -> bool:
    found, numbers = names.find(model)
    return found.misfit(data.shape[1], *numbers) is None


def parameters(cases):
    return [pytest.param(case, id=f"{case.study}-{case.model}-{case.data.name}") for case in cases]


def losses_of(case: Case, samples: Samples, labels: torch.Tensor, batch: int) -> list[float]:
    """The losses of the recipe's first steps, one epoch of these samples."""
    spec = RoundSpec("c", 0, case.model, replace(case.recipe, batch_size=batch, epochs=1), 1)
    facts = DatasetFacts("x", "", case.data.classes, case.data.shape, 0, 0, (), (), {}, 0, "")
    model = place_network(new_network(spec, facts), spec.recipe, labels.device)
    losses = []

    def objective(logits, batch):
        losses.append(F.cross_entropy(logits, labels[batch.index]))
        return losses[-1]

    torch.manual_seed(1)
    train(
        model, dense_masks(model), samples, labels, None, spec.recipe, objective,
        generator=torch.Generator().manual_seed(1), report=lambda epoch: None,
    )  # fmt: skip
    return [loss.item() for loss in losses]


def assert_trains(losses: list[float], classes: int) -> None:
    guessing, last = math.log(classes), losses[-len(losses) // 3 :]
    assert statistics.median(losses) < HOPELESS * guessing
    assert statistics.median(last) < guessing


def once(cases: list[Case]) -> list[Case]:
    """One data set for each recipe: that with the fewest classes."""
    return list({case.steps_alike: case for case in sorted(cases, key=lambda c: -c.data.classes)}
                .values())  # fmt: skip


def first_losses(case: Case) -> list[float]:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (12 * 16,), generator=random)
    noise = torch.rand(len(labels), *case.data.shape, generator=random)
    pixels = (255 * (labels.view(-1, 1, 1, 1) + noise) / 2).to(torch.uint8)
    half = torch.full((case.data.shape[0], 1, 1), 0.5)
    return losses_of(case, Samples(pixels, half, half / 2), labels, batch=16)


@pytest.mark.parametrize("case", parameters(once(shipped())))
def test_first_steps(case):
    assert_trains(first_losses(case), case.data.classes)


def test_the_published_rate_of_the_vgg_like_network_diverges():
    """Why the studies average its last map; were it to train, they should take it as it is."""
    case = next(case for case in shipped() if case.model == "vgg-5-5")
    published = replace(case, recipe=replace(case.recipe, learning_rate=0.1))
    assert max(first_losses(published)) > 50 * math.log(case.data.classes)


@pytest.mark.long
@pytest.mark.parametrize("case", parameters(shipped()))
def test_some_hundred_steps(case, tmp_path):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch, known = case.recipe.batch_size, case.data.name
    if known != "mnist-5k" and not FOLDER:
        pytest.skip("set SDD_DATA to a folder that holds the data set's files")
    folder = Path(FOLDER) if FOLDER and known != "mnist-5k" else None
    facts = preparation.prepare(DatasetSpec(known), folder, tmp_path / "dataset.json")
    arrays = read_dataset(tmp_path / "dataset.json")
    steps = min(SEEN, facts.train) // batch
    normalised = case.recipe.augmentation == "none"
    samples = Samples.place(
        arrays["train_images"][: steps * batch], None, facts, device=device, normalised=normalised
    )
    labels = torch.from_numpy(arrays["train_labels"][: steps * batch].astype("int64")).to(device)
    assert_trains(losses_of(case, samples, labels, batch), facts.classes)
