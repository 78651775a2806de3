"""Times an epoch of LeNet-300-100, masked and compacted, over the rounds of a chain.

    python tests/benchmarks/compaction.py [results/<study>/chains/.../seed<k>]

Data are 3,500 random images of 784 pixels; the time does not depend on them. Weights and masks are
those of the chain's rounds, or random ones with as many live units and kept weights as a chain on
the 5,000 digits had. One thread; the three trainings take turns, and each one's median counts.
"""

import copy
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from sdd import checkpoint, compaction, models, pruning, training
from sdd.files import read_json
from sdd.settings import Recipe

RECIPE = Recipe("sgd", 1e-4, 1e-4, 128, 1, "constant", momentum=0.9)
SHAPE = (1, 28, 28)
SAMPLES = 3500
TURNS = 9
# Live inputs, first and second hidden units; then the kept weights of the three layers.
ROUNDS = {
    14: ((463, 286, 98), (7025, 4010, 672)),
    21: ((391, 247, 83), (1432, 813, 395)),
    26: ((240, 153, 76), (448, 199, 158)),
}


def lenet() -> nn.Module:
    return models.build("lenet-300-100", channels=1, size=28, classes=10, seed=1)


def random_rounds() -> Iterator[tuple[int, nn.Module, pruning.Masks]]:
    generator = torch.Generator().manual_seed(0)
    yield 0, lenet(), pruning.dense_masks(lenet())
    for number, (live, kept) in ROUNDS.items():
        model = lenet()
        masks = {name: torch.zeros_like(m) for name, m in pruning.dense_masks(model).items()}
        widths = zip((*live, 10), (*live, 10)[1:], kept, strict=False)
        for mask, (inputs, outputs, count) in zip(masks.values(), widths, strict=True):
            # Every live unit has a weight; the others stand anywhere between live units.
            order = torch.randperm(inputs * outputs, generator=generator).tolist()
            ends = range(max(inputs, outputs))
            chosen = {(k % outputs) * inputs + k % inputs for k in ends}
            chosen |= set(order[: count - len(chosen)])
            flat = torch.zeros(inputs * outputs, dtype=torch.bool)
            flat[list(chosen)] = True
            mask[:outputs, :inputs] = flat.view(outputs, inputs)
        pruning.apply(pruning.prunable(model), masks)
        yield number, model, masks


def stored_rounds(chain: Path) -> Iterator[tuple[int, nn.Module, pruning.Masks]]:
    for path in sorted(chain.glob("round*/metrics.json")):
        facts = read_json(path)
        state, masks = checkpoint.load(path.with_name("model.safetensors"), facts["weights_sha256"])
        model = lenet()
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        yield facts["round"], model, {name: torch.from_numpy(m) for name, m in masks.items()}


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    one = torch.ones(1, 1, 1)
    samples = training.Samples(torch.randn(SAMPLES, *SHAPE, generator=generator), 0 * one, one)
    labels = torch.randint(10, (SAMPLES,), generator=generator)

    def epoch(model: nn.Module, masks: pruning.Masks) -> float:
        started = time.perf_counter()
        training.train(
            model, masks, samples, labels, labels, RECIPE, training.cross_entropy(labels),
            generator=generator, report=lambda _: None,
        )  # fmt: skip
        return time.perf_counter() - started

    rounds = stored_rounds(Path(sys.argv[1])) if len(sys.argv) > 1 else random_rounds()
    first, first_masks = lenet(), pruning.dense_masks(lenet())
    print("milliseconds an epoch; ratios to round 0, timed in the same turns")
    print("round  sparsity  live units   round 0   masked       sparse products    fewer units")
    sparse_rounds = []
    for number, model, masks in rounds:
        kept, total = pruning.counts(masks)
        sparsity = 100 * (1 - kept / total)
        candidates = {"round 0": (first, first_masks), "masked": (copy.deepcopy(model), masks)}
        for name, small in (
            ("sparse", compaction.faster_products(model, masks)),
            ("fewer", compaction.fewer_units(model, masks, RECIPE, SAMPLES)),
        ):
            if small:
                candidates[name] = (small.model, small.masks)
        times = {name: [] for name in candidates}
        for _ in range(TURNS):
            for name, (network, its_masks) in candidates.items():
                times[name].append(1e3 * epoch(network, its_masks))
        median = {name: statistics.median(values) for name, values in times.items()}
        live = "/".join(map(str, reversed(compaction.live_units(model, masks).values())))
        row = [f"{median[n]:7.1f} ({median[n] / median['round 0']:.2f})" if n in median
               else f"{'-':>14}" for n in ("masked", "sparse", "fewer")]  # fmt: skip
        print(
            f"{number:5d}  {sparsity:8.2f}  {live:>10}  {median['round 0']:8.1f}", *row, flush=True
        )
        if sparsity > 95:
            sparse_rounds.append(median["sparse"] / median["round 0"])
    if sparse_rounds:
        print(f"mean of the rounds above 95 %: {statistics.mean(sparse_rounds):.2f} of round 0")


if __name__ == "__main__":
    main()
