"""A network as ONNX: in float32, in int8, and with its zeros left out.

Each file takes normalised float32 images [n, channels, height, width], any number of them, and
gives their logits [n, classes]; what else a program must know stands in its metadata.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

OPSET = 20
IMAGES, LOGITS = "images", "logits"
CALIBRATION = 256  # images from which int8 takes the range of every activation


class Exporter:
    """Exports float32 networks in evaluation mode, for images of `shape`.

    A network whose tensors have the names and shapes of one before takes that one's graph, which
    the same model has given, with its own weights: where a graph holds them as they are.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._made: dict[tuple[tuple[str, tuple[int, ...]], ...], onnx.ModelProto] = {}

    def exported(self, model: nn.Module) -> onnx.ModelProto:
        state = {n: t.numpy() for n, t in model.state_dict().items() if t.is_floating_point()}
        like = tuple((name, value.shape) for name, value in state.items())
        if like in self._made:
            return _with_weights(self._made[like], state)
        made = exported(model, self.shape)
        stored = {one.name: numpy_helper.to_array(one) for one in made.graph.initializer}
        if all(n in stored and np.array_equal(stored[n], value) for n, value in state.items()):
            self._made[like] = made
        return made


def _with_weights(model: onnx.ModelProto, state: dict[str, NDArray]) -> onnx.ModelProto:
    """A copy that holds these tensors instead."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in state:
            tensor.raw_data = numpy_helper.from_array(state[tensor.name]).raw_data
    return copy


def exported(model: nn.Module, shape: tuple[int, int, int]) -> onnx.ModelProto:
    """A float32 `model` in evaluation mode, for images of `shape`. Checked by onnx."""
    batch = torch.export.Dim("batch")
    example = torch.zeros(2, *shape)
    # What its makers warn each other of, and where they print it, is nothing for a job's log.
    with quiet():
        program = torch.onnx.export(
            model, (example,), dynamo=True, verbose=False, opset_version=OPSET,
            input_names=[IMAGES], output_names=[LOGITS], dynamic_shapes=({0: batch},),
        )  # fmt: skip
    made = program.model_proto
    _forget_origins(made.graph)
    onnx.checker.check_model(made, full_check=True)
    return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and the words of libraries that convert models."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _forget_origins(graph: onnx.GraphProto) -> None:
    """Takes out from which lines of code each node comes: paths of this machine, and much of a
    small model's size."""
    del graph.value_info[:]
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def described(model: onnx.ModelProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """A copy with this metadata, and no other."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    onnx.helper.set_model_props(copy, metadata)
    return copy


def in_sparse_layout(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that stores values and places of what is not zero, wherever that takes fewer bytes.

    The standard's places are numbers of 64 bits: a kept weight takes 12 bytes instead of 4.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.initializer[:]
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        places = np.flatnonzero(values)
        if values.dtype != np.float32 or not 0 < 12 * len(places) < 4 * values.size:
            copy.graph.initializer.append(tensor)
            continue
        copy.graph.sparse_initializer.append(
            onnx.helper.make_sparse_tensor(
                numpy_helper.from_array(values.flatten()[places], tensor.name),
                numpy_helper.from_array(places.astype(np.int64), f"{tensor.name}_places"),
                list(values.shape),
            )
        )
    return copy


def in_int8(model: onnx.ModelProto, images: NDArray) -> onnx.ModelProto:
    """A copy whose convolutions and products take 8-bit integers, by static calibration.

    `images` [n, channels, height, width] are normalised training images, in float32.
    """
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(np.array_split(images, max(1, len(images) // 32)))

        def get_next(self) -> dict[str, NDArray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {IMAGES: batch}

    with tempfile.TemporaryDirectory() as folder, quiet():
        before, after = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, before)
        quantize_static(before, after, Reader(), per_channel=True)
        return onnx.load(after)
