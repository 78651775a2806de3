"""Settings as people read them."""

import re
from collections.abc import Sequence
from textwrap import wrap

import pandas as pd

from sdd.analysis.paper import Method

TITLE = 36  # letters of a line of a panel's title, where there are three in a row
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


def method_name(method: Method, among: Sequence[Method] = ()) -> str:
    """How chains are pruned and retrained, by what differs among some, or from the paper's way."""
    others = among or (Method(),)
    said = {
        "criterion": f"{method.criterion} pruning",
        "scope": "layer by layer" if method.scope == "layer" else "all layers together",
        "schedule": method.schedule,
        "retraining": method.retraining.replace("-", " "),
        "keep": "no layer kept" if method.keep == Method().keep else f"{method.keep} kept",
    }
    return ", ".join(
        text
        for name, text in said.items()
        if any(getattr(other, name) != getattr(method, name) for other in others)
    )


def titled(model: str, dataset: str, method: Method) -> str:
    """A panel's title; the paper's own method goes without saying."""
    return "\n".join([f"{model}, {dataset}", *wrap(method_name(method), TITLE)])


def truth_known(rounds: pd.DataFrame) -> bool:
    """Whether the noise rate of these rounds, of one data set, is known."""
    return bool(rounds.noise_rate.notna().any())


def without_truth(rounds: pd.DataFrame) -> frozenset[str]:
    """The data sets in rounds.csv whose true labels are not known."""
    by_dataset = rounds.groupby("dataset")
    return frozenset(name for name, group in by_dataset if not truth_known(group))
