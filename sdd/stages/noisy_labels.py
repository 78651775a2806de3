"""Hold out the validation set and corrupt the training labels."""

import argparse

from sdd.data import labelling
from sdd.data.settings import LabelsSpec
from sdd.stages import arguments as common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "dataset")


def run(args: argparse.Namespace) -> None:
    made = labelling.make(LabelsSpec.from_dict(args.spec), args.dataset, args.output)
    rate = "unknown" if made.realised_rate is None else f"{made.realised_rate:.4f}"
    args.log.write_text(f"realised noise rate {rate}, {made.train_images} images\n", "utf-8")
