"""Writing and reading a round of LeNet-300-100, and how much of the disk a chain takes."""

import lenet
import pytest
import torch
from measure import take_turns
from toy import by_magnitude

from sdd.sparsity import masks as sparsity
from sdd.sparsity.checkpoint import read_checkpoint, write_checkpoint
from sdd.study.settings import Pruning

ROUNDS = 32


def test_a_round_costs_under_5_ms_and_a_chain_six_dense_models(tmp_path, show):
    model = lenet.build()
    masks, lines, bytes_ = sparsity.dense_masks(model), [], []
    for number in range(ROUNDS):
        weights = sparsity.prunable(model)
        if number:
            masks = sparsity.prune(by_magnitude(weights), masks, Pruning(0.2))
            sparsity.apply(weights, masks)
        state = {name: value.numpy() for name, value in model.state_dict().items()}
        kept = {name: mask.numpy() for name, mask in masks.items()}
        path = tmp_path / f"{number}.safetensors"
        digest = write_checkpoint(path, state, kept)
        bytes_.append(path.stat().st_size)
        if number % 8 and number != ROUNDS - 1:
            continue
        timing = take_turns(
            {
                "save": lambda p=path, s=state, k=kept: write_checkpoint(p, s, k),
                "load": lambda p=path, d=digest: read_checkpoint(p, d),
            },
            turns=21,
        )
        lines.append(
            {
                "round": number,
                "kB": f"{bytes_[-1] / 1000:.0f}",
                **{f"{side}, ms": f"{1e3 * timing.median(side):.2f}" for side in timing.seconds},
                "target": "< 5",
            }
        )
        assert max(timing.median(side) for side in timing.seconds) < 5e-3
    dense = sum(p.numel() * p.element_size() for p in model.parameters())
    show("A stored round, with its sha256, 21 turns (processor time)", lines)
    ratio = sum(bytes_) / dense
    show("All 32 rounds", [{"times the dense model": f"{ratio:.2f}", "target": "<= 6"}])
    assert ratio <= 6


@pytest.mark.parametrize("share", [0.8, 0.01])
def test_what_is_read_is_what_was_written(tmp_path, share):
    """That the timed calls do their work."""
    model = lenet.build()
    weights = sparsity.prunable(model)
    masks = sparsity.prune(by_magnitude(weights), sparsity.dense_masks(model), Pruning(1 - share))
    sparsity.apply(weights, masks)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    path = tmp_path / "round.safetensors"
    digest = write_checkpoint(path, state, {name: mask.numpy() for name, mask in masks.items()})
    read, _ = read_checkpoint(path, digest)
    assert all(torch.equal(torch.from_numpy(read[k]), v) for k, v in model.state_dict().items())
