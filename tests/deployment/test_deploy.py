"""One round deployed, from its files to its files: a LeNet on digits that nobody has trained."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT
from docs.pages import blocks
from safetensors.numpy import load_file
from synthetic import metrics

from sdd.base.errors import DataError, DeploymentError, StudyError
from sdd.base.files import read_record, sha256
from sdd.data.facts import read_facts, read_label_facts
from sdd.deployment import comparison, deploy, packages
from sdd.deployment.facts import BATCHES, Deployment
from sdd.deployment.runtimes import in_onnxruntime
from sdd.deployment.specs import DeploySpec
from sdd.rounds.network import new_network, read_network
from sdd.sparsity import masks as sparsity
from sdd.sparsity.checkpoint import write_checkpoint
from sdd.study.metrics import write_metrics
from sdd.study.settings import Pruning, Recipe
from sdd.study.specs import RoundSpec

PAGE = ROOT / "workflow" / "docs" / "deployment.md"
CHAIN = "mnist-5k/symmetric-0.4/lenet-300-100/ce-wd0.0001/seed1"
SPEC = RoundSpec(CHAIN, 0, "lenet-300-100", Recipe("sgd", 0.05, 1e-4, 128, 3, "constant"), 1)
CPU = torch.device("cpu")


def write_round(folder, data, number, fraction, **changes):
    """A round of that chain with so many weights pruned; returns the path of its metrics."""
    spec = replace(SPEC, round=number, **changes)
    network = new_network(spec, read_facts(data / "dataset.json"))
    weights = sparsity.prunable(network)
    with torch.no_grad():
        for weight in weights.values():
            weight.mul_(4)  # else, with little left, it answers the same to every image
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    masks = sparsity.prune(scores, sparsity.dense_masks(network), Pruning(fraction, "layer"))
    sparsity.apply(weights, masks)
    path = folder / f"round{number:02d}" / "metrics.json"
    digest = write_checkpoint(
        path.with_name("model.safetensors"),
        {name: value.numpy() for name, value in network.state_dict().items()},
        {name: mask.numpy() for name, mask in masks.items()},
    )
    write_metrics(path, metrics(spec, weights_sha256=digest))  # ties: the sparser is best
    return path


@pytest.fixture(scope="module")
def rounds(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    return [write_round(folder, data, number, f) for number, f in ((0, 1e-9), (1, 0.95))]


def arguments(data, trained, folder, **changes):
    labels = read_label_facts(data / "labels.json").spec
    spec = replace(DeploySpec("mine", CHAIN, CHAIN, ("dense", "best"), labels, 0.1), **changes)
    paths = {"dataset": data / "dataset.json", "labels": data / "labels.json"}
    output = folder / spec.rounds[0] / "deployment.json"
    return spec, {**paths, "rounds": trained, "output": output, "device": CPU, "log": str}


@pytest.fixture(scope="module")
def chain(data, rounds, tmp_path_factory):
    """The folder of a chain whose dense and best rounds are deployed; the best is round 1."""
    folder = tmp_path_factory.mktemp("deployed")
    spec, paths = arguments(data, rounds, folder)
    deploy.make(spec, **paths)
    return folder


@pytest.fixture
def deployed(chain):
    return chain / "best" / "deployment.json"


def test_what_is_known_of_a_deployed_model(deployed, data, rounds):
    made = read_record(deployed, Deployment)
    assert {path.name for path in deployed.parent.iterdir()} == {deployed.name, *made.files}
    assert all(sha256(deployed.with_name(name)) == digest for name, digest in made.files.items())
    found = {(one.name, one.runtime): one for one in made.networks}
    small = {(name, "onnxruntime") for name in ("deployed", "int8", "sparse-layout")}
    assert found.keys() == small | {(n, r) for n in ("dense", "masked") for r in
                                    ("torch", "onnxruntime")}  # fmt: skip
    for key, one in found.items():
        assert one.size < 266_610 if key in small else one.size == 266_610
        assert one.macs < 266_200 if key in small else one.macs == 266_200
        assert [latency.batch for latency in one.latencies] == list(BATCHES)
        assert one.agreement == 100 or key[0] in ("dense", "int8")
        assert one.compressed_bytes < one.bytes
    assert found["sparse-layout", "onnxruntime"].bytes < found["deployed", "onnxruntime"].bytes / 3
    assert found["dense", "torch"].latencies[0].speedup.median == 1
    assert made.simplified and made.simplified_error < 1e-6 and made.onnx_error < 1e-5

    # What torch says itself about the masked network.
    network, _ = read_network(rounds[1], read_facts(data / "dataset.json"), CPU)
    arrays, facts = load_file(data / "data.safetensors"), read_facts(data / "dataset.json")
    pixels = torch.from_numpy(arrays["test_images"]).float() / 255
    with torch.no_grad():
        logits = network((pixels - facts.mean[0]) / facts.std[0])
    assert len(set(logits.argmax(1).tolist())) > 1
    right = 100 * np.mean(logits.argmax(1).numpy() == arrays["test_labels"])
    assert found["masked", "torch"].accuracy == pytest.approx(right)
    assert made.largest_logit == pytest.approx(logits.abs().max().item(), rel=1e-5)


@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx", "model.sparse.onnx"])
def test_every_model_says_what_it_is(deployed, data, rounds, file):
    told = {one.key: one.value for one in onnx.load(deployed.with_name(file)).metadata_props}
    facts = read_facts(data / "dataset.json")
    assert json.loads(told["normalisation"]) == {"mean": [*facts.mean], "std": [*facts.std]}
    assert json.loads(told["classes"]) == [str(digit) for digit in range(10)]
    assert (told["study"], told["chain"], told["round"]) == ("mine", CHAIN, "1")
    assert told["weights_sha256"] == sha256(rounds[1].with_name("model.safetensors"))


@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx", "model.sparse.onnx"])
def test_the_script_of_the_page_runs_without_torch(deployed, data, rounds, tmp_path, file):
    (script,) = (b for b in blocks(PAGE, "python") if b.place and b.place[0] == "classify.py")
    assert len(script.text.strip().splitlines()) - 1 <= 10  # but for its name
    (tmp_path / "classify.py").write_text(script.text)
    barred = "torch", "onnx", "sdd", "pandas"
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({barred!r}))\n"
    )
    pixels = load_file(data / "data.safetensors")["test_images"][:50]
    np.save(tmp_path / "digits.npy", pixels)
    said = subprocess.run(
        [sys.executable, "classify.py", deployed.with_name(file), "digits.npy"],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, text=True, capture_output=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    facts = read_facts(data / "dataset.json")
    images = (torch.from_numpy(pixels).float() / 255 - facts.mean[0]) / facts.std[0]
    if file == "model.int8.onnx":  # an untrained network in 8 bits answers as it likes
        logits = in_onnxruntime(deployed.with_name(file))(images.numpy())
    else:
        network, _ = read_network(rounds[1], facts, CPU)
        logits = network(images).detach().numpy()
    assert said.stdout.split() == [str(digit) for digit in logits.argmax(1)]


def test_every_round_lies_in_a_folder_of_its_own(chain):
    made = {path.parent.name: read_record(path, Deployment) for path in chain.glob("*/*.json")}
    assert {which: (one.which, one.round) for which, one in made.items()} == {
        "dense": ("dense", 0), "best": ("best", 1),
    }  # fmt: skip
    dense = {(one.name, one.runtime): one for one in made["dense"].networks}
    assert all(one.agreement == 100 for key, one in dense.items() if key[0] != "int8")
    assert len({one.size for one in dense.values()}) == 1


def test_a_network_that_answers_otherwise_is_an_error(data, rounds, tmp_path, monkeypatch):
    def wrong(model):
        model = copy.deepcopy(model)
        with torch.no_grad():
            model.fc3.bias[0] += 2e-5
        return model

    monkeypatch.setattr(deploy, "simplified", wrong)
    monkeypatch.setattr(comparison, "peak", lambda *_: None)
    spec, paths = arguments(data, rounds, tmp_path, rounds=("best",))
    with pytest.raises(DeploymentError, match="does not answer as the masked network"):
        deploy.make(spec, **paths)
    assert not list(tmp_path.iterdir())


def test_a_round_of_another_number_is_refused(data, rounds, tmp_path):
    spec, paths = arguments(data, rounds[::-1], tmp_path)
    with pytest.raises(DataError, match="is of round 1 of"):
        deploy.make(spec, **paths)
    spec, paths = arguments(data, rounds, tmp_path, dense_chain="another")
    with pytest.raises(DataError, match="not of round 0 of another"):
        deploy.make(spec, **paths)


def own_net(channels, size, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size * size, 20),
                               torch.nn.ReLU(), torch.nn.Linear(20, classes))  # fmt: skip


def test_a_model_of_the_users_own_is_exported_masked_as_it_is(data, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "peak", lambda *_: None)
    own = {"model": "own", "build": f"{__name__}:own_net"}
    rounds = [write_round(tmp_path, data, n, f, **own) for n, f in ((0, 1e-9), (1, 0.999))]
    spec, paths = arguments(data, rounds, tmp_path, rounds=("best",))
    deploy.make(spec, **paths)
    made = read_record(paths["output"], Deployment)
    assert not made.simplified and made.simplified_error == 0
    assert len({one.size for one in made.networks}) == 1


def test_a_missing_package_names_the_extra(monkeypatch):
    packages.check()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(StudyError, match=r"onnxscript is not installed.*extra deploy.*pip install"):
        packages.check()
