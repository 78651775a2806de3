"""Table 2 of the paper: a student on its own and behind its teachers, whose costs stand apart."""

from typing import Any

from sdd.analysis.collected import COSTS, best_outcomes, over_seeds, stopped_outcomes
from sdd.analysis.comparisons import SAME, TEACHING, distillations
from sdd.analysis.comparisons import method as how
from sdd.analysis.paper import STOPPED, TABLE_2, VANILLA, taught_by
from sdd.report.deployed import paid_back
from sdd.report.material import Material


def build(material: Material) -> list[dict[str, Any]]:
    rounds, rows = material.rounds, []
    best, stopped = best_outcomes(rounds), stopped_outcomes(rounds, material.rule)
    for group in distillations(rounds):
        for method, kept, source in (
            (VANILLA, best, group.vanilla),
            (STOPPED, stopped, group.vanilla),
            *((taught_by(kind), stopped, student) for kind, student in group.students.items()),
        ):
            seeds = kept[kept.chain.isin(source.chain)]
            distilled = source is not group.vanilla
            rows.append(
                {
                    **{name: getattr(group, name) for name in (*SAME, "weight_decay")},
                    "early_stop": method != VANILLA,
                    "teacher": seeds.teacher.iloc[0],
                    **{name: getattr(group, name) if distilled else None for name in TEACHING},
                    **over_seeds(seeds, [*COSTS, "test_accuracy", "sparsity"]),
                    **over_seeds(seeds, [f"teacher_{c}" for c in COSTS]),
                    **over_seeds(seeds, [f"total_{c}" for c in COSTS]),
                    **paid_back(seeds, material),
                    "n": len(seeds),
                    **TABLE_2.beside(*group[:3], method, how(group)),
                }
            )
    return rows
