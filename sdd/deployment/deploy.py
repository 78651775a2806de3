"""The rounds of a chain as deployed models: simplified, exported, compared, measured.

For each it leaves `model.onnx`, `model.int8.onnx` and `model.sparse.onnx`, and beside them
`deployment.json`, which says what they are worth.
"""

import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import nn

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import replacing, sha256, write_json
from sdd.base.records import to_dict
from sdd.data.facts import DatasetFacts, check_dataset, check_labels
from sdd.deployment import export
from sdd.deployment.answers import Images, difference
from sdd.deployment.comparison import Bench, Stored
from sdd.deployment.facts import Deployment
from sdd.deployment.selection import chosen
from sdd.deployment.simplify import simplified, size
from sdd.deployment.specs import DeploySpec
from sdd.machine.devices import device_name, instruction_set
from sdd.rounds.network import read_network
from sdd.sparsity.cost import count
from sdd.study.metrics import RoundMetrics, read_metrics

CPU = torch.device("cpu")
SIMPLIFIED, EXPORTED = 1e-5, 1e-4  # how far logits may be off


def make(
    spec: DeploySpec,
    *,
    dataset: Path,
    labels: Path,
    rounds: Sequence[Path],
    output: Path,
    device: torch.device,
    log: Callable[[str], None],
) -> None:
    """Deploys the chosen ones of a chain's `rounds`, the paths of their metrics, dense one first.

    `output` is the place of the facts on the first that is asked for; the others go beside it.
    Networks are compared on `device`, and measured on the CPU. Raises DeploymentError where one
    does not answer as the masked network.
    """
    facts = check_dataset(dataset, spec.labels)
    check_labels(labels, spec.labels, dataset)
    metrics = [_metrics(path, spec, number) for number, path in enumerate(rounds)]
    accuracies = [nan if m.ended is not None else m.validation.accuracy for m in metrics]
    images = Images.read(
        dataset, labels, facts, device,
        calibration=export.CALIBRATION, seed=metrics[0].spec.seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        deployer = Deployer(spec, facts, Bench(images, Path(folder)), rounds[0], metrics[0])
        for number, names in chosen(spec, accuracies).items():
            log(f"round {number}: {', '.join(names)}")
            made, files = deployer.deployed(rounds[number], metrics[number], log)
            for which in names:
                place = layout.deployed_beside(output, which)
                place.parent.mkdir(parents=True, exist_ok=True)
                for name, file in files.items():
                    with replacing(place.with_name(name)) as temporary:
                        temporary.write_bytes(file.read_bytes())
                write_json(place, to_dict(replace(made, which=which)))


def _metrics(path: Path, spec: DeploySpec, round: int) -> RoundMetrics:
    """Raises DataError where they are of another round."""
    metrics, chain = read_metrics(path), spec.chain if round else spec.dense_chain
    if (metrics.spec.chain, metrics.round) != (chain, round):
        raise DataError(
            f"{path} is of round {metrics.round} of {metrics.spec.chain}, not of round {round} of "
            f"{chain}. Delete it and run snakemake again."
        )
    return metrics


class Deployer:
    """Deploys rounds of one chain, and compares them with its dense network."""

    def __init__(
        self, spec: DeploySpec, facts: DatasetFacts, bench: Bench, dense: Path, first: RoundMetrics
    ) -> None:
        """`first` are the metrics of the dense round, at `dense`."""
        self.spec, self.facts, self.bench = spec, facts, bench
        self.exporter = export.Exporter(facts.shape)
        self.dense_sha256 = first.weights_sha256
        network, macs = _network(dense, facts), first.macs.forward_macs
        self.dense = (
            bench.in_torch("dense", network, macs),
            bench.in_onnxruntime("dense", self.exporter.exported(network), network, macs),
        )

    def deployed(
        self, path: Path, metrics: RoundMetrics, log: Callable[[str], None]
    ) -> tuple[Deployment, dict[str, Path]]:
        """What is known of the round with these metrics at `path`, and its files by their names."""
        images, own = self.bench.images, bool(metrics.spec.build)
        masked = _network(path, self.facts)
        # What lies between the layers of a user's own model nobody knows.
        small = masked if own else simplified(masked.double()).float()
        right = images.logits(masked.float())
        simplified_error = difference(
            images.logits(small), right, SIMPLIFIED, f"{path}: its simplified network"
        )
        before, after = size(masked), size(small)
        log(f"{before:,} numbers, simplified {after:,}; logits differ by {simplified_error:.2g}")
        stored = self._stored(metrics, masked, small)
        deployed = {one.name: one for one in stored if one.name in layout.MODELS}
        onnx_error = max(
            difference(deployed[name].logits, right, EXPORTED, f"{path}: its {name} model")
            for name in ("deployed", "sparse-layout")
        )
        log(f"in onnxruntime, logits differ by {onnx_error:.2g}")
        networks = self.bench.compared((*self.dense, *stored), right, self.spec.seconds)
        log("measured")
        files = {file: deployed[name].file for name, file in layout.MODELS.items()}
        made = Deployment(
            spec=self.spec,
            which=self.spec.rounds[0],
            round=metrics.round,
            weights_sha256=metrics.weights_sha256,
            dense_sha256=self.dense_sha256,
            sparsity=metrics.sparsity,
            simplified=not own,
            largest_logit=right.abs().max().item(),
            simplified_error=simplified_error,
            onnx_error=onnx_error,
            opset=export.OPSET,
            calibration_images=len(images.calibration),
            networks=networks,
            files={name: sha256(file) for name, file in files.items()},
            processor=device_name(CPU),
            instruction_set=instruction_set(CPU),
            versions={
                "python": platform.python_version(),
                **{m.__name__: str(m.__version__) for m in (torch, onnx, onnxruntime)},
            },
        )
        return made, files

    def _stored(self, metrics: RoundMetrics, masked: nn.Module, small: nn.Module) -> list[Stored]:
        """A round's networks, as they are compared."""
        macs, fewer = metrics.macs.forward_macs, count(small, self.facts.shape).forward_macs
        model, told = self.exporter.exported(small), _metadata(self.spec, self.facts, metrics)
        ways = {
            "deployed": model,
            "int8": export.in_int8(model, self.bench.images.calibration),
            "sparse-layout": export.in_sparse_layout(model),
        }
        exported = self.exporter.exported(masked)
        return [
            self.bench.in_torch("masked", masked, macs),
            self.bench.in_onnxruntime("masked", exported, masked, macs),
            *(
                self.bench.in_onnxruntime(name, export.described(way, told), small, fewer)
                for name, way in ways.items()
            ),
        ]


def _network(path: Path, facts: DatasetFacts) -> nn.Module:
    network, _ = read_network(path, facts, CPU)
    return network.to(memory_format=torch.contiguous_format).eval()


def _metadata(spec: DeploySpec, facts: DatasetFacts, metrics: RoundMetrics) -> dict[str, str]:
    """What a program that runs the model must know, and where the model comes from."""
    classes = list(facts.class_names) or [str(number) for number in range(facts.classes)]
    return {
        "input": "(pixels / 255 - mean) / std, float32 [n, channels, height, width]",
        "normalisation": json.dumps({"mean": facts.mean, "std": facts.std}),
        "classes": json.dumps(classes),
        "study": spec.study,
        "chain": spec.chain,
        "round": str(metrics.round),
        "weights_sha256": metrics.weights_sha256,
    }
