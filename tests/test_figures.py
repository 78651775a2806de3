import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from synthetic import chain, study

from sdd import figures
from sdd.settings import EarlyStopping

RULE = EarlyStopping(patience=3, tolerance=1.0)


def weights():
    random = np.random.default_rng(0)
    for seed in (1, 2):
        for weight_decay, scale in ((1e-4, 0.06), (1e-2, 0.02)):
            values = scale * random.standard_normal(5000)
            yield weight_decay, 0.0, values, seed
            yield weight_decay, 48.8, values[np.abs(values) > 0.65 * scale], seed


def lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
@pytest.mark.parametrize("name", figures.FIGURES)
def test_every_figure_is_drawn_and_written(name, seeds, tmp_path):
    figure = figures.draw(name, study(seeds), palette="colorblind", early_stopping=RULE)
    figures.write(figure, tmp_path / "figures" / name)
    bands = sum(len(axes.collections) for axes in figure.axes)
    assert (bands > 0) == (len(seeds) > 1)
    png = (tmp_path / "figures" / f"{name}.png").read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 10_000
    assert (tmp_path / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_files_are_the_same_byte_for_byte(tmp_path):
    """In another process, too: no dates, no order of sets, no random names of fonts."""
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from synthetic import study\nfrom sdd import figures\n"
        "from sdd.settings import EarlyStopping\n"
        "drawn = figures.draw('figure3_l2', study(), early_stopping=EarlyStopping(3, 1.0))\n"
        "figures.write(drawn, sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "a", *sys.path], check=True)
    figures.write(figures.draw("figure3_l2", study(), early_stopping=RULE), tmp_path / "b")
    for suffix in (".png", ".pdf"):
        first, second = ((tmp_path / f"{stem}{suffix}").read_bytes() for stem in "ab")
        assert first == second


def test_the_legend_says_when_a_seed_has_ended_before_the_others():
    frame = study()
    ended = (frame.seed == 2) & (frame["round"] > 5)
    frame.loc[ended, [c for c in frame if c.startswith("test_")]] = np.nan
    for rounds, seeds in ((study(), "2 seeds"), (frame, "1 to 2 seeds")):
        figure = figures.draw("figure2_occurrence", rounds, early_stopping=RULE)
        texts = [t.get_text() for t in figure.findobj(Text)]
        assert f"mean ± standard deviation of {seeds}" in texts


def test_a_line_is_the_mean_over_seeds():
    frame = study()
    figure = figures.draw("figure2_occurrence", frame, early_stopping=RULE)
    axes = next(a for a in figure.axes if a.get_title() == "lenet-300-100, mnist-5k")
    (line,) = lines(axes, "40 % symmetric noise")
    chosen = frame[(frame.experiment == "occurrence") & (frame.noise == "symmetric-0.4")]
    expected = [chosen[chosen["round"] == r].test_accuracy.mean() for r in range(29)]
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_files_are_replaced_and_not_written_in_place(tmp_path):
    for suffix in ("png", "pdf"):
        (tmp_path / f"old.{suffix}").write_text("as it was")
        (tmp_path / f"f.{suffix}").hardlink_to(tmp_path / f"old.{suffix}")
    figures.write(figures.draw("figure2_occurrence", chain()), tmp_path / "f")
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"old.{suffix}").read_text() == "as it was"
        assert (tmp_path / f"f.{suffix}").stat().st_size > 5000
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", figures.FIGURES)
def test_only_some_figures_need_the_rule_of_early_stopping(name):
    if name in {"figure1_phenomenon", "figure3_l2"}:
        with pytest.raises(ValueError, match=f"{name} needs the rule"):
            figures.draw(name, study())
    else:
        figures.draw(name, study()).draw_without_rendering()


def models(count, rounds):
    """As many panels: a plain chain of as many models."""
    return pd.concat(
        [chain(model=f"model{n}", rounds=rounds, seed=s) for n in range(count) for s in (1, 2)]
    )


@pytest.mark.parametrize("rounds", [2, 4, 8, 11, 15, 26, 32, 40])
@pytest.mark.parametrize("panels", [1, 2, 3, 4, 7])
def test_labels_of_sparsities_have_room(panels, rounds):
    figure = figures.draw("figure2_occurrence", models(panels, rounds))
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
        figure = figures.draw("figure2_occurrence", models(panels, rounds))
        figure.draw_without_rendering()
        return [label.get_text() for label in figure.axes[0].get_xticklabels()]

    assert labels(4) == ["0", "10", "20", "30", "40"]  # up to 48.8 %
    whole = ["0", "", "50", "80", "90", "95", "99", "99.5", "99.8", "99.9"]
    assert labels(32) == whole
    short = dict.fromkeys(["99.5", "99.8"], "")
    assert labels(32, panels=3) == [short.get(label, label) for label in whole]


def test_every_round_is_equally_wide():
    steps = np.diff(figures.spread(100 * (1 - 0.8 ** np.arange(30))))
    np.testing.assert_allclose(steps, steps[0])
    np.testing.assert_allclose(figures.spread([0, 90, 99]), [0, 1, 2], atol=1e-12)


def test_phenomenon_shows_the_noisiest_setting_and_names_its_phases():
    (axes,) = figures.draw("figure1_phenomenon", study(), early_stopping=RULE).axes
    assert "40 % symmetric noise" in axes.get_title()
    assert [text.get_text() for text in axes.texts] == ["light", "critical", "sweet", "collapsed"]


def test_a_network_that_never_interpolates_has_no_end_of_interpolation():
    frame = chain()
    (axes,) = figures.draw("figure1_phenomenon", frame, early_stopping=RULE).axes
    assert lines(axes, "end of interpolation")
    never = frame.assign(train_accuracy=frame.train_accuracy - 2)
    for without in (never, chain(rounds=4)):  # the latter interpolates to its last round
        (axes,) = figures.draw("figure1_phenomenon", without, early_stopping=RULE).axes
        assert not lines(axes, "end of interpolation")


@pytest.mark.parametrize(
    ("dataset", "noise", "points"),
    [
        ("cifar10", "symmetric-0.1", 1),
        ("cifar10", "symmetric-0.15", 0),
        ("cifar100n", "human-noisy", 1),
        ("cifar100n", "human", 1),
    ],
)
def test_published_points_are_of_the_same_noise(dataset, noise, points):
    assert len(list(figures._read_off(dataset, noise, "vit"))) == points


def test_published_points_stand_beside_the_same_setting():
    figure = figures.draw("figure2_occurrence", study(), early_stopping=RULE)
    marked = {a.get_title() for a in figure.axes if lines(a, figures.HE)}
    assert marked == {"resnet18, cifar10"}


def test_the_teachers_own_curve_is_shown_if_it_is_another_model():
    figure = figures.draw("figure5_distillation", study(), early_stopping=RULE)
    shown = {a.get_title().split(",")[0]: bool(lines(a, figures.TEACHER)) for a in figure.axes}
    assert shown == {"vgg-5-5": True, "lenet-300-100": False}


def test_students_of_students_have_panels_whose_titles_do_not_touch():
    student = {"teacher": "best", "teacher_model": "lenet-300-100", "teacher_chain": "elsewhere"}
    of_students = [f"kd-lenet-300-100-{which}-wd0.0001" for which in ("dense", "best")]
    parts = [chain(teacher_objective=o, **student) for o in ("ce-wd0.0001", *of_students)]
    figure = figures.draw("figure5_distillation", pd.concat([chain(), *parts]))
    figure.draw_without_rendering()
    titles = [axes.title for axes in figure.axes]
    wrapped = [title.get_text().replace("\n", "").replace(" ", "") for title in titles]
    assert [w.rpartition("objective")[2] for w in wrapped] == [
        "ce-wd0.0001", "kd-lenet-300-100-best-wd0.0001", "kd-lenet-300-100-dense-wd0.0001",
    ]  # fmt: skip
    extents = [title.get_window_extent() for title in titles]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(extents))


def test_weights(tmp_path):
    figure = figures.draw_weights(weights(), "colorblind")
    figures.write(figure, tmp_path / "figure4_weights")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["unpruned", "48.8 % of the weights pruned"]
    # Densities: both areas are 1, whatever lies outside the axes aside.
    for axes in figure.axes:
        for outline in axes.patches:
            values, edges, _ = outline.get_data()
            assert np.sum(values * np.diff(edges)) == pytest.approx(1, abs=0.002)


def test_a_short_chain_and_one_that_ended_early():
    frame = study()
    frame.loc[(frame["round"] > 20) & (frame.seed == 2), "test_accuracy"] = np.nan
    for rounds in (frame, frame[frame["round"] < 3]):
        for name in figures.FIGURES:
            figures.draw(name, rounds, early_stopping=RULE).draw_without_rendering()


@pytest.mark.parametrize("name", ["figure3_l2", "figure5_distillation", "figure_l2_ablation"])
def test_nothing_to_show(name):
    with pytest.raises(ValueError, match=name):
        figures.draw(name, chain(), early_stopping=RULE)


@pytest.mark.parametrize("name", ["figure1_phenomenon", "figure2_occurrence"])
def test_nothing_to_show_without_a_plain_chain(name):
    students = study()
    with pytest.raises(ValueError, match=name):
        figures.draw(name, students[students.teacher != "none"], early_stopping=RULE)


def test_unknown_names():
    with pytest.raises(ValueError, match="no figure 'typo'"):
        figures.draw("typo", chain(), early_stopping=RULE)
    with pytest.raises(ValueError, match="figure4_weights"):
        figures.draw_weights([])
