"""Teachers from outside: what is adopted, what is refused, and what their students then see."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from sdd.base.errors import DataError
from sdd.base.files import sha256
from sdd.data.facts import read_facts
from sdd.models.build import build
from sdd.rounds import objective, outside
from sdd.rounds.inputs import Inputs
from sdd.rounds.network import read_network
from sdd.rounds.teachers import check_teacher, read_network_facts
from sdd.sparsity.checkpoint import write_checkpoint
from sdd.study.settings import Distillation, Recipe
from sdd.study.specs import OutsideSpec, RoundSpec, TeacherSpec
from sdd.training.samples import Batch

CPU = torch.device("cpu")
SHAPE, CLASSES = (1, 28, 28), 10
SPEC = OutsideSpec("mnist-5k/lenet-300-100/outside", "lenet-300-100", SHAPE, CLASSES, "")


def network(seed=3):
    model = build("lenet-300-100", channels=1, size=28, classes=CLASSES, seed=seed)
    with torch.no_grad():
        model.fc1.weight[::3] = 0  # pruned somewhere
    return model


def adopted(folder, state, spec=SPEC):
    file = folder / "given.safetensors"
    save_file(state, file)
    output = folder / "outside.json"
    outside.adopt(replace(spec, content=sha256(file)), file, output)
    return output


def test_it_says_what_it_said_elsewhere_zeros_included(data, tmp_path):
    model = network().eval()
    path = adopted(tmp_path, model.state_dict())
    kept, masks = read_network(path, read_facts(data / "dataset.json"), CPU)
    images = torch.randn(5, *SHAPE)
    assert torch.equal(kept.eval()(images), model(images)) and masks == {}
    facts = read_network_facts(path)
    assert facts.round is None and facts.macs.forward_macs == 266_200
    assert not (path.parent / "metrics.json").exists()


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_become_the_models_own(data, tmp_path, kind):
    state = {name: value.to(kind) for name, value in network().state_dict().items()}
    kept, _ = read_network(adopted(tmp_path, state), read_facts(data / "dataset.json"), CPU)
    for name, value in kept.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, state[name].float())


def test_a_round_of_another_study_is_taken_as_it_is(data, tmp_path):
    model, file = network(), tmp_path / "model.safetensors"
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    masks = {name: value != 0 for name, value in state.items() if name.endswith("weight")}
    digest = write_checkpoint(file, state, masks)  # packed: kept weights and their places
    (tmp_path / "adopted").mkdir()
    output = tmp_path / "adopted" / "outside.json"
    outside.adopt(replace(SPEC, content=digest), file, output)
    kept, _ = read_network(output, read_facts(data / "dataset.json"), CPU)
    assert all(torch.equal(kept.state_dict()[name], model.state_dict()[name]) for name in state)


def spoilt(name, change):
    return lambda state: state | {name: change(state[name])}


WRONG = {
    "lacking": (lambda s: {k: v for k, v in s.items() if k != "fc2.bias"}, "it lacks fc2.bias"),
    "more": (lambda s: s | {"fc4.bias": torch.ones(2)}, "it also holds fc4.bias"),
    "in a wrapper": (
        lambda s: {f"module.{k}": v for k, v in s.items()}, "it lacks fc1.weight.*module.fc1",
    ),
    "another shape": (
        spoilt("fc3.bias", lambda v: v[:9].clone()), r"fc3.bias is \[9\], not \[10\]",
    ),
    "no number": (spoilt("fc1.bias", lambda v: v * torch.nan), "fc1.bias holds numbers that are"),
    "infinite": (spoilt("fc1.bias", lambda v: v + torch.inf), "infinite or none"),
    "beyond the model's type": (
        spoilt("fc1.bias", lambda v: v.double() + 1e300), "fc1.bias holds numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_weights_that_are_not_the_models_are_refused(tmp_path, case):
    change, words = WRONG[case]
    with pytest.raises(DataError, match=rf"given\.safetensors.*{words}"):
        adopted(tmp_path, change(network().state_dict()))
    assert not (tmp_path / "outside.json").exists()


def test_weights_that_change_after_planning_are_not_adopted(tmp_path):
    save_file(network().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="has changed since this run"):
        outside.adopt(
            replace(SPEC, content="another"), tmp_path / "w.safetensors", tmp_path / "outside.json"
        )


def test_a_student_is_taught_by_the_network_that_its_spec_says(tmp_path):
    path = adopted(tmp_path, network().state_dict())
    content = read_network_facts(path).content
    spec = TeacherSpec(SPEC.place, "outside", content)
    assert check_teacher(path, spec).weights_sha256
    for change in ({"content": "x"}, {"content": None}, {"chain": "another/place/outside"}):
        with pytest.raises(DataError, match="is of the teacher from outside at mnist-5k/lenet"):
            check_teacher(path, replace(spec, **change))


def test_in_the_loop_it_teaches_and_its_passes_are_counted(data, tmp_path):
    path = adopted(tmp_path, network().state_dict())
    recipe = Recipe("sgd", 0.1, 0, 16, 3, "constant")
    spec = RoundSpec("c", 0, "lenet-300-100", recipe, 1, distillation=Distillation(1.0, 1.0))
    inputs = Inputs(data / "dataset.json", data / "labels.json", teacher=path)
    labels = torch.zeros(8, dtype=torch.int64)
    facts = read_facts(inputs.dataset)
    loss, macs = objective.objective_of(spec, inputs, facts, labels, lambda line: None)
    assert macs == 8 * 3 * 266_200
    images, index = torch.randn(8, *SHAPE), torch.arange(8)
    student = torch.randn(8, CLASSES, requires_grad=True)
    with torch.no_grad():
        said = torch.softmax(network().eval()(images), 1)
    loss(student, Batch(index, None, images)).backward()
    # At temperature 1 the gradient is that of cross-entropy with the teacher's probabilities.
    expected = (torch.softmax(student.detach(), 1) - said) / 8
    torch.testing.assert_close(student.grad, expected)
    assert inputs.hashes().teacher == read_network_facts(path).weights_sha256
