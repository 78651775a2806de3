"""Which round each rule makes the teacher, how often they differ, and what its student is worth."""

from typing import Any

import pandas as pd

from sdd.analysis.collected import over_seeds, stopped_outcomes, valleys
from sdd.analysis.comparisons import (
    SAME,
    TEACHING,
    by_teacher,
    gained_over_rounds,
    of_chains,
    same_seeds,
)
from sdd.analysis.selection import standard_error
from sdd.base import names
from sdd.report.material import Material
from sdd.study.methods import DENSE, SELECTIONS

SETTING = [*SAME, "weight_decay", *TEACHING]


def build(material: Material) -> list[dict[str, Any]]:
    """A row a rule, the dense round too, for every setting of students: also for rules whose
    students were not trained."""
    rounds, rows = material.rounds, []
    stopped = stopped_outcomes(rounds, material.rule)
    for key, group in rounds[rounds.teacher != "none"].groupby(SETTING, dropna=False):
        setting, students = dict(zip(SETTING, key, strict=True)), by_teacher(group)
        teachers = rounds[rounds.chain.isin(group.teacher_chain)]
        if teachers.empty:
            continue
        chosen = _choices(teachers)
        for rule in (DENSE, *SELECTIONS):
            choices = chosen[rule]
            rows.append(
                {
                    **setting,
                    "teacher": rule,
                    "rounds": ", ".join(f"{seed}: {n}" for seed, n in choices["round"].items()),
                    "differs": int((choices["round"] != chosen["best"]["round"]).sum()),
                    "n": len(choices),
                    "validation_images": choices.validation_images.iloc[0],
                    **over_seeds(choices, ["sparsity", "validation_accuracy"]),
                    "standard_error": choices.standard_error.mean(),
                    **_worth(rule, students, stopped, material.rule.tolerance),
                }
            )
    return rows


def _choices(teachers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each rule the round that it chooses from each seed's chain."""
    rows: dict[str, list[dict[str, Any]]] = {rule: [] for rule in (DENSE, *SELECTIONS)}
    for _, chain in teachers.groupby("seed"):
        trained = chain.dropna(subset=["validation_accuracy"])
        images, accuracies = int(chain.validation_images.iloc[0]), list(trained.validation_accuracy)
        for rule, found in rows.items():
            chosen = 0
            if rule != DENSE:
                chosen = names.load(SELECTIONS[rule].function)(accuracies, images)
            row = trained.iloc[chosen]
            error = standard_error(row.validation_accuracy, images)
            found.append({**row, "standard_error": error})
    return {rule: pd.DataFrame(found).set_index("seed") for rule, found in rows.items()}


def _worth(
    rule: str, students: dict[str, pd.DataFrame], stopped: pd.DataFrame, tolerance: float
) -> dict[str, Any]:
    """What the students of a rule's teachers came to; unknown where there are none."""
    none = pd.DataFrame(columns=["test_accuracy", "depth", "gained"], dtype=float)
    worth = none
    if rule in students:
        worth = of_chains(stopped, students[rule])[["test_accuracy"]]
        worth["depth"] = valleys(students[rule], tolerance).set_index("seed").depth
    gained = none
    if rule in students and rule != "best" and "best" in students:
        gains = gained_over_rounds(students[rule], students["best"])
        gained, _ = same_seeds(gains.to_frame("gained"), worth)
    return {
        "students": len(worth),
        **over_seeds(worth.add_prefix("student_"), ["student_test_accuracy", "student_depth"]),
        **over_seeds(gained.add_prefix("student_"), ["student_gained"]),
    }
