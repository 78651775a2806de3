"""Rounds of a study that nobody trained: as metrics, and as rounds.csv has them.

The latter are smooth curves with a known valley, plus a little noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sdd.analysis.paper import Method
from sdd.machine.reading import EnergyReading
from sdd.study.metrics import Epoch, Hashes, Macs, RoundMetrics, Score
from sdd.study.specs import RoundSpec

ROUNDS = 29


def metrics(spec: RoundSpec, validation: float | None = 70.0, **changes: Any) -> RoundMetrics:
    """What a round of that spec could have left; None for `validation`: it was not trained."""
    trained = validation is not None
    made = RoundMetrics(
        spec=spec,
        inputs=Hashes("data", "labels"),
        round=spec.round,
        sparsity=100 * (1 - 0.8**spec.round) if trained else None,
        weights_kept=round(266_200 * 0.8**spec.round) if trained else None,
        weights_total=266_200,
        train=Score(90.0, 0.5) if trained else Score(),
        train_clean=Score(60.0, 2.0) if trained else Score(),
        validation=Score(validation, 1.5) if trained else Score(),
        test=Score(69.0, 1.75) if trained else Score(),
        validation_so_far=(70.0,) * spec.round,
        ended=None if trained else spec.round - 1,
        history=(Epoch(0, 0.05, 1.0, 50.0, 40.0),) if trained else (),
        noise_rate=0.4,
        macs=Macs(266_200, 563_400),
        flops=10**9 if trained else 0,
        flops_computed=10**8 if trained else 0,
        train_images=3500,
        seconds=2.5,
        runs=1,
        energy=EnergyReading(2e-5, 0.0089, "constant power", 445.0, 1.58, 35.0, 0.5, 2.5, None),
        device="a processor",
        threads=1,
        versions={"python": "3"},
        weights_sha256=f"weights of {spec.chain}, round {spec.round}",
    )
    return replace(made, **changes)


def chain(
    *,
    experiment: str = "occurrence",
    dataset: str = "mnist-5k",
    noise: str = "symmetric-0.4",
    model: str = "lenet-300-100",
    weight_decay: float = 1e-4,
    teacher: str = "none",
    teacher_chain: str | float = np.nan,
    teacher_model: str | float = np.nan,
    teacher_objective: str | float = np.nan,
    seed: int = 1,
    rounds: int = ROUNDS,
    dense: float = 70.0,
    valley: float = 55.0,
    peak: float = 71.0,
    jitter: float = 0.3,
    flops_per_round: float = 1.2e11,
    co2_per_round: float = 0.05,
    criterion: str = "magnitude",
    retraining: str = "learning-rate-rewinding",
) -> pd.DataFrame:
    """One chain: flat until round 9, its valley at 18, its peak at 24, down from there."""
    random = np.random.default_rng([seed, int(100 * dense)])
    index = np.arange(rounds)
    sparsity = 100 * (1 - 0.8**index)
    knots = [0, 9, 18, 24, 28, 31], [dense, dense, valley, peak, peak - 6, peak - 25]
    test = np.interp(index, *knots) + jitter * random.standard_normal(rounds)
    train = np.interp(index, [0, 14, 20, 24, 28, 31], [100, 100, 80, 62, 55, 40])
    objective = "ce" if teacher == "none" else f"kd-{teacher_model}-{teacher}"
    if teacher != "none" and pd.isna(teacher_objective):
        teacher_objective = "ce-wd0.0001"
    if teacher != "none" and teacher_objective != "ce-wd0.0001":
        objective += f"-of-{teacher_objective}"
    unusual = [w for w in (criterion, retraining) if w not in Method()]
    return pd.DataFrame(
        {
            "study": "synthetic",
            "experiment": experiment,
            "chain": f"{dataset}/{noise}/{model}/"
            + "-".join([f"{objective}-wd{weight_decay:g}", *unusual])
            + f"/seed{seed}",
            "dataset": dataset,
            "noise": noise,
            "noise_rate": float(noise.rpartition("-")[2]) if "-0" in noise else 0.0,
            "model": model,
            "weight_decay": weight_decay,
            "teacher": teacher,
            "teacher_chain": teacher_chain,
            "teacher_round": {"dense": 0, "best": 24}.get(teacher, np.nan),
            "teacher_model": teacher_model,
            "teacher_objective": teacher_objective,
            # As if the teacher were in the loop: its logits were not tabulated.
            "teacher_logits_flops": np.nan,
            "teacher_logits_seconds": np.nan,
            "teacher_logits_energy_kwh": np.nan,
            "teacher_logits_co2_g": np.nan,
            "alpha": np.nan if teacher == "none" else 0.8,
            "temperature": np.nan if teacher == "none" else 10.0,
            "seed": seed,
            "round": index,
            "sparsity": sparsity,
            "weights_kept": (266_200 * (1 - sparsity / 100)).astype(int),
            "weights_total": 266_200,
            "train_accuracy": train,
            "train_clean_accuracy": 0.7 * train,
            "validation_accuracy": test + jitter * random.standard_normal(rounds),
            "test_accuracy": test,
            "train_loss": (100 - train) / 50,
            "validation_loss": (100 - test) / 20,
            "test_loss": (100 - test) / 20,
            "epochs": 40,
            "macs": 266_200,
            "flops": flops_per_round,
            "flops_computed": flops_per_round / 2,
            "seconds": 5.0,
            "energy_kwh": co2_per_round / 445,
            "co2_g": co2_per_round,
            "energy_method": "constant power",
            "device": "cpu",
            "validation_images": 500,
            **Method(criterion=criterion, retraining=retraining)._asdict(),
            "learning_distance": 40 - test / 4,
            "entropy": 0.3 + train / 200,
            "calibration_error": (100 - test) / 2,
            "top5_accuracy": np.nan,
        }
    )


def study(seeds: tuple[int, ...] = (1, 2)) -> pd.DataFrame:
    """A whole study: two noises, four weight decays, two teachers, a student of another model,
    and other ways to prune and retrain."""
    chains = []
    for seed in seeds:
        small = {"seed": seed}
        chains += [
            chain(experiment="occurrence", **small),
            chain(experiment="occurrence", noise="symmetric-0.2", dense=84, valley=77, **small),
            chain(experiment="l2", **small),
            chain(experiment="l2", weight_decay=1e-3, dense=72, valley=62, peak=74, **small),
            chain(experiment="l2", weight_decay=1e-2, dense=76, valley=76, peak=76, **small),
            chain(experiment="l2", weight_decay=1e-1, dense=60, valley=55, peak=45, **small),
        ]
        for kind, dense, valley in (("dense", 71, 64), ("best", 81, 79)):
            chains.append(
                chain(
                    experiment="distillation", teacher=kind, teacher_model="lenet-300-100",
                    teacher_chain=chains[-6 if kind == "dense" else -7]["chain"].iloc[0],
                    dense=dense, valley=valley, peak=78, **small,
                )
            )  # fmt: skip
        cifar = {"dataset": "cifar10", "noise": "symmetric-0.2", "seed": seed,
                 "experiment": "cifar10"}  # fmt: skip
        teacher = chain(
            model="resnet18", dense=83, valley=78, peak=87, flops_per_round=1.2e16, **cifar
        )
        vgg = {"model": "vgg-5-5-averaged", "flops_per_round": 1.46e15, "co2_per_round": np.nan}
        chains += [teacher, chain(dense=72, valley=62, peak=74, **vgg, **cifar)]
        for kind, level in (("dense", 81), ("best", 87)):
            chains.append(
                chain(
                    teacher=kind, teacher_model="resnet18", teacher_chain=teacher.chain[0],
                    dense=level, valley=level - 0.5, peak=level - 1, **vgg, **cifar,
                )
            )  # fmt: skip
        mnist = {"dataset": "mnist", "experiment": "methods", "seed": seed}
        chains += [
            chain(dense=83, valley=77, peak=95, noise="symmetric-0.2", **mnist),
            chain(dense=83, valley=80, peak=90, noise="symmetric-0.2", criterion="random", **mnist),
            chain(
                dense=83, valley=78, peak=92, noise="symmetric-0.2", retraining="fine-tuning",
                **mnist,
            ),
            chain(
                dense=83, valley=78, peak=88, noise="symmetric-all-0.2", dataset="cifar10",
                model="resnet18", retraining="weight-rewinding", experiment="rewound", seed=seed,
            ),
        ]  # fmt: skip
    return pd.concat(chains, ignore_index=True)


def rounds(test: Sequence[float], **settings: Any) -> pd.DataFrame:
    """A chain with these accuracies, on which validation and test agree."""
    frame = chain(rounds=len(test), jitter=0, flops_per_round=2e12, co2_per_round=3.0, **settings)
    frame["test_accuracy"] = frame["validation_accuracy"] = np.asarray(test, float)
    return frame


def tiny() -> pd.DataFrame:
    """Two seeds: the base lambda, a lambda without a valley, a student of each teacher."""
    parts = []
    for seed, shift in ((1, 0), (2, 2)):
        base = rounds(np.add([70, 70, 60, 55, 60, 72, 50], shift), seed=seed)
        parts += [
            base,
            base.assign(experiment="again"),
            rounds(np.add([75, 75, 74.5, 70, 69, 60, 40], shift), seed=seed, weight_decay=0.01),
        ]
        for kind in ("dense", "best"):
            parts.append(
                rounds(
                    np.add([80, 80, 79.5, 80, 80, 79.5, 60], shift + 5 * (kind == "best")),
                    seed=seed, teacher=kind, teacher_model="lenet-300-100",
                    teacher_chain=base.chain[0],
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)
