"""Deployed models that nobody has made: as facts, and as deployments.csv has them."""

import pandas as pd

from sdd.data.settings import LabelsSpec, Noise, Validation
from sdd.deployment.facts import BATCHES, Deployment, Latency, Network, Ratio
from sdd.deployment.specs import DeploySpec
from sdd.machine.reading import EnergyReading

RUNTIMES = [
    ("dense", "torch"), ("masked", "torch"), ("dense", "onnxruntime"), ("masked", "onnxruntime"),
    ("deployed", "onnxruntime"), ("int8", "onnxruntime"), ("sparse-layout", "onnxruntime"),
]  # fmt: skip


def reading(kwh: float | None, intensity: float = 400.0) -> EnergyReading:
    if kwh is None:
        return EnergyReading.unknown("no meter", 1.0)
    return EnergyReading(kwh, kwh * intensity, "a meter", intensity, 1.5, 50.0, 1.0, 1.0, None)


def network(
    name: str,
    runtime: str,
    *,
    speedup: float = 1.0,
    kwh: tuple[float | None, ...] = (4.0, 4.0),
    macs: int = 266_200,
    size: int = 1000,
) -> Network:
    """`kwh` of each turn, in which 2,000 images were answered."""
    ratio = Ratio(speedup, 0.9 * speedup, 1.1 * speedup, 50)
    latencies = tuple(Latency(b, 0.01 / speedup, 0.02, None, 100.0, ratio) for b in BATCHES)
    return Network(
        name, runtime, size, macs, 4 * size, 2 * size, 90.0, 100.0, 0.1, ratio, None, latencies,
        (2000,) * len(kwh), tuple(map(reading, kwh)),
    )  # fmt: skip


def deployment(chain: str, which: str, round: int, networks: tuple[Network, ...]) -> Deployment:
    labels = LabelsSpec(Noise("symmetric", 0.4), Validation(), 1)
    return Deployment(
        DeploySpec("synthetic", chain, chain, (which,), labels, 1.0), which, round, "w", "d", 90.0,
        True, 10.0, 0.0, 0.0, 20, 256, networks, {}, "a processor", "AVX2", {},
    )  # fmt: skip


def rows(
    chain: str, which: str, round: int, *, saved: float = 2e-6, lowest: float = 1e-6,
    macs: int = 100_000,
) -> pd.DataFrame:  # fmt: skip
    """Of deployments.csv, of a round that saves so many kWh in 1,000 images."""
    frame = pd.DataFrame(RUNTIMES, columns=["network", "runtime"])
    small = ~frame.network.isin(["dense", "masked"])
    frame = frame.assign(
        study="synthetic", chain=chain, which=which, round=round, sparsity=100 * (1 - 0.8**round),
        size=1000, macs=[macs if s else 266_200 for s in small], bytes=4000, compressed_bytes=3000,
        smaller=1.0, accuracy=70.0, agreement=100.0, load_seconds=0.1, peak_bytes=float("nan"),
        energy_kwh_1000=4e-6, co2_g_1000=1e-3, saved_kwh_1000=small * saved,
        saved_kwh_1000_low=small * lowest,
    )  # fmt: skip
    ratios = ["load_speedup", *(f"batch{b}_speedup" for b in BATCHES), "frugality"]
    for name in ratios:
        frame[name] = 1.0 + 2 * small
        frame[f"{name}_low"], frame[f"{name}_high"] = 0.8 * frame[name], 1.2 * frame[name]
    return frame
