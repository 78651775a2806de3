"""Which kernels a processor gets: by facts, from the table."""

import pytest

from sdd.machine.processor import MEASURED, UNKNOWN, Kernels, cpu_vendor, kernels_of


def test_an_unknown_processor_gets_torchs_own_products():
    assert kernels_of("GenuineIntel", "AVX512") != UNKNOWN
    for vendor, instructions in (
        ("GenuineIntel", "DEFAULT"), ("HygonGenuine", "AVX2"), (None, "DEFAULT"), (None, "AVX512"),
    ):  # fmt: skip
        assert kernels_of(vendor, instructions) == UNKNOWN
    assert UNKNOWN.onednn_from is None and not UNKNOWN.channels_last


@pytest.mark.parametrize(
    ("vendor", "instructions", "kernels"),
    [
        ("GenuineIntel", "AVX512", Kernels(None, 0.15, 0.2, channels_last=True)),
        ("AuthenticAMD", "AVX512", Kernels(10_000, 0.4, 0.25, channels_last=True)),
    ],
)
def test_what_published_rounds_were_multiplied_with(vendor, instructions, kernels):
    """Other kernels are other bits: whoever changes a line runs the published studies again."""
    assert kernels_of(vendor, instructions) == kernels


@pytest.mark.parametrize("kernels", [*MEASURED.values(), UNKNOWN])
def test_sparse_products_win_where_they_do_at_a_lower_share_of_weights(kernels):
    assert 0 < kernels.sparse_below_onednn <= 0.5 and 0 < kernels.sparse_below <= 0.5


def test_the_vendor_is_the_one_that_linux_names(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: Abacus 9\n")
    assert cpu_vendor(cpuinfo) == "AuthenticAMD"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert cpu_vendor(cpuinfo) is None
    assert cpu_vendor(tmp_path / "missing") is None
