"""A prepared data set, and other arrays in safetensors files: mapped into memory, not read.

A prepared data set is a folder with `dataset.json` (the facts) and `data.safetensors` (images as
raw uint8 pixels, labels).
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import sha256
from sdd.data.facts import read_facts

Arrays = dict[str, NDArray]

# The types of safetensors' format that data sets and tables are stored in.
_TYPES = {"U8": "u1", "I64": "<i8", "F16": "<f2", "F32": "<f4"}


def map_arrays(path: Path) -> Arrays:
    """The arrays of a safetensors file, mapped: jobs side by side share one copy in memory.

    Writing to them changes the process's own copy, never the file. The file must be whole.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {
        name: np.memmap(
            path, _TYPES[entry["dtype"]], "c", 8 + length + entry["data_offsets"][0],
            tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }  # fmt: skip


def read_dataset(path: Path) -> Arrays:
    """The arrays of the data set whose facts are at `path`.

    `train_images` and `test_images` uint8 [N, C, H, W]; `train_labels`, `test_labels` and, in
    the order of the former, `human_<kind>` int64 [N]. Raises DataError when the file is missing
    or not, to the byte, the one that was prepared. The arrays are mapped, not read: jobs side by
    side share one copy of them in memory.
    """
    data, facts = layout.data_of(path), read_facts(path)
    remedy = f"Delete {path} and {data}, and run snakemake again."
    if not data.is_file():
        raise DataError(f"{data} is missing. {remedy}")
    if data.stat().st_size != facts.bytes:
        raise DataError(
            f"{data} has {data.stat().st_size:,} bytes instead of {facts.bytes:,}: it was cut "
            f"off or altered. {remedy}"
        )
    if sha256(data) != facts.sha256:
        raise DataError(f"{data} was altered: its sha256 is not as recorded. {remedy}")
    return map_arrays(data)
