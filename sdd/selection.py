"""Which round of a chain becomes the teacher. Looks at validation data only."""

from collections.abc import Sequence
from typing import Any


def select_teacher(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The best among a chain's `rounds` (the metrics of each): by validation accuracy, and of equal
    ones the sparser."""
    trained = [r for r in rounds if r["ended"] is None]
    ranking = sorted(trained, key=lambda r: (r["validation"]["accuracy"], r["round"]), reverse=True)
    chosen = ranking[0]

    def describe(metrics: dict[str, Any]) -> dict[str, Any]:
        return {
            "round": metrics["round"],
            "sparsity": metrics["sparsity"],
            "validation_accuracy": metrics["validation"]["accuracy"],
        }

    return {
        "chain": chosen["spec"]["chain"],
        **describe(chosen),
        "reason": "best validation accuracy; ties go to the sparser round",
        "weights_sha256": chosen["weights_sha256"],
        "runners_up": [describe(r) for r in ranking if r is not chosen][:3],
    }
