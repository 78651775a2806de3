"""Peak memory of a training on 45,000 photographs of CIFAR's shape, in a process of its own.

A short training takes as much memory as a long one: every step frees what it
took, and a few batches are enough to see the peak. Processes that keep what they free, as jobs do
(`devices.keep_memory`), take turns with processes that give it back.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import photographs
import pytest

import sdd

# Where the process finds the library, and the modules that benchmarks share.
PATH = (Path(sdd.__file__).parent.parent, Path(photographs.__file__).parent)
COUNT, WARM_UP, STEPS, TURNS = 45_000, 4, 4, 3
PHOTOGRAPHS_MB = COUNT * 3 * 32 * 32 / 1e6

# Prints what the process has taken at most, after each stage.
PROGRAM = f"""
import json, multiprocessing, re, time
from pathlib import Path
import photographs
import torch
from sdd.machine import devices
from sdd.sparsity.masks import dense_masks
from sdd.training.loop import cross_entropy, train

if KEPT:
    devices.keep_memory()

def peak():
    # Of this program alone: ru_maxrss would start with what the process had that started it.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1000

stages = {{"python and torch": peak()}}
images = photographs.make({COUNT})
stages["the data set"] = peak()
samples, model = photographs.place(images), photographs.build(NAME)
labels = torch.arange({COUNT}) % 10

class Enough(Exception):
    pass

steps, entropy = iter(range({WARM_UP + STEPS})), cross_entropy(labels)

def objective(logits, batch):
    global started
    step = next(steps, None)
    if step == {WARM_UP}:
        started = time.process_time()
    if step is None:
        raise Enough
    return entropy(logits, batch)

try:
    train(
        model, dense_masks(model), samples, labels, labels, photographs.RECIPE, objective,
        generator=torch.Generator().manual_seed(0), report=lambda _: None,
    )
except Enough:
    step_s = (time.process_time() - started) / {STEPS}
stages["training"] = peak()
assert samples.images.data_ptr() == images.ctypes.data and not multiprocessing.active_children()
print(json.dumps([stages, step_s]))
"""


def train(name: str, kept: bool) -> tuple[dict[str, float], float]:
    """Peak memory, in MB, until the end of each stage, and the processor seconds of a step."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("NAME", repr(name)).replace("KEPT", repr(kept))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, PATH)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["vgg-5-5", "resnet18"])
def test_the_data_set_is_in_memory_once(name, show):
    turns = [(train(name, True), train(name, False)) for _ in range(TURNS)]
    (peaks, _), (given_back, _) = turns[0]
    show(
        f"Peak memory of {name}: {COUNT:,} photographs, batches of 128, one process",
        [{"until the end of": stage, "MB": f"{mb:.0f}"} for stage, mb in peaks.items()]
        + [{"until the end of": "of it the data set", "MB": f"{PHOTOGRAPHS_MB:.0f}"}]
        + [{"until the end of": "freed memory given back", "MB": f"{given_back['training']:.0f}"}],
    )
    ratios = sorted(kept_s / given_back_s for (_, kept_s), (_, given_back_s) in turns)
    show(
        f"A step of {name} that keeps freed memory / one that gives it back, {TURNS} turns",
        [{"ratio": f"{ratios[TURNS // 2]:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"}],
    )
    # The program itself checks that training reads the very array, and that no process was started.
    assert peaks["the data set"] - peaks["python and torch"] < 1.1 * PHOTOGRAPHS_MB
