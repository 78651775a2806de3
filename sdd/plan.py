"""What a study costs before it is run: jobs, computation, disk, and with measured rates time.

Pure but for `finished`, which reads what is already there. Imports no torch.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

from sdd.bill import Bill, Forecast
from sdd.calibration import Anatomy, Machine, Rates, Setting
from sdd.datasets import DATASETS
from sdd.descent import stop_early
from sdd.energy import JOULES_PER_KWH
from sdd.errors import DataError
from sdd.files import read_json
from sdd.schedule import Job, Run, schedule, span, training_time
from sdd.settings import OUTCOMES, EarlyStopping
from sdd.study import Chain, Study, params
from sdd.tables import paper_flops

# What jobs that train nothing take, in start-ups of a job that does (most of it `import torch`):
# ratios of processor times on two cores of an AMD EPYC.
LIGHT, TABLE, FIGURE, REPORT = 0.06, 0.4, 1.6, 2.8
# Snakemake's own work for each job, in the same unit.
ENGINE = 0.03

# A round's metrics.json and log: what is always there, and what an epoch adds.
RECORD_BYTES, EPOCH_BYTES = 2400, 250


@dataclass(frozen=True)
class Work:
    """How many rounds of each chain are already there, and up to where it is to be trained."""

    first: Mapping[str, int]
    stop: Mapping[str, int]
    dense: bool = False  # whether every round takes as long as the dense one

    def trainings(self, chain: Chain) -> int:
        return max(0, self.stop[chain.path] - self.first[chain.path])


def draw_up(study: Study, machine: Machine, done: Mapping[str, list[float]]) -> Bill:
    """The bill of `study` on this machine; `done` is what `finished` returned."""
    whole = dict.fromkeys(study.chains, study.rounds + 1)
    nothing = dict.fromkeys(study.chains, 0)
    there = {path: len(rounds) for path, rounds in done.items()}
    needed = trainings_needed(study, done)

    def forecast(work: Work) -> Forecast:
        return _forecast(study, machine, work)

    trainings = len(study.chains) * (study.rounds + 1)
    rates = machine.rates
    power = next((r.power for r in rates.values() if r.power), None)
    return Bill(
        study=study.name,
        online=study.online,
        device=", ".join(dict.fromkeys(r.device for r in rates.values())),
        workers=machine.workers,
        load=machine.load,
        chains=len(study.chains),
        rounds=study.rounds + 1,
        trainings=trainings,
        epochs=sum(c.recipe.epochs for c in study.chains.values()) * (study.rounds + 1),
        jobs=jobs(study),
        done=sum(there.values()),
        disk=disk(study, machine.anatomy),
        dense=forecast(Work(nothing, whole, dense=True)),
        whole=forecast(Work(nothing, whole)),
        remaining=forecast(Work(there, whole)),
        stopped=forecast(Work(nothing, needed)) if needed else None,
        energy_method=power.method if power else None,
        rates=tuple(rates.items()),
    )


# --- What there is to do, and what is done --------------------------------------------------------


def jobs(study: Study) -> dict[str, int]:
    """How many jobs of each kind a fresh folder needs, by the names of Snakemake's rules.

    Tables and figures, which have a rule each, are counted together.
    """
    students = sum(chain.teacher is not None for chain in study.chains.values())
    plain = len(study.chains) - students
    counts = {
        "prepare_dataset": len({chain.dataset for chain in study.chains.values()}),
        "noisy_labels": len({chain.labels for chain in study.chains.values()}),
        "train_dense": plain,
        "prune_retrain": plain * study.rounds,
        "select_teacher": sum(t.which == "best" for t in study.teachers.values()),
        "teacher_logits": len(tabulated(study)),
        "distill_dense": students,
        "distill_retrain": students * study.rounds,
        "collect_rounds": 1,
        "table": len(study.tables()),
        "figure": len(study.figures()),
        "study_config": 1,
        "html_report": 1,
        "all": 1,
    }
    return {kind: count for kind, count in counts.items() if count}


def tabulated(study: Study) -> dict[str, Chain]:
    """The tables of teachers' answers by path, with one of the students that look them up."""
    return {
        chain.answers: chain
        for chain in study.chains.values()
        if chain.teacher and study.tabulated(chain)
    }


def images(study: Study, chain: Chain) -> tuple[int, int, int]:
    """How many images a round of it trains on, validates on and tests on."""
    known = DATASETS[chain.dataset]
    held_out = round(study.config["validation"]["fraction"] * known.train)
    return known.train - held_out, held_out, known.test


def finished(study: Study) -> dict[str, list[float]]:
    """The validation accuracies of each chain's rounds that need not be trained again, by path.

    They lie in the study's folder and were made for the spec that this config and this code give,
    from the data, labels and rounds that lie there now; so was all that they build on.
    """
    folder = Path(study.folder)
    rounds: dict[str, list[dict[str, Any]]] = {}
    for path, chain in study.chains.items():  # teachers before their students
        rounds[path] = []
        teacher = _teacher(study, chain, rounds)
        inputs = _data(study, chain) | teacher | {"parent": None}
        if inputs["labels"] is None or (chain.teacher and not any(teacher.values())):
            continue
        for number in range(study.rounds + 1):
            metrics = _read(folder / "chains" / path / f"round{number:02d}" / "metrics.json")
            spec = json.loads(params(chain.spec(number), "train_round"))
            if (metrics.get("spec"), metrics.get("inputs")) != (spec, inputs):
                break
            rounds[path].append(metrics)
            inputs = inputs | {"parent": metrics["weights_sha256"]}
    return {
        path: [metrics["validation"]["accuracy"] for metrics in found]
        for path, found in rounds.items()
    }


def _data(study: Study, chain: Chain) -> dict[str, str | None]:
    """The sha256 of a chain's data set and labels; None where they are to be made."""
    dataset = _read(Path("resources/datasets", chain.dataset, "dataset.json")).get("sha256")
    labels = _read(Path(study.folder, "labels", chain.labels, "labels.json"))
    spec = json.loads(params(study.labels_spec(chain.labels), "noisy_labels"))
    fit = (labels.get("spec"), labels.get("dataset_sha256")) == (spec, dataset)
    return {"dataset": dataset, "labels": labels["sha256"] if fit else None}


def _teacher(
    study: Study, chain: Chain, finished: Mapping[str, list[dict[str, Any]]]
) -> dict[str, str | None]:
    """The sha256 of the teacher's weights or answers; None where there are none, or none yet."""
    none = {"teacher": None, "teacher_logits": None}
    if chain.teacher is None:
        return none
    weights = [metrics["weights_sha256"] for metrics in finished[chain.teacher.chain.path]]
    number = 0
    if chain.teacher.which == "best":
        choice = _read(Path(study.folder, "teachers", chain.teacher.path, "teacher.json"))
        number = choice.get("round", len(weights))
    last = study.rounds if chain.teacher.which == "best" else 0
    if max(number, last) >= len(weights):
        return none
    chosen = weights[number]
    if not study.tabulated(chain):
        return none | {"teacher": chosen}
    table = _read(Path(study.folder, "teachers", chain.answers, "logits.json"))
    labels = _data(study, chain)["labels"]
    fits = (table.get("teacher_sha256"), table.get("labels_sha256")) == (chosen, labels)
    return none | {"teacher_logits": table["sha256"] if fits else None}


def _read(path: Path) -> dict[str, Any]:
    """A file's content, empty where it is missing or damaged: it is then made again."""
    try:
        return read_json(path)
    except DataError:
        return {}


def trainings_needed(study: Study, done: Mapping[str, list[float]]) -> dict[str, int] | None:
    """How many rounds of each chain early stopping would have trained.

    None before every round of the study is there. A chain whose best round teaches is trained to
    its end, since only then one knows its best round, unless early stopping really ends it.
    """
    if any(len(done[path]) <= study.rounds for path in study.chains):
        return None
    rule = EarlyStopping(**study.config["early_stopping"])
    teachers = {t.chain.path for t in study.teachers.values() if t.which == "best"}
    whole = set() if study.online else teachers
    return {
        path: study.rounds + 1 if path in whole else stop_early(accuracies, rule).last + 1
        for path, accuracies in done.items()
    }


# --- What it costs --------------------------------------------------------------------------------


def disk(study: Study, anatomy: Mapping[tuple[str, str], Anatomy]) -> dict[str, int]:
    """Bytes of what stays: weights, records, data sets (without their originals) and labels."""
    chains = study.chains.values()
    data = [DATASETS[name] for name in {chain.dataset for chain in chains}]
    each = {chain.labels: images(study, chain) for chain in chains}.values()
    return {
        "weights": sum(
            weights_bytes(anatomy[chain.model, chain.dataset], chain.pruning.fraction, number)
            for chain in chains
            for number in range(study.rounds + 1)
        ),
        "metrics and logs": sum(
            (study.rounds + 1) * (RECORD_BYTES + EPOCH_BYTES * chain.recipe.epochs)
            for chain in chains
        ),
        "data sets": sum(
            (d.train + d.test) * (prod(d.shape) + 8)
            + 8 * d.train * (len(d.human.kinds) if d.human else 0)
            for d in data
        ),
        "teachers' answers": sum(
            study.table_bytes(c.dataset, c.recipe.augmentation) for c in tabulated(study).values()
        ),
        "labels": sum(8 * (3 * train + 2 * validation) for train, validation, _ in each),
    }


def weights_bytes(anatomy: Anatomy, fraction: float, round: int) -> int:
    """A round's checkpoint: kept weights and their places, all else dense. Without its header."""
    kept = weights_kept(anatomy.weights, fraction, round)
    places = min(ceil(anatomy.weights / 8), 4 * kept) if kept < anatomy.weights else 0
    return anatomy.state_bytes - 4 * (anatomy.weights - kept) + places


def weights_kept(weights: int, fraction: float, rounds: int) -> int:
    """Of so many weights, after so many prunings of the whole model."""
    for _ in range(rounds):
        weights -= round(fraction * weights)
    return weights


def _forecast(study: Study, machine: Machine, work: Work) -> Forecast:
    todo = tasks(study, machine.rates, work)
    runs = schedule(todo, machine.workers)
    energy = _energy(study, machine.rates, runs)
    flops, computed = 0, 0.0
    for chain in study.chains.values():
        train, rate = images(study, chain)[0], machine.rates[Setting.of(chain)]
        macs, epochs = machine.anatomy[chain.model, chain.dataset].macs, chain.recipe.epochs
        flops += paper_flops(work.trainings(chain), epochs, macs, train)
        computed += (
            epochs
            * train
            * sum(
                rate.macs_an_image(0 if work.dense else number)
                for number in range(work.first[chain.path], work.stop[chain.path])
            )
        )
    for chain in study.chains.values():
        if chain.teacher and not study.tabulated(chain):
            seen = images(study, chain)[0] * chain.recipe.epochs * work.trainings(chain)
            source = chain.teacher.chain
            computed += seen * machine.anatomy[source.model, source.dataset].macs
    for student in tabulated(study).values():
        source = student.teacher.chain
        if work.first[student.path] == 0:
            macs = machine.anatomy[source.model, source.dataset].macs
            computed += _passes(study, student) * macs
    return Forecast(
        trainings=sum(work.trainings(chain) for chain in study.chains.values()),
        flops=flops,
        flops_computed=computed,
        seconds=span(runs),
        seconds_at_least=span(schedule(todo, len(todo) or 1)),
        energy_kwh=energy[0] if energy else None,
        co2_g=energy[1] if energy else None,
    )


def _passes(study: Study, student: Chain) -> int:
    """How many images a teacher answers to for the table that its students look up."""
    return OUTCOMES[student.recipe.augmentation] * images(study, student)[0]


def training_seconds(
    study: Study, chain: Chain, rates: Mapping[Setting, Rates], round: float
) -> tuple[float, float]:
    """Of one round: its training, as metrics.json tells it, and the evaluation after it.

    An image's evaluation costs a third of a dense training step: the forward pass of three.
    """
    train, validation, test = images(study, chain)
    rate = rates[Setting.of(chain)]
    image_s = rate.seconds_an_image(round)
    if chain.teacher and not study.tabulated(chain):  # the teacher is in the loop
        image_s += rates[Setting.of(chain.teacher.chain)].seconds_an_image(0) / 3
    training = rate.setup_s + chain.recipe.epochs * train * image_s
    return training, (train + validation + test) * rate.seconds_an_image(0) / 3


def tasks(study: Study, rates: Mapping[Setting, Rates], work: Work) -> list[Job]:
    """The jobs of `work`, what each takes and waits for; none where nothing is left to train."""
    start_s = max(rate.start_s for rate in rates.values())
    todo: dict[str, Job] = {}

    def add(name: str, starts: float, needs: Iterable[str]) -> None:
        waits = tuple(need for need in needs if need in todo)
        todo[name] = Job(name, (starts + ENGINE) * start_s, waits)

    for chain in study.chains.values():
        if not work.trainings(chain):
            continue
        begin = f"labels {chain.labels}"
        if work.first[chain.path] > 0:
            begin = None  # what a chain begins with is there
        elif chain.teacher:
            source, which = chain.teacher.chain.path, chain.teacher.which
            begin = f"{source} 0"
            if which == "best":
                begin = f"teacher {chain.teacher.path}"
                if begin not in todo:
                    add(begin, LIGHT, [f"{source} {work.stop[source] - 1}"])
            if study.tabulated(chain):
                if chain.answers not in todo:
                    rate = rates[Setting.of(chain.teacher.chain)]
                    passing = _passes(study, chain) * rate.seconds_an_image(0) / 3
                    seconds = passing + (1 + ENGINE) * rate.start_s + rate.round_s
                    todo[chain.answers] = Job(
                        chain.answers,
                        seconds,
                        tuple({begin} & todo.keys()),
                        passing,
                        _joules(rate, passing),
                    )
                begin = chain.answers
        elif begin not in todo:
            add(begin, 2 * LIGHT, [])  # with the data set
        for job in chain_tasks(study, chain, rates, work, begin if begin in todo else None):
            todo[job.name] = job
    if todo:
        made = [*study.tables(), *study.figures()]
        add("collect", TABLE, list(todo))
        for name in made:
            add(name, FIGURE if name.startswith("figure") else TABLE, ["collect"])
        add("report", REPORT, made)
    return list(todo.values())


def chain_tasks(
    study: Study, chain: Chain, rates: Mapping[Setting, Rates], work: Work, begin: str | None
) -> Iterator[Job]:
    """A chain's rounds, one after the other, the first after `begin`.

    With `rounds_per_job` the first of a segment trains all of it, and the others fetch theirs.
    """
    rate, length = rates[Setting.of(chain)], study.config["rounds_per_job"]
    first, stop = work.first[chain.path], work.stop[chain.path]
    needs = (begin,) if begin else ()
    for number in range(first, stop):
        leader = number - (number - 1) % length if number else 0
        if number == leader:
            trained = range(number, min(number + length, stop) if number else 1)
        else:  # the leader may have run some other time
            trained = range(number, number + (leader < first))
        each = [training_seconds(study, chain, rates, 0 if work.dense else n) for n in trained]
        seconds = ENGINE * rate.start_s + (rate.start_s if each else LIGHT * rate.start_s)
        seconds += sum(rate.round_s + training + evaluation for training, evaluation in each)
        name = f"{chain.path} {number}"
        trained_s = sum(training for training, _ in each)
        yield Job(name, seconds, needs, trained_s, _joules(rate, trained_s))
        needs = (name,)


def _energy(
    study: Study, rates: Mapping[Setting, Rates], runs: list[Run]
) -> tuple[float, float] | None:
    """kWh and g CO2 of the trainings; None where the power was not measured.

    As each round meters it: the whole device, data centre included, while something trains.
    """
    powers = [rate.power for rate in rates.values()]
    if None in powers:
        return None
    alone = sum(run.job.training_s for run in runs)
    shared = training_time(runs) / alone if alone else 0.0
    kwh = sum(run.job.joules for run in runs) * shared / JOULES_PER_KWH
    intensity = study.config["energy"]["carbon_intensity"]
    return kwh, kwh * (powers[0].carbon_intensity if intensity is None else intensity)


def _joules(rate: Rates, training_s: float) -> float:
    return rate.power.watts * rate.power.pue * training_s if rate.power else 0.0
