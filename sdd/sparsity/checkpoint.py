"""The weights of a round on disk: safetensors, pruned layers as their kept values and their places.

The places are a bitmap, or positions where those are fewer bytes. Round r of a chain that prunes
20 % keeps 0.8^r of the dense size, so that all rounds together take less than six times the dense
model. Nothing is pickled, and every bit comes back.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sdd.base import layout
from sdd.base.errors import CheckpointError
from sdd.base.files import replacing, sha256

FORMAT = "sdd-round-2"
# The share of kept weights below which 32 bits for each are fewer than one for every weight.
FEW = 1 / 32

Arrays = dict[str, np.ndarray]
Shapes = dict[str, list[int]]


EARLY = "early/"  # before the names of weights that later rounds go back to


def write_checkpoint(
    path: Path,
    state: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    early: Mapping[str, np.ndarray] | None = None,
) -> str:
    """Writes a round and returns the file's sha256.

    `state` is the model's whole state by name; `masks` holds a boolean array, true where kept,
    for every prunable entry of it. Pruned entries of `state` must be zero. `early` is the state
    that later rounds go back to, where they go back to one within this round's training.
    """
    tensors: Arrays = {}
    for name, value in state.items():
        mask = masks.get(name)
        if mask is None or mask.all():
            tensors[name] = np.ascontiguousarray(value)
        else:
            if np.any(value[~mask]):
                raise CheckpointError(f"{name}: a pruned weight is not zero.")
            tensors[f"{name}.values"] = value[mask]
            if mask.mean() < FEW:
                tensors[f"{name}.positions"] = np.flatnonzero(mask).astype(np.uint32)
            else:
                tensors[f"{name}.bitmap"] = np.packbits(mask)
    tensors |= {f"{EARLY}{name}": np.ascontiguousarray(v) for name, v in (early or {}).items()}
    shapes = {name: mask.shape for name, mask in masks.items()}
    # One metadata key only: safetensors does not keep the order of several.
    metadata = {"sdd": json.dumps({"format": FORMAT, "prunable": shapes}, sort_keys=True)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)
        digest = sha256(temporary)
    return digest


def read_checkpoint(path: Path, digest: str, facts: str = layout.METRICS) -> tuple[Arrays, Arrays]:
    """Reads what `write_checkpoint` wrote: state and masks.

    Raises CheckpointError when the file is missing, is not the one whose sha256 is `digest`, or
    has another format. `facts` is the name of the file beside it that vouches for it.
    """
    return _unpacked(*_read(path, digest, facts))


def unpacked(path: Path) -> tuple[Arrays, Arrays] | None:
    """State and masks in a file of this format; None for any other safetensors."""
    found = _found(path)
    return _unpacked(*found) if found else None


def _unpacked(tensors: Arrays, prunable: Shapes) -> tuple[Arrays, Arrays]:
    tensors = {name: value for name, value in tensors.items() if not name.startswith(EARLY)}
    masks: Arrays = {}
    for name, shape in prunable.items():
        if name in tensors:
            masks[name] = np.ones(shape, bool)
            continue
        mask = np.zeros(int(np.prod(shape)), bool)
        if f"{name}.positions" in tensors:
            mask[tensors.pop(f"{name}.positions")] = True
        else:
            mask[:] = np.unpackbits(tensors.pop(f"{name}.bitmap"), count=len(mask))
        masks[name] = mask.reshape(shape)
        values = tensors.pop(f"{name}.values")
        tensors[name] = np.zeros(shape, values.dtype)
        tensors[name][masks[name]] = values
    return tensors, masks


def read_early(path: Path, digest: str) -> Arrays:
    """The state within a round's training that later rounds go back to; errors as above."""
    tensors, _ = _read(path, digest)
    return {n.removeprefix(EARLY): value for n, value in tensors.items() if n.startswith(EARLY)}


def _read(path: Path, digest: str, facts: str = layout.METRICS) -> tuple[Arrays, Shapes]:
    """All that is in the file, and the shapes of the prunable weights."""
    repair = f"Delete {path.with_name(facts)} and run snakemake again to make it anew."
    if not path.exists():
        raise CheckpointError(f"{path} is missing. {repair}")
    if sha256(path) != digest:
        raise CheckpointError(f"{path} is not the file that its {facts} describes. {repair}")
    try:
        found = _found(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read ({error}). {repair}") from None
    if found is None:
        raise CheckpointError(f"{path} is not in the format {FORMAT}. {repair}")
    return found


def _found(path: Path) -> tuple[Arrays, Shapes] | None:
    """The same of any safetensors; None where they are of another format."""
    with safe_open(path, "numpy") as file:
        header = json.loads((file.metadata() or {}).get("sdd", "{}"))
        if header.get("format") != FORMAT:
            return None
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, header["prunable"]
