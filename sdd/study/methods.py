"""The methods that a study chooses by name, and the functions behind them. Imports no torch.

A new one is a function in a module of its own, with the signature of its kind, and a line here.
"""

# weights -> scores: see sdd.sparsity.criteria. The lowest scores are pruned first.
CRITERIA = {"magnitude": "sdd.sparsity.criteria:magnitude"}

# What a new model's weights are drawn from: see sdd.models.initialisation.
INITIALISATIONS = {
    "default": "sdd.models.initialisation:default",
    "kaiming-normal": "sdd.models.initialisation:kaiming_normal",
}

# What a round starts from, in the field's words: see sdd.rounds.retraining.
RETRAININGS = {"learning-rate-rewinding": "sdd.rounds.retraining:learning_rate_rewinding"}
