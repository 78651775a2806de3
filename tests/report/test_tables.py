import math

import numpy as np
import pandas as pd
import pytest
from builders import build, draw
from synthetic import chain, rounds, study
from synthetic import tiny as two_seeds

from sdd.analysis.claims import Claim
from sdd.analysis.collected import best_outcomes, chains
from sdd.analysis.comparisons import distillations
from sdd.analysis.paper import BEST, DENSE, OPTIMAL, Said
from sdd.report.catalogue import TABLES
from sdd.report.naming import noise_name, without_truth
from sdd.report.readable import INTERVALS, readable
from sdd.report.table_writer import write
from sdd.study.settings import EarlyStopping

NAMES = [name for name in TABLES if name != "deployment"]  # which is in test_deployed
RULE = EarlyStopping(patience=2, tolerance=1.0)


@pytest.fixture
def tiny():
    return two_seeds()


def test_a_chain_of_two_experiments_counts_once(tiny):
    assert len(chains(tiny)) == 8 * 7
    assert build("descent", tiny, RULE).n.tolist() == [2, 2, 2, 2]


def test_chains_differ_by_their_teachers_own_teacher():
    """A student of a student: its teacher's teacher shows in teacher_objective only."""
    taught = {"teacher": "best", "teacher_model": "lenet-300-100", "teacher_chain": "elsewhere"}
    base = rounds([70, 60, 72])
    direct = rounds([80, 79, 78], **taught)
    second = rounds([85, 84, 83], teacher_objective="kd-lenet-300-100-best-wd0.0001", **taught)
    third = rounds([75, 74, 73], teacher_objective="kd-lenet-300-100-dense-wd0.0001", **taught)
    frame = pd.concat([base, direct, second, third])

    table = build("descent", frame, RULE)
    assert table.n.tolist() == [1, 1, 1, 1] and table.teacher_objective.nunique() == 3
    groups = list(distillations(chains(frame)))
    assert [(g.teacher_objective, g.students["best"].test_accuracy.iloc[0]) for g in groups] == [
        ("ce-wd0.0001", 80),
        ("kd-lenet-300-100-best-wd0.0001", 85),
        ("kd-lenet-300-100-dense-wd0.0001", 75),
    ]
    header, *lines = readable(build("table2_distillation", frame, RULE))
    column = [line[header.index("teacher's objective")] for line in lines]
    assert column[:3] == ["-", "-", "ce-wd0.0001"]


def test_table_1_by_hand(tiny):
    table = build("table1_l2", tiny, RULE)
    whole, stopped, optimal = (row for _, row in table.iterrows())
    # Best round 5 of 7; stopped at 3, kept round 1; lambda_opt stopped at 4, kept round 2.
    assert (whole.flops_mean, stopped.flops_mean, optimal.flops_mean) == (14e12, 8e12, 10e12)
    assert (whole.co2_g_mean, stopped.co2_g_mean, optimal.co2_g_mean) == (21, 12, 15)
    assert whole.test_accuracy_mean == 73 and stopped.test_accuracy_mean == 71
    assert optimal.test_accuracy_mean == 75.5
    assert whole.test_accuracy_deviation == pytest.approx(math.sqrt(2))
    assert stopped.sparsity_mean == pytest.approx(20) and stopped.sparsity_deviation == 0
    assert optimal.sparsity_mean == pytest.approx(36)
    assert (whole.depth_mean, optimal.depth_mean) == (15, 0)
    assert table.weight_decay.tolist() == [1e-4, 1e-4, 0.01]
    assert table.n.tolist() == [2, 2, 2]
    assert table.paper_flops.isna().all()


def test_table_2_bills_the_teacher_apart(tiny):
    table = build("table2_distillation", tiny, RULE)
    assert table.teacher.tolist() == ["none", "none", "dense", "best"]
    assert table.flops_mean.tolist() == [14e12, 8e12, 14e12, 14e12]
    assert table.teacher_flops_mean.tolist() == [0, 0, 2e12, 14e12]
    assert table.total_flops_mean.tolist() == [14e12, 8e12, 16e12, 28e12]
    assert table.total_co2_g_mean.tolist() == [21, 12, 24, 42]
    assert table.test_accuracy_mean.tolist() == [73, 71, 80.5, 85.5]


def with_teachers_from_outside(tiny):
    """And two students more a seed, whose teachers were trained elsewhere."""
    parts = [tiny]
    for seed in (1, 2):
        for name, accuracy in (("outside", 90), ("mine", 60)):
            student = rounds(
                np.full(7, accuracy + seed),
                seed=seed,
                teacher="outside",
                teacher_model="lenet-300-100",
                teacher_objective=name,
            )
            parts.append(student.assign(chain=f"student of {name}, seed {seed}"))
    return pd.concat(parts, ignore_index=True)


def test_what_a_teacher_from_outside_has_cost_is_not_known(tiny, tmp_path):
    frame = with_teachers_from_outside(tiny)
    table = build("table2_distillation", frame, RULE)
    outside = table[table.teacher == "outside"].set_index("teacher_objective")
    assert outside.test_accuracy_mean.to_dict() == {"outside": 91.5, "mine": 61.5}
    assert outside.n.eq(2).all() and outside.flops_mean.eq(14e12).all()
    assert outside.filter(regex="^(teacher|total)_(flops|co2_g)").isna().all(axis=None)
    known = table[table.teacher != "outside"]
    assert known[["teacher_flops_mean", "total_co2_g_mean"]].notna().all(axis=None)
    # Nobody can know it; what could have been measured and was not is another thing.
    unmeasured = build("table2_distillation", frame.assign(co2_g=np.nan), RULE)
    header, *lines = readable(unmeasured)
    cells = [dict(zip(header, line, strict=True)) for line in lines]
    for cell in cells:
        elsewhere = cell["teacher"] == "outside"
        assert (cell["total training cost [TFLOPs]"] == "not known") == elsewhere
        assert cell["CO2 [g]"] == "not measured"
        of_teacher = {"none": "0 ± 0", "outside": "not known"}.get(cell["teacher"], "not measured")
        assert cell["teacher's CO2 [g]"] == of_teacher

    compared = build("comparisons", frame, RULE)
    mine = compared.method == "teacher from outside, early stop"
    ours = compared[mine]
    assert set(ours.teacher_objective) == {"outside", "mine"}
    counted = ours.comparison.str.endswith("the teacher's counted")
    assert counted.any() and ours[counted].ours_mean.isna().all()
    assert ours[~counted].ours_mean.notna().all()
    assert ours.paper.isna().all()  # the paper has no such teacher
    write(compared, tmp_path / "comparisons")
    text = (tmp_path / "comparisons.md").read_text("utf-8")
    assert text.count("| not known |") == counted.sum()
    # Whatever else there is stays as it was.
    same_but_for_the_order(compared[~mine], build("comparisons", tiny, RULE))


def test_claims_of_a_teacher_from_outside_are_asked_and_are_not_the_papers(tiny, tmp_path):
    claims = build("claims", with_teachers_from_outside(tiny), RULE)
    mine = claims.claim.str.startswith("Distilled from a teacher from outside")
    ours = claims[mine]
    assert set(ours.teacher_objective) == {"outside", "mine"}
    counted = ours.claim.str.endswith("with its teacher's counted")
    assert counted.sum() == 4 and ours[counted].holds.eq("not known").all()
    assert ours[counted].ours_mean.isna().all() and ours[~counted].ours_mean.notna().all()
    assert not ours[~counted].holds.isin(["not known", "not measured"]).any()
    assert ours.paper.isna().all() and ours.paper_claims.eq("").all()
    write(claims, tmp_path / "claims")
    lines = (tmp_path / "claims.md").read_text("utf-8").splitlines()
    # Once as its mean, once as whether the claim holds.
    assert sum(line.count("| not known |") for line in lines) >= counted.sum()
    same_but_for_the_order(claims[~mine], build("claims", tiny, RULE))


def same_but_for_the_order(frame, other):
    order = [frame.columns[0], "teacher_objective", "unit"]
    a, b = (f.sort_values(order, ignore_index=True) for f in (frame, other))
    pd.testing.assert_frame_equal(a, b, check_dtype=False)


def test_the_teachers_logits_are_billed_to_the_teacher(tiny):
    tabulated = tiny.copy()
    student = tabulated.teacher == "best"
    tabulated.loc[student, ["teacher_logits_flops", "teacher_logits_co2_g"]] = [5e11, 0.25]
    before = build("table2_distillation", tiny, RULE)
    after = build("table2_distillation", tabulated, RULE)
    assert (after.teacher_flops_mean - before.teacher_flops_mean).tolist() == [0, 0, 0, 5e11]
    assert (after.total_co2_g_mean - before.total_co2_g_mean).tolist() == [0, 0, 0, 0.25]
    assert (after.flops_mean == before.flops_mean).all()
    tabulated["teacher_logits_co2_g"] = np.nan  # made, but not measured
    unknown = build("table2_distillation", tabulated, RULE)
    assert unknown.total_co2_g_mean.isna().tolist() == [False, False, False, True]


def test_the_papers_rows_stand_beside_the_same_setting():
    table = build("table2_distillation", study(), RULE)
    same = table[table.dataset == "cifar10"]
    assert same.paper_flops.tolist() == [48.84e15, 4.88e15, 35.82e15, 35.82e15]
    assert same.paper_test_accuracy_deviation.tolist() == [1.20, 3.37, 1.85, 0.16]
    assert table[table.dataset != "cifar10"].paper_flops.isna().all()


def test_a_teacher_outside_the_study_has_no_known_cost(tiny):
    orphan = tiny.replace({"teacher_chain": {tiny.chain[0]: "elsewhere/seed1"}})
    table = build("table2_distillation", orphan[orphan.seed == 1], RULE)
    assert table.teacher_flops_mean.isna().tolist() == [False, False, True, True]
    assert table.flops_mean.notna().all()


def test_descent_by_hand(tiny):
    table = build("descent", tiny, RULE)
    base = table[(table.teacher == "none") & (table.weight_decay == 1e-4)].iloc[0]
    assert base.valleys == 2
    assert (base.depth_mean, base.depth_deviation, base.mean_curve_depth) == (15, 0, 15)
    assert (base.valley_round_mean, base.peak_round_mean) == (3, 5)
    assert (base.dense_accuracy_mean, base.valley_accuracy_mean) == (71, 56)
    assert (base.peak_accuracy_mean, base.final_accuracy_mean) == (73, 51)
    assert base.valley_sparsity_mean == pytest.approx(48.8)
    assert (base.light_to, base.critical_to) == pytest.approx((20, 48.8))
    flat = table[table.weight_decay == 0.01].iloc[0]
    assert flat.valleys == 0 and math.isnan(flat.valley_round_mean) and math.isnan(flat.sweet_to)


def test_a_model_that_never_interpolates_has_no_end_of_interpolation(tiny):
    hard = tiny.weight_decay == 0.01
    frame = tiny.assign(train_accuracy=tiny.train_accuracy.where(~hard, 61.0))
    header, *rows = readable(build("descent", frame, RULE))
    ends = {row[header.index("λ")]: row[header.index("fits noisy labels to [%]")] for row in rows}
    assert ends == {"0.0001": "73.79", "0.01": "-"}


def test_early_stopping_grid_holds_the_studys_own_rule(tiny):
    table = build("early_stopping", tiny, RULE)
    base = table[(table.teacher == "none") & (table.weight_decay == 1e-4)]
    assert base.looks_at.value_counts().to_dict() == {"validation accuracy": 10, "entropy": 9}
    assert base.own_rule.sum() == 1
    own = base[base.own_rule].iloc[0]
    assert (own.last_round_mean, own.kept_round_mean, own.stopped) == (3, 1, 2)
    assert own.cost_share_mean == pytest.approx(100 * 4 / 7)
    # More patience never costs less.
    assert base[base.tolerance == 1].sort_values("patience").flops_mean.is_monotonic_increasing


def test_a_rule_may_look_at_the_entropy_where_it_was_measured():
    """It rises with sparsity and falls with the collapse: a rule that follows it passes valleys."""
    one = rounds([70, 60, 50, 72, 71, 40, 30])
    one["entropy"] = [0.6, 0.62, 0.65, 0.7, 0.68, 0.5, 0.4]
    table = build("early_stopping", one, RULE)
    by_entropy = table[(table.looks_at == "entropy") & (table.patience == 1)]
    found = by_entropy.set_index("tolerance")[["kept_round_mean", "last_round_mean"]]
    assert found.loc[0.0].tolist() == [3, 4] and found.loc[0.02].tolist() == [4, 5]
    own = table[table.own_rule].iloc[0]
    assert own.kept_round_mean == 0  # validation accuracy stops it in its valley
    unknown = build("early_stopping", one.assign(entropy=np.nan), RULE)
    older = build("early_stopping", one.drop(columns="entropy"), RULE)
    assert set(unknown.looks_at) == set(older.looks_at) == {"validation accuracy"}


def claimed(table, *words):
    """The one claim whose sentence has all of these words."""
    found = table[[all(word in claim for word in words) for claim in table.claim]]
    assert len(found) == 1, found.claim.tolist()
    return found.iloc[0]


def test_claims_by_hand(tiny):
    table = build("claims", tiny, RULE)
    valley = claimed(table, "Pruned step by step", "more than 1 points")
    assert (valley.ours_mean, valley.ours_low, valley.ours_high) == (15, 15, 15)
    assert (valley.n, valley.seeds_for, valley.holds) == (2, 2, "yes")
    assert valley.paper == pytest.approx(70.9 - 68.1) and "ViT" in valley.paper_setting
    shallower, none = claimed(table, "λ_opt", "shallower"), claimed(table, "λ_opt", "no valley is")
    assert (shallower.ours_mean, shallower.holds, none.ours_mean, none.holds) == (
        15,
        "yes",
        0,
        "yes",
    )
    assert shallower.lambda_opt == 0.01 and shallower.weight_decay == 1e-4
    worse = claimed(table, "costs accuracy")
    assert (worse.ours_mean, worse.holds, worse.seeds_for) == (-2.5, "no", 0)
    assert worse.paper == pytest.approx(2.99)
    denser = claimed(table, "costs compressibility")
    assert denser.ours_mean == pytest.approx(100 * (0.8**2 - 0.8**5)) and denser.holds == "yes"
    assert denser.paper == pytest.approx(12.68)
    early = claimed(table, "30 % of the CO2", "stopped early too")
    assert early.ours_mean == pytest.approx(-25) and early.holds == "no"
    assert early.paper == pytest.approx(33.3, abs=0.05)
    whole = claimed(table, "30 % of the FLOPs", "as a whole chain")
    assert whole.ours_mean == pytest.approx(100 * (1 - 10 / 14)) and whole.holds == "no"

    best = claimed(table, "best teacher and stopped early", "10 points")
    assert (best.ours_mean, best.holds) == (12.5, "yes") and best.paper == pytest.approx(12.37)
    dense = claimed(table, "dense teacher and stopped early", "10 points")
    assert (dense.ours_mean, dense.holds) == (7.5, "no") and dense.paper == pytest.approx(7.0)
    left = claimed(table, "best teacher", "no valley deeper")
    assert left.ours_mean == 0.5 and left.holds == "yes"
    average = claimed(table, "best teacher", "on average")
    gains = np.array([85, 85, 84.5, 85, 85, 84.5, 65]) - [70, 70, 60, 55, 60, 72, 50]
    assert average.ours_mean == pytest.approx(gains.mean())
    alone, counted = (
        table[[f"best teacher and stopped early, the student saves at least 25 % of the {cost}"
               in claim for claim in table.claim]].ours_mean.tolist()
        for cost in ("FLOPs", "CO2")
    )  # fmt: skip
    assert alone == pytest.approx([0, -100]) and counted == pytest.approx([0, -100])
    assert claimed(table, "of the best teacher is more accurate").ours_mean == 5
    assert claimed(table, "of the best teacher is more accurate").paper == pytest.approx(5.37)


@pytest.mark.parametrize(
    ("relation", "values", "holds", "seeds_for"),
    [
        ("more than", [11, 11.5, 12], "yes", 3),  # 11.5 ± 1.24
        ("more than", [11, 12, 13], "not decided", 3),  # 12 ± 2.48
        ("more than", [9, 8.5, 9.5], "not decided", 0),  # 9 ± 1.24
        ("more than", [8, 8.1, 8.2], "no", 0),
        ("more than", [10, 10, 10], "no", 0),
        ("at least", [10, 10, 10], "yes", 3),
        ("at most", [10, 10, 10], "yes", 3),
        ("at most", [8, 8.1, 8.2], "yes", 3),
        ("at most", [11, 11.5, 12], "no", 0),
        ("more than", [12], "not decided", 1),
        ("more than", [12, np.nan, 13], "not measured", 2),
    ],
)
def test_when_a_claim_holds(relation, values, holds, seeds_for):
    claim = Claim("it is so", {}, "points", relation, 10, pd.Series(values, dtype=float), Said())
    assert (claim.holds, claim.seeds_for) == (holds, seeds_for)


def test_a_claim_that_a_study_cannot_be_asked_has_no_row(tiny):
    plain = build("claims", tiny[(tiny.teacher == "none") & (tiny.weight_decay == 1e-4)], RULE)
    assert len(plain) == 1 and plain.claim[0].startswith("Pruned step by step")
    half = build("claims", tiny[(tiny.teacher != "best") & (tiny.weight_decay == 1e-4)], RULE)
    assert half.claim.str.contains("dense").sum() == len(half) - 1 == 8
    # Where nothing is to be cured, nothing is cured.
    deep = EarlyStopping(patience=2, tolerance=20.0)
    assert not build("claims", tiny, deep).claim.str.contains("shallower|no valley").any()


def test_claims_of_one_seed_are_not_decided_and_have_no_interval(tiny):
    table = build("claims", tiny[tiny.seed == 1], RULE)
    assert set(table.holds) == {"not decided"} and table.ours_low.isna().all()
    header, *lines = readable(table)
    assert "95 % interval" not in header and {line[header.index("seeds")] for line in lines} == {
        "1"
    }


def test_claims_about_what_was_not_measured_say_so(tiny):
    table = build("claims", tiny.assign(co2_g=np.nan), RULE)
    assert (table.claim.str.contains("CO2") == (table.holds == "not measured")).all()
    header, *lines = readable(table)
    ours = [line[header.index("ours")] for line in lines if "CO2" in line[0]]
    assert len(ours) == 6 and set(ours) == {"not measured"}


def test_a_claim_counts_only_seeds_that_both_settings_have(tiny):
    third = rounds([90, 90, 30, 30, 30, 90, 90], seed=3)
    table = build("claims", pd.concat([tiny, third]), RULE)
    assert claimed(table, "Pruned step by step").n == 3
    best = claimed(table, "best teacher and stopped early", "10 points")
    assert (best.n, best.ours_mean) == (2, 12.5)


def test_claims_read_as_sentences_with_their_interval(tiny, tmp_path):
    write(build("claims", tiny, RULE), tmp_path / "claims")
    text = (tmp_path / "claims.md").read_text("utf-8")
    assert text.startswith("Everywhere: data set mnist-5k; label noise 40 % symmetric noise;")
    line = next(line for line in text.splitlines() if "best teacher and stopped early, the" in line)
    assert "| points | 12.5 | 12.5 to 12.5 | 2 | 2 | yes | 12.4 | more than 10 |" in line


def test_what_the_other_rule_would_have_chosen_as_teacher(tiny):
    """The best of 500 images is 73 % (± 2.0) in round 5 of both seeds; nothing sparser is near."""
    table = build("teacher_selection", tiny, RULE).set_index("teacher")
    assert table.index.tolist() == ["dense", "best", "one-standard-error"]
    assert table.rounds.tolist() == ["1: 0, 2: 0", "1: 5, 2: 5", "1: 5, 2: 5"]
    assert table.differs.tolist() == [2, 0, 0] and table.validation_images.eq(500).all()
    assert table.standard_error["best"] == pytest.approx(
        np.mean([math.sqrt(v * (100 - v) / 500) for v in (72, 74)])
    )
    assert table.students.tolist() == [2, 2, 0]
    assert table.student_test_accuracy_mean.tolist()[:2] == [80.5, 85.5]
    assert math.isnan(table.student_test_accuracy_mean["one-standard-error"])
    assert table.student_gained_mean["dense"] == -5
    # With the last round of one seed within a standard error, the sparser one is chosen there.
    near = tiny.copy()
    last = (near.teacher == "none") & (near.weight_decay == 1e-4) & (near["round"] == 6)
    near.loc[last & (near.seed == 2), "validation_accuracy"] = 72.1
    table = build("teacher_selection", near, RULE).set_index("teacher")
    assert table.rounds["one-standard-error"] == "1: 5, 2: 6"
    assert (table.differs["one-standard-error"], table.differs["best"]) == (1, 0)


def test_students_of_both_rules_stand_beside_each_other(tiny):
    """In every table that compares teachers."""
    best = tiny[tiny.teacher == "best"]
    other = best.assign(
        teacher="one-standard-error", test_accuracy=best.test_accuracy + 1,
        chain=best.chain.str.replace("best", "one-standard-error"),
    )  # fmt: skip
    both = pd.concat([tiny, other])
    table = build("teacher_selection", both, RULE).set_index("teacher")
    assert table.students.tolist() == [2, 2, 2]
    assert table.student_gained_mean["one-standard-error"] == pytest.approx(1)
    rows = build("table2_distillation", both, RULE)
    assert rows.teacher.tolist() == ["none", "none", "dense", "best", "one-standard-error"]
    assert rows.total_flops_mean.tolist()[-2:] == [28e12, 28e12]  # its whole chain is billed
    assert build("claims", both, RULE).claim.str.contains("one-standard-error teacher").sum() == 8
    figure = draw("figure5_distillation", both, RULE)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[-1] == "distilled from the one-standard-error teacher" and len(shown) == 4


def test_comparisons_by_hand(tiny):
    table = build("comparisons", tiny, RULE)
    ours = table.set_index(["method", "comparison"]).ours_mean
    l2, best = ours[OPTIMAL], ours[BEST]
    assert l2["FLOPs saved against early stop"] == pytest.approx(100 * (1 - 10 / 8))
    assert l2["CO2 saved against no early stop"] == pytest.approx(100 * (1 - 15 / 21))
    assert l2["test accuracy gained against no early stop"] == pytest.approx(2.5)
    assert l2["test accuracy gained against early stop"] == pytest.approx(4.5)
    sparse = 100 * (1 - 0.8 ** np.arange(7))
    sparsity = "sparsity gained against"
    assert l2[f"{sparsity} no early stop"] == pytest.approx(sparse[2] - sparse[5])
    assert l2[f"{sparsity} early stop"] == pytest.approx(sparse[2] - sparse[1])
    assert l2["depth left of the valley"] == 0
    assert best["test accuracy gained against no early stop"] == pytest.approx(12.5)
    assert best["FLOPs saved against no early stop"] == 0
    assert best["FLOPs saved against no early stop, the teacher's counted"] == pytest.approx(-100)
    assert best["test accuracy gained against early stop"] == pytest.approx(14.5)
    assert best["FLOPs saved against early stop"] == pytest.approx(100 * (1 - 14 / 8))
    assert best["CO2 saved against early stop"] == pytest.approx(100 * (1 - 21 / 12))
    assert ours[DENSE]["test accuracy gained against early stop"] == pytest.approx(9.5)
    gains = np.array([85, 85, 84.5, 85, 85, 84.5, 65]) - [70, 70, 60, 55, 60, 72, 50]
    assert best["test accuracy gained, mean over rounds"] == pytest.approx(gains.mean())
    assert best["depth left of the valley"] == pytest.approx(100 * 0.5 / 15)


def test_the_papers_comparisons_from_its_own_numbers(tiny):
    table = build("comparisons", tiny, RULE).set_index(["method", "comparison"])
    paper = table.paper
    assert paper[OPTIMAL, "CO2 saved against early stop"] == pytest.approx(33.3, abs=0.05)
    assert paper[BEST, "FLOPs saved against no early stop"] == pytest.approx(26.7, abs=0.05)
    gained = "test accuracy gained against no early stop"
    assert paper[BEST, gained] == pytest.approx(12.37)
    assert paper[DENSE, gained] == pytest.approx(7.0)
    assert paper[OPTIMAL, gained] == pytest.approx(-2.99)
    assert paper[OPTIMAL, "sparsity gained against no early stop"] == pytest.approx(-12.68)
    gained = "test accuracy gained against early stop"
    assert paper[OPTIMAL, gained] == pytest.approx(3.41)
    assert paper[BEST, gained] == pytest.approx(26.66)
    assert paper[DENSE, gained] == pytest.approx(21.29)
    assert paper[OPTIMAL, "sparsity gained against early stop"] == pytest.approx(-9.02)
    assert paper[BEST, "FLOPs saved against early stop"] == pytest.approx(-634.0, abs=0.05)
    assert paper[DENSE, "CO2 saved against early stop"] == pytest.approx(-633.3, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_csv_round_trip(name, tmp_path):
    table = build(name, study(), RULE)
    write(table, tmp_path / name)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / f"{name}.csv"), table.map(lambda v: None if v == "" else v),
        check_dtype=False, rtol=1e-12,
    )  # fmt: skip
    text = (tmp_path / f"{name}.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(table) + 2 and len({line.count("|") for line in lines}) == 1
    latex = (tmp_path / f"{name}.tex").read_text()
    assert latex.count(r"\\") == len(table) + 1
    assert "seeds" in lines[0] and "nan" not in lines[2].lower()


def test_what_all_rows_share_stands_above_them_once(tmp_path):
    frame = study()
    cifar = frame[frame.dataset == "cifar10"]
    write(build("table2_distillation", cifar, RULE), tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert text.startswith("Everywhere: data set cifar10; ") and text.count("cifar10") == 1
    assert (tmp_path / "t.tex").read_text().startswith("% Everywhere: data set cifar10; ")
    above, _, header = text.splitlines()[:3]
    taught = "teacher's model resnet18; teacher's objective ce-wd0.0001; α 0.8; τ 10."
    assert above.endswith(f" With a teacher: {taught} {INTERVALS}")
    assert "teacher's model" not in header
    assert len(text.splitlines()) == 2 + 2 + 4


def test_a_plain_study_says_once_that_it_has_no_teacher(tmp_path):
    write(build("descent", chain(seed=1), RULE), tmp_path / "one")
    assert (tmp_path / "one.md").read_text().startswith("| data set |")
    both = pd.concat([chain(weight_decay=w) for w in (1e-4, 1e-2)])
    write(build("descent", both, RULE), tmp_path / "two")
    above, _, header = (tmp_path / "two.md").read_text().splitlines()[:3]
    assert above == (
        "Everywhere: data set mnist-5k; label noise 40 % symmetric noise; model lenet-300-100; "
        "teacher none."
    )
    assert header.startswith("| λ | seeds | seeds with a valley |")


def test_files_are_replaced_and_not_written_in_place(tmp_path):
    table = build("descent", chain(), RULE)
    for suffix in ("csv", "md", "tex"):
        (tmp_path / f"old.{suffix}").write_text("as it was")
        (tmp_path / f"t.{suffix}").hardlink_to(tmp_path / f"old.{suffix}")
    write(table, tmp_path / "t")
    for suffix in ("csv", "md", "tex"):
        assert (tmp_path / f"old.{suffix}").read_text() == "as it was"
        assert (tmp_path / f"t.{suffix}").read_text() != "as it was"
    assert len(list(tmp_path.iterdir())) == 6


def test_an_interval_stands_beside_a_mean_of_several_seeds_and_of_one_none(tmp_path):
    for seeds, shown in ((1, "70.00"), (3, "72.00 ± 4.97")):  # t(2) = 4.303, s = 2
        frame = pd.concat([rounds([70 + 2 * seed, 60, 72], seed=seed) for seed in range(seeds)])
        table = build("descent", frame, RULE)
        write(table, tmp_path / "t")
        said = [(tmp_path / f"t.{suffix}").read_text("utf-8") for suffix in ("md", "tex")]
        assert f"| {shown} |" in said[0] and ("confidence interval" in said[0]) == (seeds > 1)
        assert ("confidence interval" in said[1]) == (seeds > 1)
        assert table.dense_accuracy_half_width.isna().all() == (seeds == 1)
        assert table.dense_accuracy_deviation.isna().all() == (seeds == 1)


def test_reading_one_seed_and_nothing_measured():
    frame = study(seeds=(1,)).assign(co2_g=np.nan)
    header, first, *_ = readable(build("table1_l2", frame, RULE))
    row = dict(zip(header, first, strict=True))
    assert row["CO2 [g]"] == "not measured"
    assert row["training cost [TFLOPs]"] == "3.48"
    assert "±" not in row["test accuracy [%]"] and row["seeds"] == "1"
    assert row["label noise"] == "40 % symmetric noise"
    assert not any(name.startswith("paper") for name in header)


def test_reading_two_seeds_in_the_papers_units():
    header, first, *_ = readable(build("table2_distillation", study(), RULE))
    row = dict(zip(header, first, strict=True))
    assert row["training cost [PFLOPs]"] == "42.34 ± 0.00"
    assert row["paper: training cost [PFLOPs]"] == "48.84"
    assert row["paper: test accuracy [%] (± deviation)"] == "74.52 ± 1.20"
    assert row["CO2 [g]"] == "not measured" and row["paper: CO2 [g]"] == "510"


@pytest.mark.parametrize(
    "name", ["table1_l2", "table2_distillation", "comparisons", "teacher_selection"]
)
def test_nothing_to_show(name):
    with pytest.raises(ValueError, match=name):
        build(name, chain(), RULE)


def test_a_chain_that_ended_early():
    frame = study()
    late = (frame["round"] > 20) & (frame.seed == 2)
    unknown = ["test_accuracy", "train_accuracy", "validation_accuracy", "test_loss", "flops"]
    frame.loc[late, unknown] = np.nan
    for name in NAMES:
        assert len(build(name, frame, RULE))
    whole = best_outcomes(chains(frame))
    assert whole[whole.seed == 2].last_round.eq(20).all() and whole.total_flops.notna().all()


@pytest.mark.parametrize(
    ("noise", "name"),
    [
        ("symmetric-0.4", "40 % symmetric noise"),
        ("pair-flip-0.05", "5 % pair-flip noise"),
        ("symmetric-1e-05", "0.001 % symmetric noise"),
        ("human-worse", "human-worse"),
        ("clean", "clean"),
    ],
)
def test_noise_name(noise, name):
    assert noise_name(noise) == name


@pytest.mark.parametrize(
    ("noise", "known", "unknown"),
    [
        ("given", "labels as given", "labels as given, true rate unknown"),
        ("clean", "clean", "labels as given, true rate unknown"),
        ("symmetric-0.4", "40 % symmetric noise", "40 % symmetric noise, true rate unknown"),
    ],
)
def test_noise_on_labels_that_nobody_has_checked(noise, known, unknown):
    assert noise_name(noise) == known
    assert noise_name(noise, truth_known=False) == unknown


def test_tables_say_where_the_noise_is_unknown_and_only_there(tmp_path):
    unchecked = {"train_clean_accuracy": np.nan, "noise_rate": np.nan}
    frame = pd.concat([chain(dataset="own", noise="given").assign(**unchecked), chain()])
    assert without_truth(frame) == {"own"}
    write(build("descent", frame, RULE), tmp_path / "t", without_truth(frame))
    text = (tmp_path / "t.md").read_text("utf-8")
    assert "| own | labels as given, true rate unknown |" in text
    assert "| mnist-5k | 40 % symmetric noise |" in text
    assert pd.read_csv(tmp_path / "t.csv").noise.tolist() == ["symmetric-0.4", "given"]


def test_chains_that_were_really_ended_bill_what_was_spent(tiny):
    ended = tiny.copy()
    late = (ended.teacher == "none") & (ended["round"] >= 4)
    ended.loc[late, ["test_accuracy", "validation_accuracy", "sparsity"]] = np.nan
    ended.loc[late, ["flops", "co2_g"]] = 0
    table = build("early_stopping_savings", ended, RULE)
    base = table[(table.teacher == "none") & (table.weight_decay == 1e-4)].iloc[0]
    assert base.flops_mean == 4 * 2e12 and base.last_round_mean == 3
    assert base.saved_mean == pytest.approx(100 * (1 - 4 / 7))
    # The best teacher's chain is billed for the rounds that it had.
    taught = table[table.teacher == "best"].iloc[0]
    assert taught.total_flops_mean - taught.flops_mean == 4 * 2e12
