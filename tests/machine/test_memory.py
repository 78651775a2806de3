"""Memory that was not enough: whoever raises it, the words say what to change."""

import numpy as np
import pytest
import torch

from sdd.base.errors import OutOfMemory
from sdd.machine.memory import enough_memory, smaller


def torch_on_the_cpu():
    torch.empty(2**55)


def numpy_on_the_cpu():
    np.empty(2**55)


def torch_on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\n GPU 0 has")


def a_library_on_a_gpu():
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


@pytest.mark.parametrize(
    ("fails", "on_gpu", "words"),
    [
        (torch_on_the_cpu, False, "machine's memory .*allocate.*--cores.*trainings_per_gpu: 3"),
        (numpy_on_the_cpu, False, "machine's memory .*Unable to allocate.*--cores"),
        (torch_on_a_gpu, True, "GPU's memory .*allocate 2.00 GiB.*fewer trainings_per_gpu than 3"),
        (a_library_on_a_gpu, True, "GPU's memory .*ALLOC_FAILED.*fewer trainings_per_gpu than 3"),
    ],
)  # fmt: skip
def test_too_little_names_what_decides_it(fails, on_gpu, words):
    with (
        pytest.raises(OutOfMemory, match=f"(?s)^a/b, round 2: the {words}") as raised,
        enough_memory("a/b, round 2", on_gpu, 3, smaller(128, "float32")),
    ):
        fails()
    said = str(raised.value)
    assert "a smaller batch_size than 128" in said
    assert "precision: bfloat16 there instead of float32" in said
    assert len(said) < 600 and "\n" not in said


def test_what_is_done_already_is_not_asked_for():
    with (
        pytest.raises(OutOfMemory, match=r"trainings_per_gpu is 1 already.*bfloat16 already"),
        enough_memory("x", True, 1, smaller(128, "bfloat16")),
    ):
        torch_on_a_gpu()


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("out of memory")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error), match=str(error)), enough_memory("x", True, 1, ()):
        raise error
