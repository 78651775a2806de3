"""Which kernels are the fastest on this processor, and what to enter in sdd/machine/processor.py.

Every instruction set is measured in processes of its own, which take turns; a lowered processor
says what LeNet costs there, but it is no other processor. Its own line is the last one's.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import kernels
import pytest
import torch

import sdd
from sdd.machine.processor import cpu_vendor, kernels_of

# Where the process finds the library, and the modules that benchmarks share.
PATH = (Path(sdd.__file__).parent.parent, Path(kernels.__file__).parent)
TURNS = 3
# What holds torch, oneDNN and MKL down. MKL does not follow on processors of other vendors.
LOWERED = {
    "DEFAULT": ("default", "SSE41", "SSE4_2"),
    "AVX2": ("avx2", "AVX2", "AVX2"),
}


def measure(capability: str, own: str) -> dict[str, list[float]]:
    """Ratios under an instruction set, `own` being the processor's best."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, PATH)),
        "OMP_NUM_THREADS": "1",
    }
    if capability != own:
        keys = "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"
        environment |= dict(zip(keys, LOWERED[capability], strict=True))
    done = subprocess.run(
        [sys.executable, kernels.__file__], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_kernels_of_this_processor(show):
    own = torch.backends.cpu.get_cpu_capability()
    if own not in {*LOWERED, "AVX512"}:
        pytest.skip(f"{own}: only processors with x86's instruction sets are in the table")
    capabilities = [name for name in LOWERED if name != own] + [own]
    if own == "DEFAULT":
        capabilities = [own]
    pooled: dict[str, dict[str, list[float]]] = {name: {} for name in capabilities}
    for _ in range(TURNS):
        for name in capabilities:
            for pair, values in measure(name, own).items():
                pooled[name].setdefault(pair, []).extend(values)
    show(
        f"How many times as long the first side takes, one thread, {TURNS} processes of "
        f"{kernels.TURNS} turns each (processor time)",
        [
            {"pair": pair} | {name: _spread(pooled[name][pair]) for name in capabilities}
            for pair in pooled[own]
        ],
    )
    vendor = cpu_vendor()
    lines = [
        {"": "in the table", "kernels": kernels_of(vendor, own)},
        {"": "measured", "kernels": f'("{vendor}", "{own}"): {kernels.choose(pooled[own])},'},
    ]
    show("What sdd/machine/processor.py says, and what to enter there", lines)
    for name in capabilities:
        dense = pooled[name]["lenet-300-100, dense: plain / ours"]
        # Five per cent are what such a ratio varies by on shared cores.
        assert statistics.median(dense) >= 0.95, f"{name}: slower than the plain loop"


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
