"""Models as other programs get them: any number of images, every layout, no traces."""

import json

import numpy as np
import onnx
import pytest
import torch
from deployable import EACH_MODEL, network, prune
from onnx import numpy_helper

from sdd.deployment import export
from sdd.deployment.runtimes import in_onnxruntime
from sdd.deployment.simplify import simplified

ALIKE = "vgg-2-3", "resnet20-4"  # another stands for each, where there is no time for both


def answers(model, file, images):
    onnx.save(model, file)
    return in_onnxruntime(file)(images)


@pytest.mark.parametrize(
    ("name", "channels", "pixels"),
    [
        pytest.param(*model, marks=pytest.mark.long) if model[0] in ALIKE else model
        for model in EACH_MODEL.args[1]
    ],
)
def test_any_number_of_images_and_the_same_logits(name, channels, pixels, tmp_path):
    model = network(name, channels, pixels)
    prune(model, 0.9)
    small = simplified(model)
    made = export.exported(small.float(), (channels, pixels, pixels))
    sparse = export.in_sparse_layout(made)
    random = np.random.default_rng(0)
    for count in (1, 2, 5):
        images = random.standard_normal((count, channels, pixels, pixels), np.float32)
        expected = model(torch.from_numpy(images).double()).detach().numpy()
        for layout in (made, sparse):
            found = answers(layout, tmp_path / "model.onnx", images)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


EXPORTER = export.Exporter((1, 12, 12))


def lenet(fraction):
    model = network("lenet-300-100", 1, 12)
    prune(model, fraction)
    return model.float(), EXPORTER.exported(model.float())


@pytest.mark.parametrize("fraction", [0.1, 0.7, 0.99, 0.9999])
def test_the_sparse_layout_holds_what_is_not_zero_where_that_is_smaller(fraction):
    """Layer by layer: a kept weight takes 12 bytes there, of any weight 4 here."""
    model, made = lenet(fraction)
    sparse = export.in_sparse_layout(made)
    kept = {name: int(p.count_nonzero()) for name, p in model.named_parameters()}
    expected = {n for n, p in model.named_parameters() if 0 < 12 * kept[n] < 4 * p.numel()}
    stored = {one.values.name: one for one in sparse.graph.sparse_initializer}
    assert stored.keys() == expected
    assert 0 < len(expected) < 3 if fraction == 0.7 else bool(expected) == (fraction > 0.1)
    for name, one in stored.items():
        values, places = map(numpy_helper.to_array, (one.values, one.indices))
        again = np.zeros(np.prod(one.dims), np.float32)
        again[places] = values
        assert len(values) == kept[name] and values.all()
        assert np.array_equal(again.reshape(one.dims), model.get_parameter(name).detach())
    left = {one.name for one in sparse.graph.initializer} & kept.keys()
    assert left == kept.keys() - expected
    saved = sum(4 * model.get_parameter(n).numel() - 12 * kept[n] for n in expected)
    smaller = len(made.SerializeToString()) - len(sparse.SerializeToString())
    assert smaller == pytest.approx(saved, abs=100 * max(1, len(expected)))
    assert (smaller > 0) == bool(expected)


def test_eight_bits_are_near_and_a_quarter_of_the_size(tmp_path):
    model, made = lenet(1e-9)
    images = np.random.default_rng(1).standard_normal((64, 1, 12, 12), np.float32)
    small = export.in_int8(made, images)
    assert len(small.SerializeToString()) < 0.35 * len(made.SerializeToString())
    types = {one.data_type for one in small.graph.initializer if len(one.dims) == 2}
    assert onnx.TensorProto.INT8 in types and onnx.TensorProto.FLOAT not in types
    found = answers(small, tmp_path / "model.onnx", images)
    expected = model(torch.from_numpy(images)).detach().numpy()
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.9


def test_a_model_tells_what_it_is_told_and_nothing_of_this_machine():
    _, made = lenet(0.5)
    told = {"classes": json.dumps(["a", "b"]), "round": "7"}
    model = export.described(made, told)
    assert {one.key: one.value for one in model.metadata_props} == told
    assert b"site-packages" not in model.SerializeToString()
    assert b"sdd/" not in model.SerializeToString() and b"/models/" not in model.SerializeToString()
    assert not made.metadata_props
    (domain,) = (one for one in model.opset_import if not one.domain)
    assert domain.version == export.OPSET


@pytest.mark.parametrize(
    ("name", "channels", "pixels", "again"),
    [("vgg-2-2", 1, 12, True), ("resnet18-4", 3, 16, False)],
)
def test_a_graph_takes_other_weights_where_it_holds_them_as_they_are(
    name, channels, pixels, again, monkeypatch
):
    """The same file as of another export; a graph with its norms folded is not asked."""
    first, second = (network(name, channels, pixels).float() for _ in range(2))
    prune(second, 0.9)
    exporter = export.Exporter((channels, pixels, pixels))
    exporter.exported(first)
    expected = export.exported(second, exporter.shape) if again else onnx.ModelProto()
    calls = []
    monkeypatch.setattr(export, "exported", lambda *of: calls.append(of) or expected)
    found = exporter.exported(second)
    assert found.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )
    assert bool(calls) != again
