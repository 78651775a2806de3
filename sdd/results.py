"""From the rounds' metrics to one table: a row for every round of every experiment's chains."""

from pathlib import Path
from typing import Any

import pandas as pd

from sdd.errors import DataError
from sdd.files import read_json, replacing
from sdd.selection import select_teacher
from sdd.study import Chain, Study


def collect(spec: dict[str, Any], first: Path, output: Path) -> None:
    """Writes rounds.csv for the study in `spec`, from the metrics of all of its rounds.

    `first` is the dense round of its first chain; the others lie beside it as in any study. A
    chain that two experiments share stands in the table once for each. Not measured stays empty.
    """
    study = Study.from_config(spec["config"])
    folder = first.parents[len(_metrics_file(next(iter(study.chains.values())), 0).parts) - 1]
    intensity = spec["carbon_intensity"]
    metrics = {
        path: [_metrics(folder, chain, round) for round in study.all_rounds]
        for path, chain in study.chains.items()
    }
    # Chosen again instead of read from teacher.json: Snakemake would go through all of these
    # inputs anew whenever one of them, the output of a checkpoint, has been made.
    chosen = {
        path: select_teacher(rounds) if teacher.which == "best" else rounds[0]
        for path, teacher in study.teachers.items()
        for rounds in [metrics[teacher.chain.path]]
    }
    rows = [
        _row(study.name, experiment, chain, facts, chosen, answers, intensity)
        for experiment, chains in study.experiments.items()
        for chain in chains
        for answers in [_answers(study, chain, folder, chosen, intensity)]
        for facts in metrics[chain.path]
    ]
    with replacing(output) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def _metrics_file(chain: Chain, round: int) -> Path:
    """Where a round's metrics lie in a study's folder."""
    return Path("chains", chain.path, f"round{round:02d}", "metrics.json")


def _metrics(folder: Path, chain: Chain, round: int) -> dict[str, Any]:
    """A round's metrics without its epochs. Raises DataError where they are of another training."""
    path = folder / _metrics_file(chain, round)
    metrics = read_json(path)
    if metrics["spec"] != metrics["spec"] | chain.spec(round):
        raise DataError(
            f"{path} is of another training: round {metrics['round']} of "
            f"{metrics['spec']['chain']}, or with other settings. Delete it and run snakemake "
            "again."
        )
    del metrics["history"]  # most of a file, and nothing of a row
    return metrics


def _row(
    study: str,
    experiment: str,
    chain: Chain,
    metrics: dict[str, Any],
    chosen: dict[str, dict[str, Any]],
    answers: dict[str, Any],
    intensity: float | None,
) -> dict[str, Any]:
    teacher, distillation, energy = chain.teacher, chain.distillation, metrics["energy"]
    return {
        "study": study,
        "experiment": experiment,
        "chain": chain.path,
        "dataset": chain.dataset,
        "noise": chain.noise.name,
        "noise_rate": metrics["noise_rate"],
        "model": chain.model,
        "weight_decay": chain.recipe.weight_decay,
        "teacher": teacher.which if teacher else "none",
        "teacher_chain": teacher.chain.path if teacher else None,
        "teacher_round": chosen[teacher.path]["round"] if teacher else None,
        "teacher_objective": teacher.chain.objective if teacher else None,
        "teacher_model": teacher.chain.model if teacher else None,
        **answers,
        "alpha": distillation.alpha if distillation else None,
        "temperature": distillation.temperature if distillation else None,
        "seed": chain.seed,
        "round": metrics["round"],
        "sparsity": metrics["sparsity"],
        "weights_kept": metrics["weights_kept"],
        "weights_total": metrics["weights_total"],
        "train_accuracy": metrics["train"]["accuracy"],
        "train_clean_accuracy": metrics["train_clean"]["accuracy"],
        "validation_accuracy": metrics["validation"]["accuracy"],
        "test_accuracy": metrics["test"]["accuracy"],
        "train_loss": metrics["train"]["loss"],
        "validation_loss": metrics["validation"]["loss"],
        "test_loss": metrics["test"]["loss"],
        "ended": metrics["ended"],
        "epochs": metrics["spec"]["recipe"]["epochs"],
        "macs": metrics["macs"]["forward_macs"],
        "flops": metrics["flops"],
        "flops_computed": metrics["flops_computed"],
        "seconds": metrics["seconds"],
        "energy_kwh": energy["energy_kwh"],
        "co2_g": _grams(energy, intensity),
        "energy_method": energy["method"],
        "device": metrics["device"],
    }


def _answers(
    study: Study,
    chain: Chain,
    folder: Path,
    chosen: dict[str, dict[str, Any]],
    intensity: float | None,
) -> dict[str, float | None]:
    """What the table of the teacher's answers cost; empty where there is none."""
    cost: dict[str, float | None] = dict.fromkeys(["flops", "seconds", "energy_kwh", "co2_g"])
    if chain.teacher and study.tabulated(chain):
        answers = folder / "teachers" / chain.answers
        facts, spent = read_json(answers / "logits.json"), read_json(answers / "cost.json")
        if facts["teacher_sha256"] != chosen[chain.teacher.path]["weights_sha256"]:
            raise DataError(
                f"{answers / 'logits.json'} is of round {facts['round']} of {facts['teacher']}, "
                "not of the chosen teacher. Delete it and run snakemake again."
            )
        cost = {
            "flops": facts["flops"],
            "seconds": spent["seconds"],
            "energy_kwh": spent["energy"]["energy_kwh"],
            "co2_g": _grams(spent["energy"], intensity),
        }
    return {f"teacher_logits_{name}": value for name, value in cost.items()}


def _grams(energy: dict[str, Any], intensity: float | None) -> float | None:
    """The CO2 of an energy reading, at the study's carbon intensity where it sets one."""
    kwh = energy["energy_kwh"]
    return kwh * intensity if kwh is not None and intensity is not None else energy["co2_g"]
