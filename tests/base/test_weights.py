"""A file of weights, as planning sees it."""

import hashlib
import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdd.base import weights
from sdd.base.errors import DataError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": np.ones((2, 3), np.float32), "n": np.array(4)}, path, {"made": "here"})
    return path


def test_a_files_content_is_its_sha256(file):
    assert weights.content(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def written(path, header, data=b""):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
DAMAGE = {
    "missing": (lambda p: p.unlink(), "is no file. Name a .safetensors file"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "is no file"),
    "a FIFO": (lambda p: (p.unlink(), os.mkfifo(p)), "is no file"),
    "empty": (lambda p: p.write_bytes(b""), "it has no header"),
    "a pickle": (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(300)), "no whole safetensors"),
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "should take 32 bytes, not 31"),
    "longer": (lambda p: p.write_bytes(p.read_bytes() + b"\0"), "should take 32 bytes, not 33"),
    "a list": (lambda p: written(p, [1]), "no whole safetensors file"),
    "no entries": (lambda p: written(p, {"a": 1}), "no whole safetensors file"),
    "nothing": (lambda p: written(p, {}), "holds no tensor"),
    "8 bits": (
        lambda p: written(p, {"a": ENTRY | {"dtype": "F8_E4M3"}}, bytes(4)),
        "a is of type F8_E4M3, which no weights are of",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_another_file_is_named_with_what_is_wrong(file, damage):
    change, words = DAMAGE[damage]
    change(file)
    with pytest.raises(DataError, match=rf"w\.safetensors.*{words}"):
        weights.content(file)
