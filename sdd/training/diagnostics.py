"""What a trained network is like, beside how right it is: measured in the passes that score it.

Each is a pure function, but for `Activity`, which watches a pass.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sdd.sparsity.masks import Masks

BINS = 15  # of the calibration error, as usual (Guo et al., 2017)
GATES = {torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu, F.gelu}


class Activity(TorchFunctionMode):
    """In its block, counts how often each unit in front of a ReLU or GELU is positive.

    Whatever calls them: modules, functions or a model of the user's own. A map's pixels count like
    images. Layers are told apart by their order in a pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._positive: list[Tensor] = []  # [units] of each layer
        self._seen: list[int] = []
        self._layer = 0

    def begin(self) -> None:
        """Before each pass: the next layer is the first again."""
        self._layer = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        # What a gate calls itself is not seen again: a mode is off while it handles something.
        if function in GATES:
            self._count(arguments[0])
        return function(*arguments, **(options or {}))

    def _count(self, inputs: Tensor) -> None:
        # Units are channels of a map [b, c, h, w], else what stands last: [b, u], [b, tokens, u].
        units = 1 if inputs.ndim == 4 else inputs.ndim - 1
        others = [axis for axis in range(inputs.ndim) if axis != units]
        positive = (inputs > 0).sum(others)
        count = inputs.numel() // inputs.shape[units]
        if self._layer == len(self._positive):
            self._positive.append(torch.zeros_like(positive))
            self._seen.append(0)
        self._positive[self._layer] += positive
        self._seen[self._layer] += count
        self._layer += 1

    def entropy(self) -> float | None:
        """The mean over layers of their units' mean entropy, in bits; None without such layers.

        Of a unit the binary entropy of whether it is positive (Quétu & Tartaglione, DSD2, 2024).
        """
        if not self._positive:
            return None
        layers = [
            binary_entropy(positive.double() / seen).mean()
            for positive, seen in zip(self._positive, self._seen, strict=True)
        ]
        return torch.stack(layers).mean().item()


def binary_entropy(share: Tensor) -> Tensor:
    """Bits; 0 at 0 and at 1."""
    return -(torch.special.xlogy(share, share) + torch.special.xlogy(1 - share, 1 - share)) / (
        torch.log(torch.tensor(2.0, dtype=share.dtype, device=share.device))
    )


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """The expected calibration error of `logits` [n, classes], in percent.

    By confidence, the largest probability, in BINS bins of equal width, (low, high]: the mean over
    samples of how far their bin's accuracy lies from its mean confidence.
    """
    confidence, predicted = torch.softmax(logits.double(), 1).max(1)
    right = (predicted == labels).double()
    # From the edges themselves: 1/15 has no exact double, and a confidence may lie on an edge.
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.double, device=logits.device)
    bins = torch.bucketize(confidence, edges[1:-1])
    gap = torch.zeros(BINS, dtype=torch.double, device=logits.device)
    gap.index_add_(0, bins, right - confidence)
    return 100 * gap.abs().sum().item() / len(labels)


def top_accuracy(logits: Tensor, labels: Tensor, k: int = 5) -> float | None:
    """How often the label is among the k likeliest, in percent; None up to twice k classes."""
    if logits.shape[1] <= 2 * k:
        return None
    return 100 * (logits.topk(k, 1).indices == labels[:, None]).any(1).double().mean().item()


def learning_distance(weights: dict[str, Tensor], first: dict[str, Tensor], masks: Masks) -> float:
    """How far the parameters lie from their first values, by the l2 norm (He et al., 2022).

    Pruned weights are left out: they have gone nowhere.
    """
    total = 0.0
    for name, weight in weights.items():
        way = (weight.detach() - first[name].to(weight)).double()
        if name in masks:
            way = way * masks[name]
        total += way.square().sum().item()
    return total**0.5


def live_units(mask: Tensor) -> int:
    """How many units of a layer have an incoming weight left; `mask` is its weight's."""
    return int(mask.flatten(1).any(1).sum())
