"""What is known of a deployed model: `deployment.json`, beside the files of the model.

Imports nothing that computes.
"""

from dataclasses import dataclass

from sdd.deployment.specs import DeploySpec
from sdd.machine.reading import EnergyReading

BATCHES = (1, 8, 64, 256)  # of which latency is measured
ENERGY_BATCH = 64  # of which energy and memory are


@dataclass(frozen=True)
class Ratio:
    """How many times as fast, or as frugal, as what it is compared with: over turns in which each
    had its go, the median and between which values four of five turns lie."""

    median: float
    low: float
    high: float
    turns: int


@dataclass(frozen=True)
class Latency:
    """Seconds in which a batch is answered; a percentile that takes more turns is None."""

    batch: int
    p50: float
    p95: float | None
    p99: float | None
    images_a_second: float  # at p50
    speedup: Ratio  # against the dense network in torch


@dataclass(frozen=True)
class Network:
    """One network in one runtime.

    `name`: dense (round 0), masked (the round, its pruned weights zero), deployed (simplified),
    int8 and sparse-layout (the deployed one, stored otherwise).
    """

    name: str
    runtime: str
    size: int  # numbers: weights, biases and what norms have measured
    macs: int  # multiply-accumulates an image that are executed, those with zeros too
    bytes: int
    compressed_bytes: int  # by zlib
    accuracy: float  # percent, on the test set
    agreement: float  # percent of the test set on which it answers as the masked network
    load_seconds: float  # median, the library being loaded
    load_speedup: Ratio
    peak_bytes: int | None  # of a process with the library that answers to a batch of 64
    latencies: tuple[Latency, ...]
    energy_images: tuple[int, ...]  # answered in each turn of metering, in batches of 64
    energy: tuple[EnergyReading, ...]  # of these turns


@dataclass(frozen=True)
class Deployment:
    """A round as other programs run it, and what that is worth."""

    spec: DeploySpec
    which: str  # of the rounds that the spec asks for
    round: int
    weights_sha256: str  # of the round
    dense_sha256: str  # of round 0
    sparsity: float  # percent
    simplified: bool  # false for a user's own model, which is exported masked as it is
    largest_logit: float  # of the masked network on the test set
    simplified_error: float  # the largest difference of logits, in double precision
    onnx_error: float  # the same in onnxruntime, against the masked network in double precision
    opset: int
    calibration_images: int
    networks: tuple[Network, ...]
    files: dict[str, str]  # the sha256 of each model, by the file's name
    processor: str
    instruction_set: str  # of torch
    versions: dict[str, str]
