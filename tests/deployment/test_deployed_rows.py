"""From what jobs leave to deployments.csv, and after how many answers a training is paid back."""

import math

import pandas as pd
import pytest
from made_deployments import deployment, network, rows
from synthetic import rounds

from sdd.analysis.collected import chains
from sdd.base.errors import DataError
from sdd.base.files import write_json
from sdd.base.layout import Layout
from sdd.base.records import to_dict
from sdd.deployment import collecting
from sdd.deployment.break_even import break_even
from sdd.deployment.specs import DeploymentsSpec

CHAIN = "mnist-5k/symmetric-0.4/lenet-300-100/ce-wd0.0001/seed1"
FILES = Layout("synthetic")
SPEC = DeploymentsSpec("synthetic", None)


def collect(folder, networks, spec=SPEC, made_of=None):
    """Of one round, which is two of those that were asked for."""
    paths = []
    for which in ("best", "sparsest"):
        path = folder / FILES.deployed(CHAIN, which).facts
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, to_dict(deployment(CHAIN, made_of or which, 3, networks)))
        paths.append(path)
    output = folder / FILES.deployments
    collecting.collect(spec, paths, output)
    return collecting.read(output)


NETWORKS = (
    network("dense", "torch", kwh=(8.0, 10.0), size=2000),
    network("dense", "onnxruntime", kwh=(4.0, 6.0)),
    network("deployed", "onnxruntime", kwh=(2.0, 1.0), speedup=5.0, macs=100, size=500),
)


def test_energy_and_ratios_by_hand(tmp_path):
    frame = collect(tmp_path, NETWORKS)
    assert frame.which.tolist() == ["best"] * 3 + ["sparsest"] * 3
    dense, like, small = (row for _, row in frame.head(3).iterrows())
    # Half a turn is 1,000 images.
    assert small.energy_kwh_1000 == pytest.approx((2 + 1) / 2 / 2)
    assert small.co2_g_1000 == pytest.approx(400 * small.energy_kwh_1000)
    assert (small.frugality, small.frugality_low, small.frugality_high) == (7, 4, 10)
    # Against the dense network in the same runtime, turn by turn: 1 and 2.5 kWh.
    assert (small.saved_kwh_1000, small.saved_kwh_1000_low) == (1.75, 1)
    assert (like.saved_kwh_1000, dense.frugality) == (0, 1)
    assert (small.smaller, like.smaller, dense.smaller) == (4, 2, 1)
    assert (small.batch8_speedup, small.batch8_speedup_high) == pytest.approx((5, 5.5))
    assert pd.isna(small.batch8_p99_seconds) and small.batch8_p95_seconds == 0.02
    assert pd.isna(small.peak_bytes)


def test_the_studys_carbon_intensity_counts(tmp_path):
    frame = collect(tmp_path, NETWORKS, DeploymentsSpec("synthetic", 50.0))
    assert (frame.co2_g_1000 / frame.energy_kwh_1000).tolist() == pytest.approx([50] * 6)


def test_what_was_not_measured_is_empty(tmp_path):
    unknown = (*NETWORKS[:2], network("deployed", "onnxruntime", kwh=(None, 1.0)))
    frame = collect(tmp_path, unknown)
    small = frame[frame.network == "deployed"]
    energy = ["energy_kwh_1000", "co2_g_1000", "frugality", "saved_kwh_1000", "saved_kwh_1000_low"]
    assert small[energy].isna().all(axis=None) and small.batch1_speedup.notna().all()
    assert frame[frame.network == "dense"].energy_kwh_1000.notna().all()


def test_an_altered_table_and_another_round_are_refused(tmp_path):
    collect(tmp_path, NETWORKS)
    path = tmp_path / FILES.deployments
    path.write_text(path.read_text().replace("best", "dense"))
    with pytest.raises(DataError, match=r"was altered: it does not match deployments\.json"):
        collecting.read(path)
    with pytest.raises(DataError, match="is of the dense round of"):
        collect(tmp_path, NETWORKS, made_of="dense")


# --- Paid back ---


def study(**settings):
    """A chain of seven rounds and its student, of 3 g and so 3 / 445 kWh each."""
    base = rounds([70, 70, 60, 55, 60, 72, 50])
    student = rounds([80] * 7, teacher="best", teacher_model="lenet-300-100",
                     teacher_chain=base.chain[0], **settings)  # fmt: skip
    return chains(pd.concat([base, student], ignore_index=True)), base.chain[0], student.chain[0]


def kept(chain, kept_round=5, last_round=6):
    return pd.DataFrame({"chain": [chain], "kept_round": [kept_round], "last_round": [last_round]})


def test_paid_back_by_hand():
    frame, base, student = study()
    made = pd.concat([rows(chain, "best", 5) for chain in (base, student)])
    a_round = 3 / 445
    # 2e-6 kWh are saved in 1,000 images.
    assert break_even(kept(base), frame, made) == pytest.approx(7 * a_round / 2e-9)
    assert break_even(kept(base, 5, 5), frame, made) == pytest.approx(6 * a_round / 2e-9)
    # The best teacher's whole chain counts.
    assert break_even(kept(student), frame, made) == pytest.approx(14 * a_round / 2e-9)


def test_over_seeds_means_are_compared():
    one, two = rounds([70] * 7), rounds([70] * 7, seed=2)
    frame = chains(pd.concat([one, two], ignore_index=True))
    made = pd.concat([rows(one.chain[0], "best", 5), rows(two.chain[0], "best", 5, saved=4e-6)])
    both = pd.concat([kept(one.chain[0]), kept(two.chain[0])])
    assert break_even(both, frame, made) == pytest.approx(7 * 3 / 445 / 3e-9)


@pytest.mark.parametrize("nothing", [{"lowest": -1e-9}, {"lowest": 0.0}, {"macs": 266_200}])
def test_never_where_nothing_is_saved(nothing):
    frame, base, _ = study()
    assert break_even(kept(base), frame, rows(base, "best", 5, **nothing)) == math.inf


def test_unknown_where_something_is():
    frame, base, _ = study()
    made = rows(base, "best", 5)
    assert math.isnan(break_even(kept(base, kept_round=4), frame, made))  # not deployed
    assert math.isnan(break_even(kept(base), frame, made.assign(saved_kwh_1000=math.nan)))
    unmetered = frame.assign(energy_kwh=frame.energy_kwh.where(frame["round"] != 2))
    assert math.isnan(break_even(kept(base), unmetered, made))
    assert break_even(kept(base, 5, 1), unmetered, made) > 0
