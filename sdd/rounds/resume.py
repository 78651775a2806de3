"""How far a training has come, beside its outputs: a job that was killed goes on from there.

The sidecar is written between two epochs, every so many seconds and on an interrupt, whole or not
at all. It starts with the sha256 of what follows: safetensors, among them the facts as JSON, and
in these the stamp, what the training is made from, which whoever goes on with it must share.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from sdd.base.errors import DataError, DiskFull, Orphaned
from sdd.base.files import canonical, opened, replacing
from sdd.base.records import from_dict, to_dict
from sdd.machine.reading import EnergyReading
from sdd.study.metrics import Epoch
from sdd.training.loop import State

DIGEST = hashlib.sha256().digest_size
FACTS = "facts"


@dataclass(frozen=True)
class Kept:
    """What a sidecar holds: the training's state, and what it took to come there."""

    state: State
    energy: EnergyReading
    runs: int  # jobs that have worked at it


@dataclass(frozen=True)
class Sidecar:
    """The sidecar at `path` of a training that is made from `stamp` and nothing else."""

    path: Path
    stamp: dict[str, Any]
    every_seconds: float
    log: Callable[[str], None]
    orphaned: Callable[[], str | None] = lambda: None  # why the training must not go on

    def read(self) -> Kept | None:
        """What was kept, if it is whole and of this training; otherwise the log says why not."""
        if not self.path.exists():
            return None
        try:
            with opened(self.path) as file:
                content = file.read()
        except DataError as error:
            self.log(f"{error} Until then the training starts over")
            return None
        digest, payload = content[:DIGEST], content[DIGEST:]
        if hashlib.sha256(payload).digest() != digest:
            self.log(f"{self.path} is damaged: the training starts over")
            return None
        tensors = load(payload)
        facts = json.loads(tensors.pop(FACTS).numpy().tobytes()) if FACTS in tensors else {}
        if facts.get("stamp") != canonical(self.stamp):
            self.log(f"{self.path} is of another config, code, version or processor: starts over")
            return None
        history = tuple(from_dict(Epoch, epoch) for epoch in facts["history"])
        self.log(f"goes on after epoch {len(history)}, from {self.path}")
        return Kept(
            State(history, tensors), from_dict(EnergyReading, facts["energy"]), facts["runs"]
        )

    def write(self, kept: Kept) -> None:
        facts = {
            "stamp": canonical(self.stamp),
            "history": [to_dict(epoch) for epoch in kept.state.history],
            "energy": to_dict(kept.energy),
            "runs": kept.runs,
        }
        tensors = {name: tensor.cpu().contiguous() for name, tensor in kept.state.tensors.items()}
        tensors[FACTS] = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
        payload = save(tensors)
        with replacing(self.path) as temporary:
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)

    @contextmanager
    def keeping(
        self, energy: Callable[[], EnergyReading], runs: int
    ) -> Iterator[Callable[[State], None]]:
        """Keeps the states of the training in the block: gives the `keep` of sdd.training.loop.

        `energy` tells what the training has taken so far. An interrupt (SIGINT, SIGTERM) in the
        block writes the last state before it goes on; so does a training that must not go on,
        which raises Orphaned.
        """
        last: State | None = None
        written = time.monotonic()

        def save() -> None:
            try:
                self.write(Kept(last, energy(), runs))
            except DiskFull as error:  # the round's own files, much smaller, may fit
                self.log(f"the training's state is not saved: {error}")

        def keep(state: State) -> None:
            nonlocal last, written
            last = state
            reason = self.orphaned()
            if reason or time.monotonic() - written >= self.every_seconds:
                save()
                written = time.monotonic()
            if reason:
                self.log(f"stops after epoch {len(state.history)}: {reason}")
                raise Orphaned(f"{reason}. The training's state is saved.")

        try:
            yield keep
        except KeyboardInterrupt:
            if last:
                save()
                self.log(f"interrupted after epoch {len(last.history)}")
            raise
