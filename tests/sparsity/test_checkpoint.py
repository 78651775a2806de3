"""Checkpoints: every bit comes back, small, and never from a damaged or foreign file."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdd.base.errors import CheckpointError
from sdd.base.files import sha256
from sdd.sparsity.checkpoint import read_checkpoint, write_checkpoint


def a_round(kept: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    masks = {
        n: rng.random(s) < kept for n, s in {"a.weight": (300, 784), "b.weight": (7, 3)}.items()
    }
    state = {n: rng.normal(size=m.shape).astype(np.float32) * m for n, m in masks.items()}
    state["a.bias"] = rng.normal(size=300).astype(np.float32)
    state["n.num_batches_tracked"] = np.array(12, np.int64)
    return state, masks


@pytest.mark.parametrize("kept", [1.0, 0.8, 0.04, 0.03, 0.002, 0.0])
def test_every_bit_comes_back(tmp_path, kept):
    state, masks = a_round(kept)
    state["a.weight"][masks["a.weight"]] *= -1
    path = tmp_path / "model.safetensors"
    digest = write_checkpoint(path, state, masks)
    assert digest == sha256(path)
    loaded, loaded_masks = read_checkpoint(path, digest)
    assert loaded.keys() == state.keys() and loaded_masks.keys() == masks.keys()
    for name in state:
        assert loaded[name].dtype == state[name].dtype
        assert loaded[name].tobytes() == np.ascontiguousarray(state[name]).tobytes() or (
            # -0.0 where a pruned weight was multiplied away is stored as 0.0
            np.array_equal(loaded[name], state[name])
        )
    assert all(np.array_equal(loaded_masks[name], masks[name]) for name in masks)


def test_the_same_round_gives_the_same_bytes(tmp_path):
    state, masks = a_round(0.3)
    digests = {write_checkpoint(tmp_path / f"{i}", state, masks) for i in range(5)}
    assert len(digests) == 1


def test_a_kept_weight_that_is_zero_stays_kept(tmp_path):
    mask = np.array([True, False, True])
    digest = write_checkpoint(tmp_path / "m", {"w": np.zeros(3, np.float32)}, {"w": mask})
    assert read_checkpoint(tmp_path / "m", digest)[1]["w"].tolist() == mask.tolist()


def test_a_chain_takes_less_than_six_dense_models(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(300, 784)).astype(np.float32)
    order = np.argsort(np.abs(weights), axis=None)
    sizes = []
    for r in range(40):
        mask = np.ones(weights.size, bool)
        mask[order[: round(weights.size * (1 - 0.8**r))]] = False
        mask = mask.reshape(weights.shape)
        write_checkpoint(tmp_path / f"{r}", {"w": weights * mask}, {"w": mask})
        sizes.append((tmp_path / f"{r}").stat().st_size)
    assert sum(sizes) < 6 * sizes[0]


def test_a_pruned_weight_that_is_not_zero_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="w: a pruned weight is not zero"):
        write_checkpoint(
            tmp_path / "m", {"w": np.ones(2, np.float32)}, {"w": np.array([True, False])}
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_file_is_named_with_its_repair(tmp_path, damage):
    path = tmp_path / "round03" / "model.safetensors"
    digest = write_checkpoint(path, *a_round(0.5))
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[:-10])
    elif damage == "altered":
        data[-1] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match=r"round03/model.safetensors .*Delete .*metrics.json"):
        read_checkpoint(path, digest)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "m"
    for metadata in (None, {"sdd": json.dumps({"format": "sdd-round-0", "prunable": {}})}):
        save_file({"w": np.zeros(3, np.float32)}, path, metadata)
        with pytest.raises(CheckpointError, match="not in the format sdd-round-2"):
            read_checkpoint(path, sha256(path))
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path, sha256(path))
