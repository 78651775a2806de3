"""Which kernels are the fastest on which processor: a small table of measurements.

Facts decide, never the time that something takes now: one machine always makes the same bits.

To add a processor, run `python -m pytest tests/benchmarks/sparsity/test_processor.py` on it, alone,
and enter the line that it prints.
"""

from dataclasses import dataclass
from pathlib import Path

from sdd.machine.power import cpu_field


@dataclass(frozen=True)
class Kernels:
    """What multiplies the layers of a network; another choice rounds sums in another order."""

    # A dense linear layer of so many weights or more is multiplied by oneDNN; None: all by torch.
    onednn_from: int | None
    # The share of kept weights below which sparse products are faster than torch's dense one ...
    sparse_below: float
    # ... and than oneDNN's.
    sparse_below_onednn: float
    # Whether images and convolutions are laid out with channels last.
    channels_last: bool


# By the vendor in /proc/cpuinfo, and the instruction set as torch reports it. A processor that is
# held down to fewer instructions (ATEN_CPU_CAPABILITY) is not one that has no more, nor one of
# another vendor: nothing here was measured on such a one.
MEASURED = {
    # oneDNN takes 1.2 to 1.5 times as long as torch.
    ("GenuineIntel", "AVX512"): Kernels(None, 0.15, 0.2, channels_last=True),
    # oneDNN is the faster one here.
    ("AuthenticAMD", "AVX512"): Kernels(10_000, 0.4, 0.25, channels_last=True),
    # oneDNN takes 1.1 to 1.9 times as long as torch. Layouts and the share were not measured; at
    # this one an Intel held down to AVX2 gains from sparse products.
    ("AuthenticAMD", "AVX2"): Kernels(None, 0.2, 0.2, channels_last=False),
}
# Of any other processor: torch's own, but where hardly any weight is left to multiply with.
UNKNOWN = Kernels(None, 0.05, 0.05, channels_last=False)


def kernels_of(vendor: str | None, instruction_set: str) -> Kernels:
    return MEASURED.get((vendor or "", instruction_set), UNKNOWN)


def cpu_vendor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """GenuineIntel, AuthenticAMD, ... as Linux knows it on x86; None elsewhere."""
    return cpu_field("vendor_id", cpuinfo)
