"""What tables and figures say of deployed models."""

import math

import pandas as pd
import pytest
from builders import build, draw
from deployment.made_deployments import RUNTIMES, rows
from matplotlib.colors import to_rgba
from synthetic import tiny

from sdd.report import figure_writer, table_writer
from sdd.report.readable import readable
from sdd.report.sparsity_axis import spread
from sdd.report.style import looks
from sdd.study.settings import EarlyStopping

RULE = EarlyStopping(patience=2, tolerance=1.0)


@pytest.fixture
def study():
    """Two seeds of the base weight decay and of others; its best and dense rounds deployed."""
    frame = tiny()
    base = frame[(frame.teacher == "none") & (frame.weight_decay == 1e-4)].chain.unique()
    chosen = [(chain, *one) for chain in base for one in (("best", 5), ("dense", 0))]
    made = [rows(chain, which, number) for chain, which, number in chosen]
    return frame, pd.concat(made, ignore_index=True)


def row_of(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    (row,) = (row for _, row in frame.iterrows())
    return row


def test_a_row_for_every_network(study):
    table = build("deployment", study[0], RULE, study[1])
    assert len(table) == 2 * len(RUNTIMES) and set(table.n) == {2}
    small = row_of(table, which="best", network="deployed", runtime="onnxruntime")
    assert (small.deployed_round_mean, small.batch64_speedup, small.frugality) == (5, 3, 3)
    assert (small.batch64_speedup_turns_low, small.batch64_speedup_turns_high) == pytest.approx(
        (2.4, 3.6)
    )
    # The whole chain of seven rounds, of 3 g at 445 g a kWh, by 2e-6 kWh in 1,000 images.
    assert small.break_even_images == pytest.approx(7 * 3 / 445 / 2e-9)
    first = row_of(table, which="dense", network="deployed", runtime="onnxruntime")
    assert first.break_even_images == pytest.approx(3 / 445 / 2e-9)  # its own training alone
    others = table[table.network != "deployed"]
    assert others.break_even_images.isna().all()


def test_it_is_read_with_every_ratios_range(study):
    frame, made = study
    header, *lines = readable(build("deployment", frame, RULE, made))
    small = dict(zip(header, next(line for line in lines if "deployed" in line), strict=True))
    assert small["times as fast, batch 1"] == "3.00"
    assert small["times as fast, batch 1: over turns"] == "2.40 to 3.60"
    assert "peak memory [bytes]" not in small  # nobody measured it
    nothing = made.assign(saved_kwh_1000_low=-1.0)
    header, *lines = readable(build("deployment", frame, RULE, nothing))
    paid = header.index("training paid back after [images]")
    assert {line[paid] for line in lines if "deployed" in line} == {"never"}


def test_tables_1_and_2_get_a_column_where_something_is_deployed(study):
    frame, made = study
    for name in ("table1_l2", "table2_distillation"):
        assert "break_even_images" not in build(name, frame, RULE)
        vanilla, *others = build(name, frame, RULE, made).break_even_images
        # Without early stopping it is the best round that is kept, of a whole chain.
        assert vanilla == pytest.approx(7 * 3 / 445 / 2e-9)
        # What early stopping keeps is not among the deployed rounds.
        assert others and all(math.isnan(other) for other in others)
        header, *lines = readable(build(name, frame, RULE, made))
        paid = header.index("training paid back after [images]")
        assert [line[paid] for line in lines][1:] == ["not measured"] * len(others)


def test_the_figure_has_a_mark_for_every_deployed_round(study):
    frame, made = study
    figure = draw("figure_deployment", frame, RULE, deployments=made)
    assert len(figure.axes) == 4  # of one model and data set
    names = [pair for pair in RUNTIMES if pair != ("dense", "torch")]
    colors = looks(names, "colorblind")
    for axes in figure.axes:
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert [to_rgba(m.get_color()) for m in marks] == [to_rgba(colors[n].color) for n in names]
        for line in marks:
            assert sorted(set(line.get_xdata())) == pytest.approx([0, spread(100 * (1 - 0.8**5))])
            assert len(line.get_xdata()) == 4
        assert axes.get_yscale() == "log"
    speeds = {line.get_label(): set(line.get_ydata()) for line in figure.axes[0].lines}
    assert speeds["deployed, onnxruntime"] == {3} and speeds["masked, torch"] == {1}


def test_both_are_written(study, tmp_path):
    frame, made = study
    table = build("deployment", frame, RULE, made)
    table_writer.write(table, tmp_path / "deployment")
    again = pd.read_csv(tmp_path / "deployment.csv")
    pd.testing.assert_frame_equal(again, table, check_dtype=False, rtol=1e-12)
    lines = (tmp_path / "deployment.md").read_text().splitlines()
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    figure_writer.write(
        draw("figure_deployment", frame, RULE, deployments=made), tmp_path / "figure_deployment"
    )
    assert (tmp_path / "figure_deployment.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("make", "name"), [(build, "deployment"), (draw, "figure_deployment")])
def test_without_deployed_models_there_is_nothing_to_show(make, name):
    with pytest.raises(ValueError, match=r"deployment\.rounds is empty"):
        make(name, tiny(), RULE)
