"""A study with a model of the user's own, which no file of the project knows, to its report."""

import yaml
from conftest import Workflow

NET = """
from torch import nn

from blocks import block  # another module beside the Snakefile


def net(channels, size, classes):
    return nn.Sequential(block(channels, 4), block(4, 8), nn.Flatten(), nn.LazyLinear(classes))
"""
NET = NET.replace("nn.LazyLinear(classes)", "nn.Linear(8 * (size // 4) ** 2, classes)")
BLOCKS = """
from torch import nn


class Block(nn.Module):  # a layer that the project's own code does not know
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x):
        return nn.functional.max_pool2d(self.conv(x).relu(), 2)


def block(inputs, outputs):
    return Block(inputs, outputs)
"""
RECIPE = {
    "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4,
    "batch_size": 64, "epochs": 1, "schedule": "constant",
}  # fmt: skip
DIGITS = {"dataset": "mnist-5k", "noise": {"kind": "symmetric", "rate": 0.2}, "model": "my-net"}
STUDY = {
    "study": "own",
    "seeds": [1],
    "models": {"my-net": {"build": "my_nets:net"}},
    "experiments": [
        {"name": "alone", **DIGITS},
        {"name": "taught", **DIGITS, "teacher": {"experiment": "alone", "round": "dense"}},
    ],
    "recipes": {"my-net": RECIPE},
    "pruning": {"rounds": 2},
}


def test_a_model_beside_the_snakefile_runs_to_the_report(tmp_path):
    workflow = Workflow(tmp_path)
    (workflow.folder / "my_nets.py").write_text(NET)
    (workflow.folder / "blocks.py").write_text(BLOCKS)
    (workflow.folder / "own.yaml").write_text(yaml.safe_dump(STUDY))
    arguments = ("--configfile", "own.yaml")
    workflow.snakemake(*arguments)
    reports = workflow.folder / "reports" / "own"
    assert (reports / "report.html").exists()
    (log,) = (workflow.folder / "results/own/logs/chains").rglob("*/ce-*/seed1/round01.log")
    assert "my-net is trained masked" in log.read_text("utf-8")
    assert "Nothing to be done" in workflow.snakemake(*arguments).stdout

    # Its code counts, down to the modules beside it; a comment does not.
    blocks = workflow.folder / "blocks.py"
    blocks.write_text(f"# A comment.\n{BLOCKS}")
    assert workflow.planned(*arguments) == set()
    blocks.write_text(BLOCKS.replace("relu()", "tanh()"))
    rounds = {job for job in workflow.planned(*arguments) if job.startswith("Round")}
    assert len(rounds) == 6
    blocks.write_text(BLOCKS.replace("return Block(", "return nn.Identity("))
    said = workflow.snakemake(*arguments, "--cores", "1", fails=True).stdout
    assert "error: models.my-net: my_nets:net" in said
    # Before any training.
    assert "Checking the model" in said and "Round 00" not in said
