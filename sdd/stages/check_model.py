"""Check a model of the user's own, and that layers called by a name are there."""

import argparse

from sdd.study.specs import ModelSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    """None beside those of every stage."""


def run(args: argparse.Namespace) -> None:
    from sdd.rounds import model_check

    facts = model_check.check(ModelSpec.from_dict(args.spec), args.output)
    layers = "".join(f"  {name}  {count:,}\n" for name, count in facts.layers.items())
    args.log.write_text(
        f"{facts.spec.model}: {facts.parameters:,} parameters; layers that may be pruned, with "
        f"their weights:\n{layers}",
        "utf-8",
    )
