"""Rounds end to end on a few digits: chains, students, the same bits, and foreign inputs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from sdd.base.errors import CheckpointError, DataError, Divergence
from sdd.base.files import read_record
from sdd.data import labelling, own, preparation
from sdd.data.facts import read_facts
from sdd.data.settings import DatasetSpec, LabelsSpec, Noise, Validation
from sdd.rounds import round as one_round
from sdd.rounds import teacher_logits
from sdd.rounds.inputs import Inputs
from sdd.rounds.network import read_network
from sdd.sparsity.checkpoint import read_checkpoint
from sdd.study.metrics import TeacherLogitsCost, TeacherLogitsFacts, read_metrics
from sdd.study.settings import Distillation, Pruning, Recipe
from sdd.study.specs import RoundSpec, TeacherLogitsSpec

RECIPE = Recipe("sgd", 0.05, 1e-4, 128, 2, "multistep", momentum=0.9, milestones=(1,))
CPU = torch.device("cpu")


def run(data, folder, round=0, chain="c", teacher=None, teacher_logits=None, **changes):
    spec = RoundSpec(
        chain=chain,
        round=round,
        model="lenet-300-100",
        recipe=RECIPE,
        seed=1,
        pruning=Pruning(0.2) if round else None,
        retraining="learning-rate-rewinding" if round else None,
        distillation=Distillation(0.8, 10.0) if teacher or teacher_logits else None,
    )
    lines = []
    metrics = one_round.run(
        replace(spec, **changes),
        Inputs(
            dataset=data / "dataset.json",
            labels=data / "labels.json",
            parent=folder / f"round{round - 1:02d}" / "metrics.json" if round else None,
            teacher=teacher,
            teacher_logits=teacher_logits,
        ),
        output=folder / f"round{round:02d}" / "metrics.json",
        device=CPU,
        sidecar=folder / "sidecar",
        save_every=60,
        log=lines.append,
    )
    return metrics, lines


def tabulate(data, teacher, folder, augmentation):
    teacher_logits.make(
        TeacherLogitsSpec(augmentation),
        dataset=data / "dataset.json",
        labels=data / "labels.json",
        teacher=teacher,
        output=folder / augmentation / "logits.json",
        device=CPU,
        log=lambda line: None,
    )
    return folder / augmentation / "logits.json"


@pytest.fixture(scope="session")
def toys(tmp_path_factory):
    """Forty images of 8 x 8 pixels, for models whose steps would take long on others."""
    folder = tmp_path_factory.mktemp("toys")
    random = np.random.default_rng(0)
    parts = {"train": 40, "test": 10}
    arrays = {f"{part}_images": random.integers(256, size=(n, 8, 8, 1), dtype=np.uint8)
              for part, n in parts.items()}  # fmt: skip
    arrays |= {f"{part}_labels": np.arange(n) % 4 for part, n in parts.items()}
    np.savez(folder / "toys.npz", **arrays)
    known = own.survey("toys", folder / "toys.npz", None)
    spec = DatasetSpec("toys", own=True, content=known.content)
    preparation.prepare(spec, folder / "toys.npz", folder / "dataset.json")
    labels = LabelsSpec(Noise("symmetric", 0.4), Validation(0.2), seed=1)
    labelling.make(labels, folder / "dataset.json", folder / "labels.json")
    return folder


@pytest.fixture(scope="module")
def chain(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    return folder, [run(data, folder, r)[0] for r in range(3)]


def test_a_chain_prunes_exactly_and_learns(chain):
    folder, metrics = chain
    assert [m.weights_kept for m in metrics] == [266_200, 212_960, 170_368]
    assert [m.sparsity for m in metrics] == pytest.approx([0, 20, 36])
    assert all(m.test.accuracy > 50 for m in metrics)
    masks = []
    for r, m in enumerate(metrics):
        path = folder / f"round{r:02d}" / "model.safetensors"
        masks.append(read_checkpoint(path, m.weights_sha256)[1])
    for before, after in itertools.pairwise(masks):
        assert all(not (after[name] & ~before[name]).any() for name in after)


def test_metrics_say_everything(chain):
    folder, metrics = chain
    stored = read_metrics(folder / "round02" / "metrics.json")
    assert stored == metrics[2]
    assert stored.flops == 2 * 3500 * 3 * 266_200
    assert stored.flops_computed == 2 * 3500 * 563_400
    assert stored.noise_rate == 0.4
    assert stored.train_clean.accuracy > stored.train.accuracy
    assert len(stored.history) == 2
    energy = stored.energy
    assert energy.method and (energy.energy_kwh is None) == (energy.reason is not None)


def test_the_same_spec_gives_the_same_bits(data, chain, tmp_path):
    for r in range(2):
        again, _ = run(data, tmp_path, r)
        assert again.weights_sha256 == chain[1][r].weights_sha256
        for key in ("train", "train_clean", "validation", "test", "history"):
            assert getattr(again, key) == getattr(chain[1][r], key)


def test_rounds_and_seeds_have_batches_of_their_own(data, chain, tmp_path):
    other, _ = run(data, tmp_path, seed=2)
    assert other.weights_sha256 != chain[1][0].weights_sha256


def test_a_student_follows_its_teacher(data, chain, tmp_path):
    teacher = chain[0] / "round02" / "metrics.json"
    only_teacher = Distillation(1.0, 10.0)
    student, _ = run(data, tmp_path, teacher=teacher, chain="s", distillation=only_teacher)
    plain = chain[1][0]
    assert student.weights_sha256 != plain.weights_sha256
    # It never saw a label, yet agrees with the true ones.
    assert student.test.accuracy > 50
    facts = read_facts(data / "dataset.json")
    frozen, masks = read_network(teacher, facts, CPU)
    stored, _ = read_checkpoint(teacher.with_name("model.safetensors"), chain[1][2].weights_sha256)
    for name, value in frozen.state_dict().items():
        assert np.array_equal(value.numpy(), stored[name])
    assert sum(int(m.sum()) for m in masks.values()) == chain[1][2].weights_kept


def test_a_student_without_weight_on_its_teacher_is_a_plain_round(data, chain, tmp_path):
    teacher = chain[0] / "round02" / "metrics.json"
    nothing = Distillation(0.0, 10.0)
    student, _ = run(data, tmp_path, teacher=teacher, distillation=nothing)
    assert student.test.accuracy == pytest.approx(chain[1][0].test.accuracy, abs=1)


@pytest.mark.parametrize("augmentation", ["none", "flip-crop"])
def test_logits_looked_up_are_those_of_the_teacher_in_the_loop(data, chain, tmp_path, augmentation):
    recipe = replace(RECIPE, augmentation=augmentation)
    teacher = chain[0] / "round02" / "metrics.json"
    table = tabulate(data, teacher, tmp_path, augmentation)
    student = {"chain": "s", "recipe": recipe}
    looped, said = run(data, tmp_path / "loop", teacher=teacher, **student)
    looked_up, silent = run(data, tmp_path / "table", teacher_logits=table, **student)
    again, _ = run(data, tmp_path / "again", teacher_logits=table, **student)
    assert "the teacher is in the loop" in said[0] and "epoch 1/2" in silent[0]
    assert again.weights_sha256 == looked_up.weights_sha256
    # Half precision moves every loss by less than a thousandth; single only rounds differently.
    bound = 1e-3 if augmentation == "flip-crop" else 1e-5
    for one, other in zip(looped.history, looked_up.history, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=bound)
    assert looked_up.test.accuracy == pytest.approx(looped.test.accuracy, abs=1)


def test_other_logits_are_refused(data, chain, tmp_path):
    table = tabulate(data, chain[0] / "round02" / "metrics.json", tmp_path, "none")
    content = bytearray(table.with_suffix(".safetensors").read_bytes())
    content[-1] ^= 1
    table.with_suffix(".safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"logits.safetensors is not the file .* Delete .*json"):
        run(data, tmp_path, teacher_logits=table)
    table.with_suffix(".safetensors").unlink()
    with pytest.raises(DataError, match=r"logits.safetensors is missing. Delete .*json"):
        run(data, tmp_path, teacher_logits=table)


CALM = replace(RECIPE, learning_rate=0.01, epochs=3)


@pytest.fixture(scope="module")
def convolutional(data, tmp_path_factory):
    """What a small convolutional network reaches in float32, in the default layout."""
    folder = tmp_path_factory.mktemp("float32")
    return run(data, folder, model="vgg-3-2", recipe=CALM)[0]


@pytest.mark.parametrize(
    "way", [{"precision": "bfloat16"}, {"channels_last": True},
            {"precision": "bfloat16", "channels_last": True}],
)  # fmt: skip
def test_other_precisions_and_layouts_agree_within_noise(data, convolutional, tmp_path, way):
    other, _ = run(data, tmp_path, model="vgg-3-2", recipe=replace(CALM, **way))
    assert other.weights_sha256 != convolutional.weights_sha256
    for one, same in zip(other.history, convolutional.history, strict=True):
        assert one.loss == pytest.approx(same.loss, rel=0.05)
    # A standard error of the difference of two such accuracies is about a point.
    assert other.test.accuracy == pytest.approx(convolutional.test.accuracy, abs=3)
    assert other.macs == convolutional.macs


def test_a_chain_starts_from_what_its_recipe_says(toys, tmp_path):
    """After a single step too short to move a weight."""
    still = replace(RECIPE, learning_rate=1e-30, weight_decay=0.0, epochs=1, milestones=())
    states = []
    for name in ("default", "kaiming-normal"):
        folder = tmp_path / name
        metrics, _ = run(toys, folder, model="vgg-2-2", recipe=replace(still, initialisation=name))
        path = folder / "round00" / "model.safetensors"
        states.append(read_checkpoint(path, metrics.weights_sha256)[0])
    plain, kaiming = states
    same = {name for name in plain if np.allclose(plain[name], kaiming[name], atol=1e-20)}
    convolutions = {name for name in plain if plain[name].ndim == 4}
    assert not same & convolutions
    assert {name for name in plain if not name.endswith(("mean", "var"))} - convolutions <= same


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("model", ["lenet-300-100", "vgg-2-2", "resnet18"])
def test_a_chain_that_is_pruned_to_nothing_goes_to_its_end(toys, tmp_path, model, scope):
    """Without a weight a network knows its biases and norms only, and guesses."""
    recipe = replace(RECIPE, learning_rate=0.01, epochs=1, milestones=())
    ends = []
    for r in range(5):
        m, lines = run(
            toys, tmp_path, r, model=model, recipe=recipe,
            pruning=Pruning(0.99, scope) if r else None,
        )  # fmt: skip
        ends.append(m.sparsity)
    assert ends[-1] == 100.0 and m.weights_kept == 0
    assert "no weight is left: only biases and normalisations are trained" in lines
    teacher = tmp_path / "round04" / "metrics.json"
    student, _ = run(toys, tmp_path / "s", chain="s", model=model, recipe=recipe, teacher=teacher)
    assert student.weights_kept == student.weights_total


def test_the_log_names_every_epoch(data, tmp_path):
    _, lines = run(data, tmp_path)
    assert lines[0].startswith("epoch 1/2  learning rate 0.05  loss ")
    assert "training accuracy" in lines[1]


def test_a_round_of_another_chain_is_not_a_parent(data, chain, tmp_path):
    with pytest.raises(CheckpointError, match="holds round 1 of c, which does not precede"):
        run(data, chain[0], 2, chain="other")
    assert not list(tmp_path.iterdir())


def test_a_parent_with_another_recipe_is_refused(data, chain):
    with pytest.raises(CheckpointError, match=r"round 2 of c: another recipe. Delete it"):
        run(data, chain[0], 2, recipe=replace(RECIPE, learning_rate=0.01))


def test_an_altered_number_is_noticed(data, tmp_path):
    run(data, tmp_path)
    metrics = tmp_path / "round00" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"round": 0', '"round": 3'))
    with pytest.raises(DataError, match=r"metrics.json was altered.* Delete it and run snakemake"):
        run(data, tmp_path, 1)


def test_altered_weights_are_noticed(data, chain, tmp_path):
    run(data, tmp_path)
    path = tmp_path / "round00" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CheckpointError, match=r"round00/model.safetensors is not the file"):
        run(data, tmp_path, 1)
    assert not (tmp_path / "round01").exists()


def test_altered_images_are_noticed(data, tmp_path):
    for name in ("dataset.json", "labels.json", "labels.safetensors"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    whole = (data / "data.safetensors").read_bytes()
    (tmp_path / "data.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"data.safetensors was altered"):
        run(tmp_path, tmp_path / "out")


def test_divergence_names_the_round_and_leaves_nothing(data, tmp_path):
    recipe = replace(RECIPE, learning_rate=1e30)
    with pytest.raises(Divergence, match=r"c, round 0: the loss is .* in epoch 0"):
        run(data, tmp_path, recipe=recipe)
    assert not list(tmp_path.rglob("*.*"))


def test_divergence_in_the_last_step_is_noticed(data, tmp_path):
    recipe = replace(RECIPE, learning_rate=1e30, epochs=1, milestones=(), batch_size=4000)
    with pytest.raises(Divergence, match=r"c, round 0: the last step of epoch 0"):
        run(data, tmp_path, recipe=recipe)
    assert not list(tmp_path.rglob("*.*"))


def test_what_was_computed_has_a_teacher_in_the_loop_in_it(data, chain, tmp_path):
    teacher = chain[0] / "round02" / "metrics.json"
    student, _ = run(data, tmp_path / "a", teacher=teacher)
    assert student.flops_computed == 3500 * 2 * (563_400 + 266_200)
    assert student.flops == 3500 * 2 * 3 * 266_200
    table = tabulate(data, teacher, tmp_path, "none")
    student, _ = run(data, tmp_path / "b", teacher_logits=table)
    assert student.flops_computed == 3500 * 2 * 563_400
    assert read_record(table, TeacherLogitsFacts).flops == 3500 * 266_200
    cost = read_record(table.with_name("cost.json"), TeacherLogitsCost)
    assert cost.seconds > 0 and cost.energy.method
