import dataclasses
import io
import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from builders import draw
from matplotlib.text import Text
from synthetic import chain, metrics, study

from sdd.analysis.collected import chains
from sdd.analysis.paper import HE
from sdd.base import names
from sdd.base.layout import data_of
from sdd.report.catalogue import FIGURES
from sdd.report.figure_writer import write
from sdd.report.figures.distillation import TEACHER
from sdd.report.figures.weights import Weights, histograms, kept_weights
from sdd.report.material import Material
from sdd.report.sparsity_axis import spread
from sdd.sparsity.checkpoint import write_checkpoint
from sdd.study.metrics import write_metrics
from sdd.study.settings import EarlyStopping, Pruning, Recipe
from sdd.study.specs import RoundSpec

RULE = EarlyStopping(patience=3, tolerance=1.0)
# Of rounds.csv alone; deployed models are in test_deployed.
NAMES = [name for name in FIGURES if name not in ("figure4_weights", "figure_deployment")]


def weights():
    random = np.random.default_rng(0)
    for seed in (1, 2):
        for weight_decay, scale in ((1e-4, 0.06), (1e-2, 0.02)):
            values = scale * random.standard_normal(5000)
            yield Weights(weight_decay, 0.0, values, seed)
            kept = values[np.abs(values) > 0.65 * scale]
            yield Weights(weight_decay, 48.8, kept, seed)


def lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn_and_written(name, seeds, tmp_path):
    figure = draw(name, study(seeds), RULE)
    write(figure, tmp_path / "figures" / name)
    bands = sum(len(axes.collections) for axes in figure.axes)
    assert (bands > 0) == (len(seeds) > 1)
    png = (tmp_path / "figures" / f"{name}.png").read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 10_000
    assert (tmp_path / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_files_are_the_same_byte_for_byte(tmp_path):
    """In another process, too: no dates, no order of sets, no random names of fonts."""
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from builders import draw\nfrom synthetic import study\n"
        "from sdd.report.figure_writer import write\n"
        "from sdd.study.settings import EarlyStopping\n"
        "drawn = draw('figure3_l2', study(), EarlyStopping(3, 1.0))\n"
        "write(drawn, sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "a", *sys.path], check=True)
    write(draw("figure3_l2", study(), RULE), tmp_path / "b")
    for suffix in (".png", ".pdf"):
        first, second = ((tmp_path / f"{stem}{suffix}").read_bytes() for stem in "ab")
        assert first == second


def test_the_legend_says_when_a_seed_has_ended_before_the_others():
    frame = study()
    ended = (frame.seed == 2) & (frame["round"] > 5)
    frame.loc[ended, [c for c in frame if c.startswith("test_")]] = np.nan
    for rounds, seeds in ((study(), "2 seeds"), (frame, "1 to 2 seeds")):
        figure = draw("figure2_occurrence", rounds, RULE)
        texts = [t.get_text() for t in figure.findobj(Text)]
        assert f"mean and 95 % confidence interval of {seeds}" in texts


def test_a_line_is_the_mean_over_seeds():
    frame = study()
    figure = draw("figure2_occurrence", frame, RULE)
    axes = next(a for a in figure.axes if a.get_title() == "lenet-300-100, mnist-5k")
    (line,) = lines(axes, "40 % symmetric noise")
    chosen = frame[(frame.experiment == "occurrence") & (frame.noise == "symmetric-0.4")]
    expected = [chosen[chosen["round"] == r].test_accuracy.mean() for r in range(29)]
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_a_band_is_the_interval_of_the_mean_within_what_an_accuracy_can_be():
    frame = pd.concat([chain(seed=seed, jitter=3, dense=97) for seed in (1, 2, 3)])
    figure = draw("figure2_occurrence", frame, RULE)
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    for number, place in ((0, spread(0)), (18, spread(100 * (1 - 0.8**18)))):
        values = frame[frame["round"] == number].test_accuracy
        low, high = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
        ends = corners[np.isclose(corners[:, 0], place), 1]
        assert (ends.min(), ends.max()) == pytest.approx((low, min(high, 100)))
        assert (high > 100) == (number == 0)


def test_files_are_replaced_and_not_written_in_place(tmp_path):
    for suffix in ("png", "pdf"):
        (tmp_path / f"old.{suffix}").write_text("as it was")
        (tmp_path / f"f.{suffix}").hardlink_to(tmp_path / f"old.{suffix}")
    write(draw("figure2_occurrence", chain(), RULE), tmp_path / "f")
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"old.{suffix}").read_text() == "as it was"
        assert (tmp_path / f"f.{suffix}").stat().st_size > 5000
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", NAMES)
def test_only_some_figures_need_the_rule_of_early_stopping(name):
    material, entry = Material(chains(study()), palette="colorblind"), FIGURES[name]
    if "early_stopping" in entry.uses:
        with pytest.raises(ValueError, match="no rule of early stopping"):
            names.load(entry.builder)(material)
    else:
        names.load(entry.builder)(material).savefig(io.BytesIO())


def models(count, rounds):
    """As many panels: a plain chain of as many models."""
    return pd.concat(
        [chain(model=f"model{n}", rounds=rounds, seed=s) for n in range(count) for s in (1, 2)]
    )


@pytest.mark.parametrize("rounds", [2, 4, 8, 11, 15, 26, 32, 40])
@pytest.mark.parametrize("panels", [1, 2, 3, 4, 7])
def test_labels_of_sparsities_have_room(panels, rounds):
    figure = draw("figure2_occurrence", models(panels, rounds), RULE)
    figure.draw_without_rendering()
    for axes in figure.axes[:panels]:
        left, right = axes.get_xlim()
        labels = [
            label.get_window_extent()
            for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            if label.get_text() and left <= tick <= right
        ]
        assert len(labels) >= 2
        gaps = [b.x0 - a.x1 for a, b in itertools.pairwise(labels)]
        assert min(gaps) * 72 / figure.dpi > 1  # points


def test_sparsities_that_are_labeled():
    def labels(rounds, panels=1):
        figure = draw("figure2_occurrence", models(panels, rounds), RULE)
        figure.draw_without_rendering()
        return [label.get_text() for label in figure.axes[0].get_xticklabels()]

    assert labels(4) == ["0", "10", "20", "30", "40"]  # up to 48.8 %
    whole = ["0", "", "50", "80", "90", "95", "99", "99.5", "99.8", "99.9"]
    assert labels(32) == whole
    short = dict.fromkeys(["99.5", "99.8"], "")
    assert labels(32, panels=3) == [short.get(label, label) for label in whole]


def test_every_round_is_equally_wide():
    steps = np.diff(spread(100 * (1 - 0.8 ** np.arange(30))))
    np.testing.assert_allclose(steps, steps[0])
    np.testing.assert_allclose(spread([0, 90, 99]), [0, 1, 2], atol=1e-12)


def pruned_to_nothing(frame, last=2):
    """The same rounds, of whose chains the `last` have no weight left."""
    ends = frame["round"] > frame["round"].max() - last
    return frame.assign(
        sparsity=frame.sparsity.mask(ends, 100.0), weights_kept=frame.weights_kept.mask(ends, 0)
    )


@pytest.mark.parametrize("name", NAMES)
def test_rounds_without_a_weight_are_shown_at_the_end_and_named(name):
    figure = draw(name, pruned_to_nothing(study()), RULE)
    figure.draw_without_rendering()
    for axes in (axes for axes in figure.axes if axes.get_xlabel()):
        assert axes.get_xlabel() == "sparsity [%] (100: no weight is left)"
        (line, *_) = axes.get_lines()
        x = line.get_xdata()
        assert np.isfinite(x).all() and x[-1] == max(x) < axes.get_xlim()[1]
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels[-1] == "100" and axes.get_xticks()[-1] == x[-1]


def test_a_chain_of_nothing_but_rounds_without_a_weight_and_the_dense_one():
    frame = pruned_to_nothing(chain(rounds=3))
    for name in ("figure1_phenomenon", "figure2_occurrence"):
        draw(name, frame, RULE).draw_without_rendering()


def test_weights_of_a_round_that_has_none():
    nothing = [Weights(decay, 100.0, np.array([]), 1) for decay in (1e-4, 1e-2)]
    figure = histograms([*weights(), *nothing], "colorblind")
    figure.draw_without_rendering()
    assert figure.axes[-1].get_title() == "100 % of the weights pruned: none is left"
    assert not figure.axes[-1].has_data()


def test_phenomenon_shows_the_noisiest_setting_and_names_its_phases():
    (axes,) = draw("figure1_phenomenon", study(), RULE).axes
    assert "40 % symmetric noise" in axes.get_title()
    assert [text.get_text() for text in axes.texts] == ["light", "critical", "sweet", "collapsed"]


def test_a_network_that_never_interpolates_has_no_end_of_interpolation():
    frame = chain()
    (axes,) = draw("figure1_phenomenon", frame, RULE).axes
    assert lines(axes, "end of interpolation")
    never = frame.assign(train_accuracy=frame.train_accuracy - 2)
    for without in (never, chain(rounds=4)):  # the latter interpolates to its last round
        (axes,) = draw("figure1_phenomenon", without, RULE).axes
        assert not lines(axes, "end of interpolation")


def test_published_points_stand_beside_the_same_setting():
    figure = draw("figure2_occurrence", study(), RULE)
    marked = {a.get_title() for a in figure.axes if lines(a, HE)}
    assert marked == {"resnet18, cifar10\nweight rewinding"}


def test_the_teachers_own_curve_is_shown_if_it_is_another_model():
    figure = draw("figure5_distillation", study(), RULE)
    shown = {a.get_title().split(",")[0]: bool(lines(a, TEACHER)) for a in figure.axes}
    assert shown == {"vgg-5-5-averaged": True, "lenet-300-100": False}


def test_a_teacher_from_outside_has_a_line_and_changes_no_other():
    taught = chain(teacher="outside", teacher_model="resnet18", teacher_objective="mine", dense=90)
    for frame, last in ((study(), 2), (pd.concat([study(), taught]), 3)):
        figure = draw("figure5_distillation", frame, RULE)
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        named = [label for label in labels if label.startswith(("student", "distilled"))]
        assert len(named) == last + 1
    assert named[-1] == "distilled from a teacher from outside"


def test_students_of_students_have_panels_whose_titles_do_not_touch():
    student = {"teacher": "best", "teacher_model": "lenet-300-100", "teacher_chain": "elsewhere"}
    of_students = [f"kd-lenet-300-100-{which}-wd0.0001" for which in ("dense", "best")]
    parts = [chain(teacher_objective=o, **student) for o in ("ce-wd0.0001", *of_students)]
    figure = draw("figure5_distillation", pd.concat([chain(), *parts]), RULE)
    figure.draw_without_rendering()
    titles = [axes.title for axes in figure.axes]
    wrapped = [title.get_text().replace("\n", "").replace(" ", "") for title in titles]
    assert [w.rpartition("objective")[2] for w in wrapped] == [
        "ce-wd0.0001", "kd-lenet-300-100-best-wd0.0001", "kd-lenet-300-100-dense-wd0.0001",
    ]  # fmt: skip
    extents = [title.get_window_extent() for title in titles]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(extents))


def test_weights(tmp_path):
    figure = histograms(list(weights()), "colorblind")
    write(figure, tmp_path / "figure4_weights")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["unpruned", "48.8 % of the weights pruned"]
    # Densities: both areas are 1, whatever lies outside the axes aside.
    for axes in figure.axes:
        assert axes.collections
        for outline in axes.collections:
            x, y = outline.get_paths()[0].vertices.T
            area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
            assert area == pytest.approx(1, abs=0.002)


def test_a_short_chain_and_one_that_ended_early():
    frame = study()
    frame.loc[(frame["round"] > 20) & (frame.seed == 2), "test_accuracy"] = np.nan
    for rounds in (frame, frame[frame["round"] < 3]):
        for name in NAMES:
            draw(name, rounds, RULE).draw_without_rendering()


@pytest.mark.parametrize(
    "name", ["figure3_l2", "figure5_distillation", "figure_l2_ablation", "figure_methods"]
)
def test_nothing_to_show(name):
    with pytest.raises(ValueError, match=name):
        draw(name, chain(), RULE)


@pytest.mark.parametrize("name", ["figure1_phenomenon", "figure2_occurrence", "figure_diagnostics"])
def test_nothing_to_show_without_a_plain_chain(name):
    students = study()
    with pytest.raises(ValueError, match=name):
        draw(name, students[students.teacher != "none"], RULE)


def test_weights_that_are_not_there():
    with pytest.raises(ValueError, match="figure4_weights"):
        histograms([], "colorblind")


def test_weights_are_those_at_the_smallest_weight_decay_and_lambda_opt(tmp_path):
    """Read from the rounds' files; a round that was not trained shows nothing."""
    frame, files, recipe = study((1,)), [], Recipe("sgd", 0.1, 0.0, 128, 1, "constant")
    l2 = frame[frame.experiment == "l2"]
    for name, chain_rounds in l2.groupby("chain"):
        decayed = dataclasses.replace(recipe, weight_decay=float(chain_rounds.weight_decay.iloc[0]))
        for number in (0, 3, 4):
            path = tmp_path / name / f"round{number:02d}" / "metrics.json"
            spec = RoundSpec(name, number, "lenet-300-100", decayed, 1, Pruning())
            state = {"weight": np.array([0.5, 0.0, -0.25, number], np.float32)}
            path.parent.mkdir(parents=True)
            digest = write_checkpoint(data_of(path), state, {"weight": state["weight"] != 0})
            accuracy = 70.0 if number < 4 else None
            write_metrics(path, metrics(spec, accuracy, weights_sha256=digest))
            files.append(path)
    kept = kept_weights(Material(chains(frame), RULE, "colorblind", tuple(files)))
    pruned_otherwise = frame.assign(dense_chain=frame.chain, chain="other/" + frame.chain)
    again = kept_weights(Material(chains(pruned_otherwise), RULE, "colorblind", tuple(files)))
    assert len(again) == len(kept)
    assert {(w.weight_decay, round(w.sparsity, 1), len(w.values)) for w in kept} == {
        (1e-4, 0.0, 2), (1e-4, 48.8, 3), (1e-2, 0.0, 2), (1e-2, 48.8, 3),
    }  # fmt: skip
    figure = draw("figure4_weights", frame, RULE, weights=tuple(files))
    assert len(figure.axes) == 2


def test_titles_say_where_the_noise_is_unknown():
    unchecked = {"train_clean_accuracy": np.nan, "noise_rate": np.nan}
    given, mild, strong = (
        chain(dataset="own", noise=noise).assign(**unchecked)
        for noise in ("given", "symmetric-0.2", "symmetric-0.4")
    )
    (axes,) = draw("figure1_phenomenon", given, RULE).axes
    assert axes.get_title().endswith("own, labels as given, true rate unknown")
    # What was put in is known, and chooses the noisiest.
    (axes,) = draw("figure1_phenomenon", pd.concat([given, mild, strong]), RULE).axes
    assert axes.get_title().endswith("own, 40 % symmetric noise, true rate unknown")
    figure = draw("figure2_occurrence", pd.concat([given, chain()]), RULE)
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert "labels as given, true rate unknown" in texts and "40 % symmetric noise" in texts


def test_the_points_of_others_are_not_drawn_over_a_subset():
    setting = {"noise": "symmetric-all-0.2", "model": "resnet18", "retraining": "weight-rewinding"}
    whole, part = (
        draw("figure2_occurrence", chain(dataset=name, **setting), RULE)
        for name in ("cifar10", "cifar10-5000")
    )
    drawn = [
        {text.get_text() for text in figure.legends[0].get_texts()} for figure in (whole, part)
    ]
    assert drawn[0] - drawn[1] == {"He et al. 2022, read off"}
