"""Other ways to prune and to retrain, to the report; and which rounds depend on which."""

import re

import pandas as pd
import yaml
from conftest import Workflow

STUDY = {
    "study": "methods",
    "seeds": [1],
    "experiments": [
        {
            "name": "ways", "dataset": "mnist-5k", "model": "mlp-20-10",
            "noise": {"kind": "symmetric", "rate": 0.4},
            "criterion": ["magnitude", "random"], "retraining": ["weight-rewinding", "fine-tuning"],
        }
    ],
    "recipes": {
        "mlp-20-10": {
            "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4,
            "batch_size": 128, "epochs": 1, "schedule": "constant",
        }
    },
    "pruning": {"rounds": 3, "keep": ["last"]},
    "rewinding": {"steps": 5},
    "rounds_per_job": 2,
}  # fmt: skip
ARGUMENTS = ("--configfile", "methods.yaml")


def rounds(jobs: set[str]) -> list[int]:
    return sorted(int(r) for job in jobs for r in re.findall(r"^Round (\d+)", job))


def test_methods_run_to_the_report_and_one_shot_rounds_hang_on_the_dense_one(tmp_path):
    workflow = Workflow(tmp_path)

    def write(**changes):
        (workflow.folder / "methods.yaml").write_text(yaml.safe_dump(STUDY | changes))

    write()
    workflow.snakemake(*ARGUMENTS)
    reports = workflow.folder / "reports" / "methods"
    assert (reports / "report.html").exists() and (reports / "figures/figure_methods.png").exists()
    assert "Nothing to be done" in workflow.snakemake(*ARGUMENTS).stdout

    # All four have one dense round, and each has its row of it.
    chains = workflow.folder / "results" / "methods" / "chains"
    assert len(list(chains.rglob("round00"))) == 1 and len(list(chains.rglob("round01"))) == 4
    table = pd.read_csv(reports / "rounds.csv")
    dense = table[table["round"] == 0]
    assert len(dense) == 4 and dense.test_accuracy.nunique() == 1
    assert table[table["round"] == 1].test_accuracy.nunique() > 1
    with_one_more = STUDY["experiments"] + [
        {**STUDY["experiments"][0], "name": "usual", "criterion": "magnitude",
         "retraining": ["learning-rate-rewinding", "reinitialisation"]}
    ]  # fmt: skip
    write(experiments=with_one_more)
    assert rounds(workflow.planned(*ARGUMENTS)) == sorted([1, 2, 3] * 2)

    # Where weights go back to is the dense round's too, which stores them.
    write(rewinding={"steps": 6})
    assert rounds(workflow.planned(*ARGUMENTS)) == sorted([0] + [1, 2, 3] * 4)
    # A layer that is called by a name is looked for before any training, and no training for it.
    write(pruning={"rounds": 3, "keep": ["fc1"]})
    planned = workflow.planned(*ARGUMENTS)
    assert rounds(planned) == sorted([1, 2, 3] * 4)
    assert "Checking the model at mnist-5k/mlp-20-10" in planned

    ways = STUDY["experiments"][0] | {"retraining": "fine-tuning", "criterion": "magnitude"}
    once = {"study": "once", "experiments": [ways], "retraining": "fine-tuning",
            "pruning": {"rounds": 3, "schedule": "one-shot"}}  # fmt: skip
    write(**once)
    workflow.snakemake(*ARGUMENTS)
    assert "Nothing to be done" in workflow.snakemake(*ARGUMENTS).stdout
    write(**once | {"pruning": once["pruning"] | {"fraction": 0.3}})
    assert rounds(workflow.planned(*ARGUMENTS)) == [1, 2, 3]
    write(**once)
    # A round that is gone comes back by itself, and no later one with it.
    (folder,) = (workflow.folder / "results/once/chains").rglob("round02")
    for file in folder.iterdir():
        file.unlink()
    wanted = str((folder / "metrics.json").relative_to(workflow.folder))
    assert rounds(workflow.planned(*ARGUMENTS, "--", wanted)) == [2]
