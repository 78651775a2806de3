"""Networks that are stored in files, side by side: what they answer, how fast, at what cost."""

import os
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdd.deployment import measuring
from sdd.deployment.answers import Images, agreement
from sdd.deployment.facts import ENERGY_BATCH, Network
from sdd.deployment.runtimes import RUNTIMES, Run
from sdd.deployment.simplify import size


@dataclass(frozen=True)
class Stored:
    """A network in a file, and in the runtime that has opened it."""

    name: str
    runtime: str
    file: Path
    size: int  # numbers that the network holds
    macs: int  # an image
    run: Run
    logits: Tensor  # of the test set
    peak_bytes: int | None  # of memory, at a batch of ENERGY_BATCH


@dataclass(frozen=True)
class Bench:
    """Where networks are stored and compared."""

    images: Images
    folder: Path

    def in_torch(self, name: str, network: nn.Module, macs: int) -> Stored:
        file = self.folder / f"{name}.pt"
        torch.save(network, file)
        return self._opened(name, "torch", file, network, macs)

    def in_onnxruntime(
        self, name: str, model: onnx.ModelProto, network: nn.Module, macs: int
    ) -> Stored:
        """`model` is `network`, exported."""
        file = self.folder / f"{name}.onnx"
        onnx.save(model, file)
        return self._opened(name, "onnxruntime", file, network, macs)

    def _opened(self, name: str, runtime: str, file: Path, network: nn.Module, macs: int) -> Stored:
        run = RUNTIMES[runtime](file)
        return Stored(
            name,
            runtime,
            file,
            size(network),
            macs,
            run,
            logits=self.images.logits_of(run),
            peak_bytes=peak(runtime, file, self._batch.shape),
        )

    @property
    def _batch(self) -> NDArray:
        """Of which energy and memory are measured."""
        return measuring.batch_of(next(self.images.for_runtimes()), ENERGY_BATCH)

    def compared(
        self, stored: Sequence[Stored], right: Tensor, seconds: float
    ) -> tuple[Network, ...]:
        """What is known of each; the first is what the others are compared with.

        `right` [n, classes] are the masked network's logits of the test set. Latency and energy
        take half of the `seconds` each.
        """
        some = next(self.images.for_runtimes())
        runs = {number: one.run for number, one in enumerate(stored)}
        loads = measuring.timed(
            {
                number: lambda one=one: RUNTIMES[one.runtime](one.file)
                for number, one in enumerate(stored)
            },
            seconds / 10,
        )
        latencies = measuring.latencies(runs, some, seconds / 2, 0)
        energy = measuring.metered(runs, self._batch, seconds / 2)
        return tuple(
            Network(
                name=one.name,
                runtime=one.runtime,
                size=one.size,
                macs=one.macs,
                bytes=one.file.stat().st_size,
                compressed_bytes=len(zlib.compress(one.file.read_bytes())),
                accuracy=self.images.accuracy(one.logits),
                agreement=agreement(one.logits, right),
                load_seconds=measuring.median(loads[number]),
                load_speedup=measuring.ratio(loads[0], loads[number]),
                peak_bytes=one.peak_bytes,
                latencies=latencies[number],
                energy_images=tuple(energy[number][0]),
                energy=tuple(energy[number][1]),
            )
            for number, one in enumerate(stored)
        )


def peak(runtime: str, file: Path, shape: Sequence[int]) -> int | None:
    """The peak of the memory, in bytes, of a process that does nothing but answer to a batch of
    `shape`: see `sdd.deployment.runtimes`."""
    batch, channels, pixels, _ = shape
    words = [runtime, str(file), *map(str, (batch, channels, pixels))]
    told = subprocess.run(
        [sys.executable, "-m", "sdd.deployment.runtimes", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout.split()
    return int(told[0]) if told else None
