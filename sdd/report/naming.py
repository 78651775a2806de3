"""Settings as people read them."""

import re

import pandas as pd

_RATED = re.compile(r"(.+?)-(\d*\.?\d+(?:e-?\d+)?)")


def noise_name(noise: str, *, truth_known: bool = True) -> str:
    """`symmetric-0.4` -> `40 % symmetric noise`; anything without a rate as it is.

    Where the true labels are not known, neither is how many of the labels are wrong: what was put
    in came on top of that.
    """
    named = _RATED.fullmatch(noise)
    if named:
        name = f"{100 * float(named[2]):g} % {named[1]} noise"
    elif truth_known:
        name = "labels as given" if noise == "given" else noise
    else:  # clean or given: nothing is put in
        name = "labels as given"
    return name if truth_known else f"{name}, true rate unknown"


def nominal_rate(noise: str) -> float:
    """The rate in the name of a noise; 0 where there is none."""
    named = _RATED.fullmatch(noise)
    return float(named[2]) if named else 0.0


def truth_known(rounds: pd.DataFrame) -> bool:
    """Whether the noise rate of these rounds, of one data set, is known."""
    return bool(rounds.noise_rate.notna().any())


def without_truth(rounds: pd.DataFrame) -> frozenset[str]:
    """The data sets in rounds.csv whose true labels are not known."""
    by_dataset = rounds.groupby("dataset")
    return frozenset(name for name, group in by_dataset if not truth_known(group))
