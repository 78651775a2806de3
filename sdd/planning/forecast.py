"""What a study costs before it is run: jobs, computation, disk, and with measured rates time.

Pure: `sdd.planning.calibration` measures the rates, `sdd.planning.progress` finds what is there.
"""

from collections.abc import Mapping
from math import ceil, prod

from sdd.analysis.descent import stop_early
from sdd.analysis.paper import paper_flops
from sdd.deployment.jobs import deploys
from sdd.machine.reading import JOULES_PER_KWH
from sdd.planning.bill import Bill, Forecast
from sdd.planning.rates import Anatomy, Machine, Rates, Setting
from sdd.planning.schedule import Run, schedule, span, training_time
from sdd.planning.work import ChainRates, Work, images, passes, tasks, teaching, untrained
from sdd.report.catalogue import shown_figures, shown_tables
from sdd.study.study import Study

# A round's metrics.json and log: what is always there, and what an epoch adds.
RECORD_BYTES, EPOCH_BYTES = 3400, 250


def draw_up(study: Study, machine: Machine, done: Mapping[str, list[float]]) -> Bill:
    """The bill of `study` on this machine; `done` is what `progress.finished` returned."""
    whole = dict.fromkeys(study.chains, len(study.rounds))
    nothing = dict.fromkeys(study.chains, 0)
    there = {path: len(rounds) for path, rounds in done.items()}
    needed = trainings_needed(study, done)
    networks = {**study.chains, **untrained(study)}
    by_chain = {path: machine.rates[Setting.of(chain)] for path, chain in networks.items()}

    def forecast(work: Work) -> Forecast:
        return _forecast(study, machine, by_chain, work)

    rates = machine.rates
    power = next((r.power for r in rates.values() if r.power), None)
    return Bill(
        study=study.name,
        early_stopping_ends_chains=study.early_stopping_ends_chains,
        device=", ".join(dict.fromkeys(r.device for r in rates.values())),
        workers=machine.workers,
        load=machine.load,
        chains=len(study.chains),
        rounds=len(study.rounds),
        trainings=study.count,
        epochs=sum(chain.recipe_of(number).epochs for chain, number in study.trainings),
        jobs=jobs(study),
        done=study.count
        - sum(len(Work(there, whole).left(study, c)) for c in study.chains.values()),
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
    datasets = {chain.dataset for chain in study.chains.values()}
    own = {chain.dataset for chain in study.chains.values() if chain.data.own}
    students = sum(chain.teacher is not None for chain in study.chains.values())
    taught = sum(chain.teacher is not None for chain in study.by_dense.values())
    counts = {
        "prepare_dataset": len(datasets - own),
        "prepare_own_dataset": len(own),
        "noisy_labels": len({chain.labels for chain in study.chains.values()}),
        "check_model": len(study.checked_models),
        "train_dense": len(study.by_dense) - taught,
        "prune_retrain": (len(study.chains) - students) * study.last_round,
        "select_teacher": sum(t.chosen for t in study.teachers.values()),
        "adopt_teacher": len(study.outside_teachers),
        "teacher_logits": len(study.logits_users),
        "distill_dense": taught,
        "distill_retrain": students * study.last_round,
        "collect_rounds": 1,
        "deploy": len(study.chains) if deploys(study) else 0,
        "collect_deployments": int(deploys(study)),
        "table": len(shown_tables(study)),
        "figure": len(shown_figures(study)),
        "page": 1,
        "study_config": 1,
        "html_report": 1,
        "all": 1,
    }
    return {kind: count for kind, count in counts.items() if count}


def trainings_needed(study: Study, done: Mapping[str, list[float]]) -> dict[str, int] | None:
    """How many rounds of each chain early stopping would have trained.

    None before every round of the study is there. A chain of which a round is chosen to teach is
    trained to its end, since only then one knows which, unless early stopping really ends it.
    """
    if any(len(done[path]) < len(study.rounds) for path in study.chains):
        return None
    rule = study.config.early_stopping.rule
    teachers = {t.chain.path for t in study.teachers.values() if t.chosen}
    whole = set() if study.early_stopping_ends_chains else teachers
    return {
        path: len(study.rounds) if path in whole else stop_early(accuracies, rule).last + 1
        for path, accuracies in done.items()
    }


# --- What it costs --------------------------------------------------------------------------------


def disk(study: Study, anatomy: Mapping[tuple[str, str], Anatomy]) -> dict[str, int]:
    """Bytes of what stays: weights, records, data sets (without their originals) and labels."""
    chains = study.chains.values()
    data = {chain.dataset: chain.data for chain in chains}.values()
    each = {chain.labels: images(study, chain) for chain in chains}.values()
    return {
        "weights": sum(
            weights_bytes(anatomy[chain.model, chain.dataset], chain.pruning.fraction, number)
            for chain, number in study.trainings
        )
        + sum(
            anatomy[teacher.model, teacher.data.name].state_bytes
            for teacher in study.outside_teachers.values()
        ),
        "metrics and logs": sum(
            RECORD_BYTES + EPOCH_BYTES * chain.recipe_of(number).epochs
            for chain, number in study.trainings
        ),
        "data sets": sum(
            (d.train + d.test) * (prod(d.shape) + 8)
            + 8 * d.train * (len(d.human.kinds) if d.human else 0)
            for d in data
        ),
        "teacher logits": sum(
            study.logits_bytes(c.data, c.recipe.augmentation) for c in study.logits_users.values()
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


def _forecast(study: Study, machine: Machine, rates: ChainRates, work: Work) -> Forecast:
    todo = tasks(study, rates, work)
    runs = schedule(todo, machine.workers)
    energy = _energy(study, machine.rates, runs)
    trainings, flops, computed = 0, 0, 0.0
    for chain in study.chains.values():
        train, rate = images(study, chain)[0], rates[chain.path]
        macs = machine.anatomy[chain.model, chain.dataset].macs
        seen = {n: train * chain.recipe_of(n).epochs for n in work.left(study, chain)}
        trainings += len(seen)
        flops += paper_flops(1, 1, macs, sum(seen.values()))
        computed += sum(
            count * rate.macs_an_image(0 if work.dense else number)
            for number, count in seen.items()
        )
        if chain.teacher and not study.tabulated(chain):
            source = teaching(chain)
            macs = machine.anatomy[source.model, source.dataset].macs
            computed += sum(seen.values()) * macs
    for student in study.logits_users.values():
        source = teaching(student)
        if work.first[student.path] == 0:
            macs = machine.anatomy[source.model, source.dataset].macs
            computed += passes(study, student) * macs
    return Forecast(
        trainings=trainings,
        flops=flops,
        flops_computed=computed,
        seconds=span(runs),
        seconds_at_least=span(schedule(todo, len(todo) or 1)),
        energy_kwh=energy[0] if energy else None,
        co2_g=energy[1] if energy else None,
    )


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
    intensity = study.config.energy.carbon_intensity
    return kwh, kwh * (powers[0].carbon_intensity if intensity is None else intensity)
