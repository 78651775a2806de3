"""From the facts on deployed models to one table, deployments.csv: a row for every network of
every deployed round. In base units; what was not measured stays empty. Imports no torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import pandas as pd

from sdd.analysis.collected import read_vouched, write_vouched
from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import read_record
from sdd.deployment.facts import Deployment, Network, Ratio
from sdd.deployment.specs import DeploymentsSpec

Row = dict[str, Any]


def collect(spec: DeploymentsSpec, deployments: Iterable[Path], output: Path) -> None:
    """Writes deployments.csv of the facts on each model, `deployments`."""
    rows = [row for path in deployments for row in _rows(spec, path)]
    write_vouched(output, layout.facts_of_deployments(output), pd.DataFrame(rows))


def read(path: Path) -> pd.DataFrame:
    """deployments.csv as it was written. Raises DataError, naming the file, where it is not."""
    return read_vouched(path, layout.facts_of_deployments(path))


def _rows(spec: DeploymentsSpec, path: Path) -> Iterator[Row]:
    made = read_record(path, Deployment)
    if (made.spec.study, made.which) != (spec.study, path.parent.name):
        raise DataError(
            f"{path} is of the {made.which} round of {made.spec.chain} in {made.spec.study}. "
            "Delete it and run snakemake again."
        )
    dense = {network.runtime: network for network in made.networks if network.name == "dense"}
    reference = dense["torch"]
    for network in made.networks:
        yield {
            "study": spec.study,
            "chain": made.spec.chain,
            "which": made.which,
            "round": made.round,
            "sparsity": made.sparsity,
            "network": network.name,
            "runtime": network.runtime,
            "size": network.size,
            "macs": network.macs,
            "bytes": network.bytes,
            "compressed_bytes": network.compressed_bytes,
            "smaller": reference.bytes / network.bytes,
            "accuracy": network.accuracy,
            "agreement": network.agreement,
            "load_seconds": network.load_seconds,
            **_ratio("load_speedup", network.load_speedup),
            "peak_bytes": network.peak_bytes,
            **_latencies(network),
            **_energy(network, reference, dense[network.runtime], spec.carbon_intensity),
            "simplified": made.simplified,
            "simplified_error": made.simplified_error,
            "onnx_error": made.onnx_error,
            "processor": made.processor,
            "instruction_set": made.instruction_set,
        }


def _ratio(name: str, ratio: Ratio) -> Row:
    return {
        name: ratio.median,
        f"{name}_low": ratio.low,
        f"{name}_high": ratio.high,
        f"{name}_turns": ratio.turns,
    }


def _latencies(network: Network) -> Row:
    row: Row = {}
    for latency in network.latencies:
        batch = f"batch{latency.batch}"
        row |= {f"{batch}_{p}_seconds": getattr(latency, p) for p in ("p50", "p95", "p99")}
        row[f"{batch}_images_a_second"] = latency.images_a_second
        row |= _ratio(f"{batch}_speedup", latency.speedup)
    return row


def energy_an_image(network: Network) -> list[float] | None:
    """kWh, in each turn of metering; None where a turn was not measured."""
    turns = list(zip(network.energy, network.energy_images, strict=True))
    if any(reading.energy_kwh is None for reading, _ in turns):
        return None
    return [reading.energy_kwh / images for reading, images in turns if reading.energy_kwh]


def _energy(network: Network, reference: Network, dense: Network, intensity: float | None) -> Row:
    """Of 1,000 images; how many times less than the `reference`, lowest and highest turn beside it;
    and what is saved of `dense`, which is in the same runtime."""
    own, first, like = map(energy_an_image, (network, reference, dense))
    row: Row = dict.fromkeys(
        (
            "energy_kwh_1000", "co2_g_1000", "frugality", "frugality_low", "frugality_high",
            "saved_kwh_1000", "saved_kwh_1000_low",
        )
    )  # fmt: skip
    if own and first and like:
        times = [theirs / ours for theirs, ours in zip(first, own, strict=True)]
        saved = [1000 * (theirs - ours) for theirs, ours in zip(like, own, strict=True)]
        assumed = network.energy[0].carbon_intensity
        row = {
            "energy_kwh_1000": 1000 * mean(own),
            "co2_g_1000": 1000 * mean(own) * (assumed if intensity is None else intensity),
            "frugality": median(times),
            "frugality_low": min(times),
            "frugality_high": max(times),
            "saved_kwh_1000": mean(saved),
            "saved_kwh_1000_low": min(saved),
        }
    return row | {"energy_method": network.energy[0].method}
