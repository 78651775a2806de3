"""A model is checked before any long work: it can be trained, and has the layers that are named."""

from pathlib import Path

from sdd.base.files import write_json
from sdd.models.build import build, try_training
from sdd.sparsity.masks import kept_whole, prunable
from sdd.study.metrics import ModelFacts
from sdd.study.specs import ModelSpec


def check(spec: ModelSpec, output: Path) -> ModelFacts:
    """Writes the facts on a model to `output`.

    Raises StudyError for a model of the user's own that is not what it must be, and for a layer in
    `spec.keep` that it does not have.
    """
    channels, size, _ = spec.shape
    model = build(
        spec.model, channels=channels, size=size, classes=spec.classes, seed=0, own=spec.build
    )
    weights = prunable(model)
    kept_whole(weights, spec.keep)
    try_training(model, spec.model, spec.build, spec.shape, spec.classes)
    facts = ModelFacts(
        spec,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers={name.removesuffix(".weight"): weight.numel() for name, weight in weights.items()},
    )
    write_json(output, facts.to_dict())
    return facts
