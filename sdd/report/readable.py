"""Tables for reading: one unit for all FLOPs, means with intervals, what rows share said once."""

import math
from collections.abc import Collection
from typing import Any

import pandas as pd

from sdd.analysis.claims import NOT_KNOWN
from sdd.analysis.collected import COSTS, METHOD
from sdd.analysis.paper import Method, taught_by
from sdd.deployment.facts import BATCHES
from sdd.report.naming import noise_name
from sdd.study.methods import OUTSIDE


def _ratio(column: str, words: str) -> dict[str, tuple[str, int | None]]:
    return {column: (words, 2), f"{column}_turns_low": (f"{words}: over turns", 2)}


# Header and decimals (None: four significant digits) of each column, its prefixes taken off.
HEADERS: dict[str, tuple[str, int | None]] = {
    "dataset": ("data set", None),
    "noise": ("label noise", None),
    "weight_decay": ("λ", None),
    "lambda_opt": ("λ_opt", None),
    "teacher_model": ("teacher's model", None),
    "teacher_objective": ("teacher's objective", None),
    "alpha": ("α", None),
    "temperature": ("τ", None),
    "n": ("seeds", 0),
    "early_stop": ("early stop", None),
    "flops": ("training cost [{unit}]", None),
    "co2_g": ("CO2 [g]", None),
    "test_accuracy": ("test accuracy [%]", 2),
    "sparsity": ("sparsity [%]", 2),
    "depth": ("valley depth [points]", 2),
    "mean_curve_depth": ("depth of the mean curve [points]", 2),
    "valleys": ("seeds with a valley", 0),
    "dense_accuracy": ("dense [%]", 2),
    "valley_round": ("valley: round", 1),
    "valley_sparsity": ("valley: sparsity [%]", 2),
    "valley_accuracy": ("valley: accuracy [%]", 2),
    "peak_round": ("peak: round", 1),
    "peak_sparsity": ("peak: sparsity [%]", 2),
    "peak_accuracy": ("peak: accuracy [%]", 2),
    "final_accuracy": ("last round [%]", 2),
    "interpolates_to": ("fits noisy labels to [%]", 2),
    "light_to": ("light phase to [%]", 2),
    "critical_to": ("critical phase to [%]", 2),
    "sweet_to": ("sweet phase to [%]", 2),
    "collapsed_to": ("collapsed phase to [%]", 2),
    "tolerance": ("tolerance [points, of entropy bit]", None),
    "own_rule": ("this study's rule", None),
    "stopped": ("seeds stopped", 0),
    "last_round": ("last round trained", 1),
    "kept_round": ("round kept", 1),
    "cost_share": ("share of the whole chain [%]", 1),
    "saved": ("saved of a whole chain [%]", 1),
    "ours": ("ours", 1),
    "ours_low": ("95 % interval", 1),
    **{
        column: header
        for run in ("first", "second")
        for column, header in (
            (run, (f"{run} run", 1)),
            (f"{run}_low", (f"{run}: 95 % interval", 1)),
            (f"{run}_n", (f"{run}: seeds", 0)),
            (f"{run}_holds", (f"{run}: holds", None)),
        )
    },
    "seeds_for": ("seeds for it", 0),
    "paper_claims": ("the paper claims", None),
    "rounds": ("round chosen, by seed", None),
    "differs": ("seeds where it is not the best", 0),
    "validation_images": ("validation images", 0),
    "validation_accuracy": ("validation accuracy [%]", 2),
    "standard_error": ("its standard error [points]", 2),
    "students": ("students trained", 0),
    "student_test_accuracy": ("student's test accuracy, stopped early [%]", 2),
    "student_depth": ("student's valley [points]", 2),
    "student_gained": ("student's gain on the best teacher's, over all rounds [points]", 2),
    "which": ("deployed as", None),
    "deployed_round": ("round", 1),
    "accuracy": ("test accuracy [%]", 2),
    "agreement": ("answers as the masked network [%]", 2),
    "size": ("numbers", None),
    "macs": ("MACs an image", None),
    "bytes": ("file [bytes]", None),
    "compressed_bytes": ("compressed [bytes]", None),
    "peak_bytes": ("peak memory [bytes]", None),
    "energy_j_1000": ("energy of 1,000 images [J]", None),
    "co2_mg_1000": ("CO2 of 1,000 images [mg]", None),
    "smaller": ("times smaller file", 2),
    **_ratio("load_speedup", "times as fast to load"),
    **{
        header: words
        for batch in BATCHES
        for header, words in _ratio(
            f"batch{batch}_speedup", f"times as fast, batch {batch}"
        ).items()
    },
    **_ratio("frugality", "times less energy"),
    "break_even_images": ("training paid back after [images]", None),
    "paper": ("paper", 1),
    "paper_setting": ("paper's setting", None),
}
TEACHING_HEADERS = {"teacher's model", "teacher's objective", "α", "τ"}
SETTING_HEADERS = {"data set", "label noise", "model", "λ", "teacher", *TEACHING_HEADERS, *METHOD}
OWNERS = {"paper_": "paper: ", "teacher_": "teacher's ", "total_": "total "}
COUNTED = ", the teacher's counted"  # how a comparison ends that bills the teacher's cost too
UNITS = {1e15: "PFLOPs", 1e12: "TFLOPs", 1e9: "GFLOPs", 1e6: "MFLOPs", 1.0: "FLOPs"}


def shared(lines: list[list[str]]) -> tuple[str, list[str], list[list[str]]]:
    """What the setting of all rows, or of all that have a teacher, shares; and the rest."""
    if len(lines) <= 2:
        return "", lines[0], lines[1:]
    everywhere, taught, columns = [], [], []
    for name, *cells in zip(*lines, strict=True):
        values = set(cells) - {"-"} if name in TEACHING_HEADERS else set(cells)
        if name not in SETTING_HEADERS or len(values) > 1:
            columns.append([name, *cells])
        elif values:
            (taught if "-" in cells else everywhere).append(f"{name} {values.pop()}")
    sentences = [
        f"{who}: {'; '.join(what)}."
        for who, what in (("Everywhere", everywhere), ("With a teacher", taught))
        if what
    ]
    header, *rows = (list(line) for line in zip(*columns, strict=True))
    return " ".join(sentences), header, rows


# What stands beside a mean, by the end of its column's name: over our seeds half the width of the
# interval; the paper prints deviations.
SPREADS = ("_half_width", "_deviation")
# What deployed models cost, and when they pay a training back.
DEPLOYED = ("energy_j_1000", "co2_mg_1000", "break_even_images")
INTERVALS = "±: 95 % confidence interval of the mean (Student's t over seeds)."


def has_intervals(frame: pd.DataFrame) -> bool:
    """Whether some mean of a table has an interval; that of one seed has none."""
    return bool(frame.filter(regex="_half_width$").notna().any(axis=None))


def readable(frame: pd.DataFrame, without_truth: Collection[str] = ()) -> list[list[str]]:
    """The header and the rows as text: means with their intervals, one unit for all FLOPs.

    Columns without any value are left out, except for costs, which say that nobody measured them,
    or that what a teacher from outside has cost is not known; so is how chains are pruned and
    retrained, where it is the paper's way everywhere.
    On the data sets `without_truth` how many labels are wrong is unknown, and is said to be.
    """
    flops = frame.filter(regex=r"(^|_)flops(_mean)?$").max().max()
    scale = next((unit for unit in UNITS if flops >= unit), 1.0)
    columns = []
    for name in frame:
        base = name.removesuffix("_mean")
        measured = base.endswith((*COSTS, *DEPLOYED, "ours")) and not base.startswith("paper_")
        shown_with = name.endswith(SPREADS) or name.removesuffix("_high") + "_low" in frame
        if shown_with or (frame[name].isna().all() and not measured):
            continue
        if name in METHOD and (frame[name] == getattr(Method(), name)).all():
            continue
        owner = next((o for o in OWNERS if base.startswith(o) and base not in HEADERS), "")
        header, digits = HEADERS.get(base.removeprefix(owner), (base.replace("_", " "), None))
        values = frame[name] / scale if base.endswith("flops") else frame[name]
        unknown = _unknown(frame, owner) if measured else [False] * len(frame)
        missing = ["not known" if u else "not measured" if measured else "-" for u in unknown]
        spread = next((base + s for s in SPREADS if base + s in frame), None)
        high = name.removesuffix("_low") + "_high"
        if high in frame:
            cells = [_from_to(*ends, digits) for ends in zip(values, frame[high], strict=True)]
        elif spread:
            unit = scale if base.endswith("flops") else 1
            cells = [
                _plus_minus(*each, digits, word)
                for *each, word in zip(values, frame[spread] / unit, missing, strict=True)
            ]
            header += " (± deviation)" if spread.endswith("_deviation") else ""
        else:
            cells = [_cell(v, digits, word) for v, word in zip(values, missing, strict=True)]
        if name == "noise":
            known = [dataset not in without_truth for dataset in frame["dataset"]]
            cells = [noise_name(c, truth_known=k) for c, k in zip(cells, known, strict=True)]
        columns.append([OWNERS.get(owner, "") + header.format(unit=UNITS[scale]), *cells])
    return [list(row) for row in zip(*columns, strict=True)]


def _unknown(frame: pd.DataFrame, owner: str) -> list[bool]:
    """Whether a row's cost cannot be known: a teacher from outside has a part in it."""
    if "holds" in frame:
        return list(frame.holds == NOT_KNOWN)
    if "comparison" in frame:
        return list((frame.method == taught_by(OUTSIDE)) & frame.comparison.str.endswith(COUNTED))
    if owner in ("teacher_", "total_") and "teacher" in frame:
        return list(frame.teacher == OUTSIDE)
    return [False] * len(frame)


def _cell(value: Any, digits: int | None, missing: str = "-") -> str:
    if pd.isna(value) or value == "":
        return missing
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if value == math.inf:
        return "never"
    return f"{value:.4g}" if digits is None else f"{value:z.{digits}f}"


def _from_to(low: float, high: float, digits: int | None) -> str:
    return "-" if pd.isna(low) else f"{_cell(low, digits)} to {_cell(high, digits)}"


def _plus_minus(mean: float, spread: float, digits: int | None, missing: str) -> str:
    """Both with the same decimals: `digits`, or as many as show four digits of the mean.

    One seed has no spread.
    """
    if pd.isna(mean):
        return missing
    if pd.isna(spread):
        return _cell(mean, digits)
    if digits is None:
        digits = max(0, 3 - math.floor(math.log10(abs(mean)))) if mean else 0
    return f"{_cell(mean, digits)} ± {_cell(spread, digits)}"
