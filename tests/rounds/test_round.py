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
from sdd.study.settings import Distillation, FineTuning, Pruning, Recipe, Rewinding
from sdd.study.specs import RoundSpec, TeacherLogitsSpec
from sdd.training.optimizer import Optimizer

RECIPE = Recipe("sgd", 0.05, 1e-4, 128, 2, "multistep", momentum=0.9, milestones=(1,))
CPU = torch.device("cpu")


def run(
    data, folder, round=0, chain="c", teacher=None, teacher_logits=None, parent=None, origin=None,
    **changes,
):  # fmt: skip
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
            parent=(parent or folder / f"round{round - 1:02d}" / "metrics.json") if round else None,
            teacher=teacher,
            teacher_logits=teacher_logits,
            origin=origin,
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
    found = stored.diagnostics
    assert (
        0 < found.entropy < 1 and 0 < found.calibration_error < 100 and found.learning_distance > 1
    )
    assert found.top5_accuracy is None  # ten classes
    assert sum(layer.kept for layer in found.layers) == stored.weights_kept
    assert [(layer.weight, layer.total, layer.units) for layer in found.layers] == [
        ("fc1.weight", 235_200, 300), ("fc2.weight", 30_000, 100), ("fc3.weight", 1000, 10),
    ]  # fmt: skip
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


def test_an_automatic_layout_is_the_one_that_it_says_it_is(data, convolutional, tmp_path):
    """The same bits as with that layout spelled out; the spec keeps what was asked for."""
    auto, _ = run(
        data, tmp_path / "auto", model="vgg-3-2", recipe=replace(CALM, channels_last="auto")
    )
    said = replace(CALM, channels_last=auto.kernels.channels_last)
    same, _ = run(data, tmp_path / "said", model="vgg-3-2", recipe=said)
    assert auto.weights_sha256 == same.weights_sha256
    assert auto.kernels == same.kernels
    assert auto.spec.recipe.channels_last == "auto"
    assert not convolutional.kernels.channels_last


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


# --- Criteria, retrainings and schedules ----------------------------------------------------------

STILL = replace(RECIPE, learning_rate=1e-30, weight_decay=0.0, epochs=1, milestones=())


def state_of(folder, round, metrics):
    path = folder / f"round{round:02d}" / "model.safetensors"
    return read_checkpoint(path, metrics.weights_sha256)


def trained(toys, folder, round=0, **changes):
    """A round on toys, and its weights and masks."""
    metrics, _ = run(toys, folder, round, **changes)
    return metrics, *state_of(folder, round, metrics)


def first_weights(toys, folder, **changes):
    """What a chain's dense training starts from: after a step too short to move a weight."""
    return trained(toys, folder, recipe=STILL, **changes)[1]


def test_weight_rewinding_goes_back_to_the_first_weights(toys, tmp_path):
    first = first_weights(toys, tmp_path / "first")
    trained(toys, tmp_path)
    _, state, masks = trained(
        toys, tmp_path, 1, retraining="weight-rewinding", recipe=STILL, dense_recipe=RECIPE
    )
    for name, value in state.items():
        kept = masks.get(name, np.ones(value.shape, bool))
        assert np.array_equal(value, np.where(kept, first[name], 0)), name


@pytest.mark.parametrize(("epochs", "steps"), [(1, 0), (0, 2), (1, 1), (2, 0)])
def test_weight_rewinding_goes_back_into_the_dense_training(toys, tmp_path, epochs, steps):
    """To what a training that ends there has, step by step the same as the longer one."""
    recipe = replace(RECIPE, batch_size=16, epochs=2, schedule="constant", milestones=())
    point, origin = Rewinding(epochs, steps), tmp_path / "round00" / "metrics.json"
    _, whole, _ = trained(toys, tmp_path, recipe=recipe, rewinding=point, model="vgg-2-2")
    ways = []  # of the same training, its state after each step
    with pytest.MonkeyPatch.context() as patch:
        step = Optimizer.step

        def watched(self):
            step(self)
            ways.append([p.detach().clone().numpy() for p in self._parameters])

        patch.setattr(Optimizer, "step", watched)
        _, same, _ = trained(toys, tmp_path / "plain", recipe=recipe, model="vgg-2-2")
    assert all(np.array_equal(same[name], whole[name]) for name in same)
    _, state, masks = trained(
        toys, tmp_path, 1, retraining="weight-rewinding", rewinding=point, origin=origin,
        recipe=STILL, dense_recipe=recipe, model="vgg-2-2",
    )  # fmt: skip
    there = ways[2 * epochs + steps - 1]  # 32 images make two steps an epoch
    network, _ = read_network(origin, read_facts(toys / "dataset.json"), CPU)
    for (name, _), value in zip(network.named_parameters(), there, strict=True):
        kept = masks.get(name, np.ones(value.shape, bool))
        assert np.array_equal(state[name], np.where(kept, value, 0)), name


def test_a_round_that_goes_nowhere_has_no_learning_distance(toys, tmp_path):
    metrics, _, _ = trained(toys, tmp_path, recipe=STILL)
    assert metrics.diagnostics.learning_distance == pytest.approx(0, abs=1e-9)
    rewound = {"retraining": "weight-rewinding", "recipe": STILL}
    metrics, _, _ = trained(toys, tmp_path, 1, **rewound)
    assert metrics.diagnostics.learning_distance == pytest.approx(0, abs=1e-9)
    drawn, _, _ = trained(toys, tmp_path, 1, **rewound | {"retraining": "reinitialisation"})
    assert drawn.diagnostics.learning_distance > 1


def test_reinitialisation_draws_anew_in_every_round(toys, tmp_path):
    first = first_weights(toys, tmp_path / "first")
    trained(toys, tmp_path, recipe=STILL)
    drawn = [first]
    for r in (1, 2):
        _, state, masks = trained(toys, tmp_path, r, recipe=STILL, retraining="reinitialisation")
        assert all(not state[name][~mask].any() for name, mask in masks.items())
        drawn.append(state)
    for one, other in itertools.combinations(drawn, 2):
        both = (one["fc1.weight"] != 0) & (other["fc1.weight"] != 0)
        assert (one["fc1.weight"][both] != other["fc1.weight"][both]).mean() > 0.999
    again = tmp_path / "again"
    trained(toys, again, recipe=STILL)
    _, state, _ = trained(toys, again, 1, recipe=STILL, retraining="reinitialisation")
    assert all(np.array_equal(state[name], drawn[1][name]) for name in state)


def test_fine_tuning_keeps_the_weights_and_takes_its_own_recipe(toys, tmp_path):
    _, dense, _ = trained(toys, tmp_path)
    tuned = FineTuning(learning_rate=1e-30, epochs=1).of(replace(RECIPE, weight_decay=0.0))
    metrics, state, masks = trained(
        toys, tmp_path, 1, retraining="fine-tuning", recipe=tuned, dense_recipe=RECIPE
    )
    for name, value in state.items():
        kept = masks.get(name, np.ones(value.shape, bool))
        assert np.array_equal(value, np.where(kept, dense[name], 0)), name
    assert metrics.flops == 32 * 3 * metrics.macs.forward_macs
    assert [epoch.learning_rate for epoch in metrics.history] == [1e-30]
    with pytest.raises(CheckpointError, match="another recipe"):
        trained(toys, tmp_path, 1, retraining="fine-tuning", recipe=tuned, dense_recipe=STILL)


def test_a_one_shot_round_prunes_the_dense_model(toys, tmp_path):
    dense = tmp_path / "round00" / "metrics.json"
    _, start, _ = trained(toys, tmp_path)
    shot = {"parent": dense, "recipe": STILL, "dense_recipe": RECIPE}
    metrics, state, masks = trained(
        toys, tmp_path, 3, pruning=Pruning(0.2, schedule="one-shot"), **shot
    )
    left = metrics.weights_total
    for _ in range(3):
        left -= round(0.2 * left)
    assert metrics.weights_kept == left
    cut = max(abs(start[name][~mask]).max() for name, mask in masks.items())
    assert cut <= min(abs(state[name][mask]).min() for name, mask in masks.items())
    with pytest.raises(CheckpointError, match="holds round 0 of c, which does not precede round 3"):
        trained(toys, tmp_path, 3, **shot)


@pytest.mark.parametrize("model", ["lenet-300-100", "vgg-2-2"])
def test_the_gradient_criterion_looks_at_a_batch_of_noisy_training_images(toys, tmp_path, model):
    """Against autograd by hand, with all images in the one batch."""
    recipe = replace(RECIPE, learning_rate=0.01, batch_size=64, epochs=1, milestones=())
    trained(toys, tmp_path, model=model, recipe=recipe)
    path = tmp_path / "round00" / "metrics.json"
    network, _ = read_network(path, read_facts(toys / "dataset.json"), CPU)
    data = one_round.Data.read(Inputs(toys / "dataset.json", toys / "labels.json"), CPU)
    spec = read_metrics(path).spec
    samples = data.samples(spec, "train")
    logits = network.train()(samples.normalise(samples.images))
    labels = torch.from_numpy(data.labels.train_labels)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    products = {n: (p * p.grad).abs() for n, p in network.named_parameters() if p.grad is not None}
    _, _, masks = trained(
        toys, tmp_path, 1, model=model, pruning=Pruning(0.4, criterion="gradient"),
        recipe=replace(STILL, batch_size=64), dense_recipe=recipe,
    )  # fmt: skip
    cut = torch.cat([products[n][torch.from_numpy(~m)] for n, m in masks.items()])
    kept = torch.cat([products[n][torch.from_numpy(m)] for n, m in masks.items()])
    assert cut.max() <= kept.min() * (1 + 1e-3) + 1e-12


def test_random_pruning_differs_between_rounds_and_seeds_and_comes_again(toys, tmp_path):
    def masks(folder, seed=1):
        trained(toys, folder, recipe=STILL, seed=seed)
        return trained(
            toys, folder, 1, recipe=STILL, seed=seed, pruning=Pruning(0.5, criterion="random")
        )[2]["fc1.weight"]

    one, again, other = (masks(tmp_path / n, s) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert np.array_equal(one, again)
    assert 0.4 < (one == other).mean() < 0.6


@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "random"])
@pytest.mark.parametrize("retraining", ["weight-rewinding", "fine-tuning", "reinitialisation"])
@pytest.mark.parametrize("model", ["lenet-300-100", "vgg-5-2"])
def test_the_small_network_trains_as_the_masked_one(
    toys, tmp_path, criterion, retraining, model, monkeypatch
):
    """A chain into high sparsity, with and without compaction."""
    recipe = replace(RECIPE, learning_rate=0.01, epochs=1, milestones=())
    chains = []
    for name in ("small", "masked"):
        if name == "masked":
            monkeypatch.setattr(one_round, "compact", lambda *arguments: None)
        for r in range(3):
            how = {"pruning": Pruning(0.95, criterion=criterion), "retraining": retraining}
            metrics, *kept = trained(
                toys, tmp_path / name, r, model=model, recipe=recipe, **(how if r else {})
            )
        chains.append((metrics, *kept))
    (one, state, masks), (other, expected, theirs) = chains
    assert one.flops_computed < other.flops_computed
    assert all(np.array_equal(masks[name], theirs[name]) for name in masks)
    for name in state:
        if "running" not in name:  # those of parked units are not the full network's
            np.testing.assert_allclose(state[name], expected[name], rtol=2e-3, atol=2e-5)
