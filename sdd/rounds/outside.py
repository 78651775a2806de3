"""A teacher from outside becomes one of the study's: its weights are checked, and kept with it."""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import sha256, write_json
from sdd.base.names import listed
from sdd.models.build import build
from sdd.sparsity.checkpoint import unpacked, write_checkpoint
from sdd.sparsity.cost import count
from sdd.study.metrics import OutsideFacts
from sdd.study.specs import OutsideSpec

Tensors = Mapping[str, Tensor]


def adopt(spec: OutsideSpec, weights: Path, output: Path) -> OutsideFacts:
    """Writes the facts on a teacher from outside to `output`, and its weights beside them.

    `weights` are safetensors: a model's state by the names that torch gives it, or a round of any
    study. Pruned weights are zeros like any other. Raises DataError, naming the file and what is
    wrong with it, for weights that are not the model's.
    """
    if sha256(weights) != spec.content:
        raise DataError(f"{weights} has changed since this run of snakemake began. Run it again.")
    channels, size, _ = spec.shape
    model = build(
        spec.model, channels=channels, size=size, classes=spec.classes, seed=0, own=spec.build
    )
    _load(model, _read(weights), spec, weights)
    macs = count(copy.deepcopy(model), spec.shape)
    state = {name: value.contiguous().numpy() for name, value in model.state_dict().items()}
    facts = OutsideFacts(spec, macs, write_checkpoint(layout.data_of(output), state, {}))
    write_json(output, facts.to_dict())
    return facts


def _read(weights: Path) -> Tensors:
    try:
        round = unpacked(weights)
        if round is None:
            return load_file(weights)
    except (SafetensorError, OSError, LookupError, ValueError) as error:
        raise DataError(f"{weights} cannot be read ({error}).") from None
    return {name: torch.from_numpy(value) for name, value in round[0].items()}


def _load(model: nn.Module, tensors: Tensors, spec: OutsideSpec, weights: Path) -> None:
    """Into the model, in its own types. Raises DataError for names, shapes and numbers that do not
    fit."""
    wanted = model.state_dict()
    lacking = [name for name in wanted if name not in tensors]
    more = [name for name in tensors if name not in wanted]
    shapes = [
        f"{name} is {list(tensors[name].shape)}, not {list(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    wrong = [
        f"{what} {listed(names)}"
        for what, names in (("it lacks", lacking), ("it also holds", more), ("", shapes))
        if names
    ]
    if wrong:
        raise DataError(
            f"{weights} does not hold the weights of {spec.model} for images of "
            f"{list(spec.shape)} and {spec.classes} classes: {'; '.join(wrong).strip()}. Its names "
            "and shapes must be those of the model's state_dict()."
        )
    model.load_state_dict(tensors)
    broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise DataError(f"{weights}: {listed(broken)} holds numbers that are infinite or none.")
