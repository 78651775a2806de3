"""Which kernels a processor gets: by facts, from the table."""

import pytest

from sdd.machine.processor import MEASURED, UNKNOWN, cpu_vendor, kernels_of


def test_an_unknown_processor_gets_torchs_own_products():
    assert kernels_of("GenuineIntel", "AVX512") != UNKNOWN
    for vendor, instructions in (
        ("GenuineIntel", "DEFAULT"), ("HygonGenuine", "AVX2"), (None, "DEFAULT"), (None, "AVX512"),
    ):  # fmt: skip
        assert kernels_of(vendor, instructions) == UNKNOWN
    assert UNKNOWN.onednn_from is None and not UNKNOWN.channels_last


def test_what_published_rounds_were_multiplied_with():
    """On the processors of both kinds that LeNet was studied on: other kernels are other bits."""
    for vendor in ("GenuineIntel", "AuthenticAMD"):
        kernels = kernels_of(vendor, "AVX512")
        assert kernels.onednn_from == 10_000
        assert (kernels.sparse_below, kernels.sparse_below_onednn) == (0.4, 0.25)


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
