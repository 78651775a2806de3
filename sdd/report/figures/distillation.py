"""Figure 5: a student on its own and behind its teachers."""

import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdd.analysis.collected import METHOD, curve
from sdd.analysis.comparisons import Distilled, distillations
from sdd.analysis.paper import called
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import noise_name, truth_known
from sdd.report.panels import label_left, legend, over_sparsity
from sdd.report.sparsity_axis import place
from sdd.report.style import looks
from sdd.study.methods import DENSE, OUTSIDE, SELECTIONS

TEACHER = "the teacher's own curve"


def draw(material: Material) -> Figure:
    groups = list(distillations(material.rounds))
    if not groups:
        raise ValueError("figure5_distillation compares students with and without a teacher")
    # Where there is no teacher from outside, the others look as if there were none.
    outside = [OUTSIDE] if any(OUTSIDE in group.students for group in groups) else []
    look = looks(["none", DENSE, *SELECTIONS, *outside], material.palette)
    figure, panels = over_sparsity(len(groups), material.rounds)
    for axes, group in zip(panels, groups, strict=True):
        line(axes, group.vanilla, "test_accuracy", look["none"], "student alone")
        for kind, student in group.students.items():
            line(axes, student, "test_accuracy", look[kind], f"distilled from {called(kind)}")
        _show_teacher(axes, group, material.rounds)
        noise = noise_name(group.noise, truth_known=truth_known(group.vanilla))
        axes.set_title(f"{group.model}, {group.dataset}\n{noise}")
    _say_what_differs(panels, groups)
    label_left(panels, "test accuracy [%]")
    shown = (part for group in groups for part in (group.vanilla, *group.students.values()))
    legend(figure, panels, seeds(*shown))
    return figure


def _show_teacher(axes: Axes, group: Distilled, rounds: pd.DataFrame) -> None:
    """The teacher's own curve, thin and grey, if it is another model of the study."""
    taught = pd.concat(group.students.values())
    teacher = rounds[rounds.chain.isin(taught.teacher_chain)]
    if group.teacher_model != group.model and len(teacher):
        own = curve(teacher, "test_accuracy")
        axes.plot(
            place(axes, own["sparsity"]), own["mean"], color="0.6", linewidth=0.8, zorder=1,
            label=TEACHER,
        )  # fmt: skip


def _say_what_differs(panels: Sequence[Axes], groups: Sequence[Distilled]) -> None:
    """Name in the titles whatever settings of distillation the panels do not share, wrapped."""
    names = {
        "weight_decay": "λ",
        "teacher_model": "teacher",
        "teacher_objective": "teacher's objective",
        "alpha": "α",
        "temperature": "τ",
        **{name: name for name in METHOD},
    }
    differing = [f for f in names if len({str(getattr(group, f)) for group in groups}) > 1]
    for axes, group in zip(panels, groups, strict=True):
        setting, noise = axes.get_title().split("\n")
        parts = [noise, *(f"{names[field]} {getattr(group, field)}" for field in differing)]
        letters = 100 // axes.get_gridspec().ncols
        wrapped = textwrap.fill(", ".join(parts), letters, break_on_hyphens=False)
        axes.set_title(f"{setting}\n{wrapped}")
