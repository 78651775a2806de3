"""The methods that a study chooses by name, and the functions behind them. Imports no torch.

A new one is a function in a module of its own, with the signature of its kind, and a line here.
"""

from typing import NamedTuple

# evidence -> scores: see sdd.sparsity.criteria. The lowest scores are pruned first.
CRITERIA = {
    "magnitude": "sdd.sparsity.criteria:magnitude",
    "gradient": "sdd.sparsity.criteria:gradient",
    "random": "sdd.sparsity.criteria:at_random",
}

# What a new model's weights are drawn from: see sdd.models.initialisation.
INITIALISATIONS = {
    "default": "sdd.models.initialisation:default",
    "kaiming-normal": "sdd.models.initialisation:kaiming_normal",
    "he2022": "sdd.models.initialisation:he2022",
}


class Selection(NamedTuple):
    """A rule by which a chain's teacher is chosen."""

    function: str
    meaning: str


# Which of a chain's rounds teaches, chosen on validation data: see sdd.analysis.selection.
SELECTIONS = {
    "best": Selection(
        "sdd.analysis.selection:best", "best validation accuracy; ties go to the sparser round"
    ),
    "one-standard-error": Selection(
        "sdd.analysis.selection:one_standard_error",
        "the sparsest round within one standard error of the best validation accuracy",
    ),
}
DENSE = "dense"  # round 0, which nobody has to choose
TEACHERS = (*SELECTIONS, DENSE)
OUTSIDE = "outside"  # no round, but a network that was trained elsewhere; its name, if it has none

# What a round starts from, in the field's words: see sdd.rounds.retraining.
RETRAININGS = {
    "learning-rate-rewinding": "sdd.rounds.retraining:learning_rate_rewinding",
    "weight-rewinding": "sdd.rounds.retraining:weight_rewinding",
    "fine-tuning": "sdd.rounds.retraining:fine_tuning",
    "reinitialisation": "sdd.rounds.retraining:reinitialisation",
}
