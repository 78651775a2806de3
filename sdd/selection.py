"""Which round of a chain becomes the teacher. Looks at validation data only."""

from collections.abc import Sequence
from typing import Any

from sdd.settings import canonical


def select_teacher(rounds: Sequence[dict[str, Any]], which: str) -> dict[str, Any]:
    """The choice among a chain's `rounds` (the metrics of each), and why.

    `which` is "dense" (round 0) or "best": the best validation accuracy, ties to the sparser one.
    """
    trained = [r for r in rounds if r["ended"] is None]
    ranking = sorted(trained, key=lambda r: (r["validation"]["accuracy"], r["round"]), reverse=True)
    if which == "best":
        chosen, reason = ranking[0], "best validation accuracy; ties go to the sparser round"
    elif which == "dense":
        chosen, reason = next(r for r in rounds if r["round"] == 0), "the dense model, round 0"
    else:
        raise ValueError(f"which: {canonical(which)} is neither 'best' nor 'dense'.")

    def describe(metrics: dict[str, Any]) -> dict[str, Any]:
        return {
            "round": metrics["round"],
            "sparsity": metrics["sparsity"],
            "validation_accuracy": metrics["validation"]["accuracy"],
        }

    return {
        "chain": chosen["spec"]["chain"],
        **describe(chosen),
        "reason": reason,
        "weights_sha256": chosen["weights_sha256"],
        "runners_up": [describe(r) for r in ranking if r is not chosen][:3],
    }
