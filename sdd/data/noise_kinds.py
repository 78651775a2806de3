"""The kinds of label noise by name, and what each needs. Imports nothing that computes.

A new kind is a function in a module of this room, and a line in KINDS.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Kind:
    """One kind of noise: its function, `module:name`, and what a study must say for it.

    `maps` says whether it needs to know which classes of a data set are mistaken for each other.
    """

    function: str
    needs: Literal["rate", "labels"] | None
    meaning: str
    maps: bool = False


KINDS = {
    "given": Kind("sdd.data.noise:given", None, "the labels as they are, right or wrong"),
    "clean": Kind("sdd.data.noise:clean", None, "none"),
    "symmetric": Kind(
        "sdd.data.noise:symmetric", "rate",
        "the paper's: an exact number of labels, each to one of the other classes",
    ),
    "symmetric-all": Kind("sdd.data.noise:symmetric_all", "rate", "to any class, its own too"),
    "bernoulli": Kind("sdd.data.noise:bernoulli", "rate", "each label by chance"),
    "asymmetric": Kind(
        "sdd.data.noise:asymmetric", "rate", "to the class it is mistaken for", maps=True
    ),
    "pair-flip": Kind("sdd.data.noise:pair_flip", "rate", "to the next class"),
    "human": Kind("sdd.data.noise:human", "labels", "people's labels"),
}  # fmt: skip
