"""The work that a study is: its jobs, what each takes, and what it waits for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sdd.deployment.jobs import deploys
from sdd.planning.rates import Rates
from sdd.planning.schedule import Job
from sdd.report.catalogue import shown_figures, shown_tables
from sdd.study.chains import Chain, OutsideTeacher, Teacher
from sdd.study.settings import OUTCOMES, Passes
from sdd.study.study import Study

# What jobs that train nothing take, in start-ups of a job that does (most of it `import torch`):
# ratios of processor times on two cores of an AMD EPYC.
LIGHT, TABLE, FIGURE, REPORT, DEPLOY, DEPLOYED = 0.06, 0.4, 1.6, 2.8, 4.0, 2.0
MEASURED = 1.1  # of what a deployment's config says, loading included
# Snakemake's own work for each job, in the same unit.
ENGINE = 0.03


# The rates of each chain by its path, and of each teacher from outside by its own.
ChainRates = Mapping[str, Rates]


@dataclass(frozen=True)
class Work:
    """How many rounds of each chain are already there, and up to where it is to be trained."""

    first: Mapping[str, int]
    stop: Mapping[str, int]
    dense: bool = False  # whether every round takes as long as the dense one

    def left(self, study: Study, chain: Chain) -> range:
        """The rounds that it has left to train; a dense one that is shared counts once."""
        first = self.first[chain.path]
        return range(first if study.trains(chain, first) else 1, self.stop[chain.path])


def images(study: Study, chain: Chain) -> tuple[int, int, int]:
    """How many images a round of it trains on, validates on and tests on."""
    return study.images(chain.data)


def teaching(student: Chain) -> Chain:
    """The chain of its teacher; of one from outside, which has none, one of the same network."""
    teacher = student.teacher
    if not isinstance(teacher, OutsideTeacher):
        return teacher.chain
    recipe = replace(student.recipe, **vars(Passes()))
    return replace(
        student, model=teacher.model, build=teacher.build, recipe=recipe,
        distillation=None, teacher=None,
    )  # fmt: skip


def untrained(study: Study) -> dict[str, Chain]:
    """For every teacher from outside, by its path, a chain of the same network."""
    return {
        chain.teacher.path: teaching(chain)
        for chain in study.chains.values()
        if isinstance(chain.teacher, OutsideTeacher)
    }


def network(teacher: Teacher | OutsideTeacher) -> str:
    """By which path its rates are known."""
    return teacher.path if isinstance(teacher, OutsideTeacher) else teacher.chain.path


def passes(study: Study, student: Chain) -> int:
    """For how many images a teacher's logits are tabulated, which its students look up."""
    return OUTCOMES[student.recipe.augmentation] * images(study, student)[0]


def training_seconds(
    study: Study, chain: Chain, rates: ChainRates, round: int, as_dense: bool = False
) -> tuple[float, float]:
    """Of one round: its training, as metrics.json tells it, and the evaluation after it.

    An image's evaluation costs a third of a dense training step: the forward pass of three.
    """
    train, validation, test = images(study, chain)
    rate = rates[chain.path]
    image_s = rate.seconds_an_image(0 if as_dense else round)
    if chain.teacher and not study.tabulated(chain):  # the teacher is in the loop
        image_s += rates[network(chain.teacher)].seconds_an_image(0) / 3
    training = rate.setup_s + chain.recipe_of(round).epochs * train * image_s
    return training, (train + validation + test) * rate.seconds_an_image(0) / 3


def tasks(study: Study, rates: ChainRates, work: Work) -> list[Job]:
    """The jobs of `work`, what each takes and waits for; none where nothing is left to train."""
    todo = Todo(max(rate.start_s for rate in rates.values()))
    for chain in study.chains.values():
        if left := work.left(study, chain):
            if left.start == 0:
                begin = _begin(study, chain, rates, work, todo)
                if chain.model_place:
                    todo.add(f"model {chain.model_place}", 1, [])
            else:  # another chain's job, if it is still to be done
                begin = todo.waiting([job_name(chain, 0)])
            for job in chain_tasks(study, chain, rates, work, begin):
                todo.jobs[job.name] = job
    if todo.jobs:
        tables = [entry.name for entry in shown_tables(study)]
        figures = [entry.name for entry in shown_figures(study)]
        collected = [todo.add("collect", TABLE, list(todo.jobs))]
        if deploys(study):
            collected.append(_deploy(study, todo))
        for names, starts in ((tables, TABLE), (figures, FIGURE)):
            for name in names:
                todo.add(name, starts, collected)
        todo.add("page", TABLE, ["collect", *tables])
        todo.add("report", REPORT, ["page", *figures])
    return list(todo.jobs.values())


def _deploy(study: Study, todo: "Todo") -> str:
    """Adds the jobs that deploy, one after the other since they measure; returns the last.

    A round that is two of those that are asked for counts twice here.
    """
    asked, before = study.config.deployment, "collect"
    each_s = len(asked.rounds) * (MEASURED * asked.seconds + DEPLOYED * todo.start_s)
    for chain in study.chains:
        name = f"deployed {chain}"
        seconds = (DEPLOY + ENGINE) * todo.start_s + each_s
        todo.jobs[name] = Job(name, seconds, todo.waiting([before]))
        before = name
    return todo.add("collect deployments", TABLE, [before])


@dataclass
class Todo:
    """Jobs by name, as they are found; `start_s` is what starting one that trains takes."""

    start_s: float
    jobs: dict[str, Job] = field(default_factory=dict)

    def add(self, name: str, starts: float, needs: Iterable[str]) -> str:
        """A job of so many start-ups, unless it is there; it waits for what is to be done."""
        if name not in self.jobs:
            self.jobs[name] = Job(name, (starts + ENGINE) * self.start_s, self.waiting(needs))
        return name

    def waiting(self, needs: Iterable[str]) -> tuple[str, ...]:
        return tuple(need for need in needs if need in self.jobs)


def _begin(
    study: Study, chain: Chain, rates: ChainRates, work: Work, todo: Todo
) -> tuple[str, ...]:
    """The jobs that a chain's dense round waits for, added with what they wait for themselves."""
    teacher = chain.teacher
    outside = isinstance(teacher, OutsideTeacher)
    if not teacher or outside:
        labels = todo.add(f"labels {chain.labels}", 2 * LIGHT, [])  # with the data set
    if not teacher:
        return (labels,)
    if outside:
        begin = (labels, todo.add(f"outside {teacher.place}", 1, []))
    elif teacher.chosen:
        source = teacher.chain
        last = job_name(source, work.stop[source.path] - 1)
        begin = (todo.add(f"teacher {teacher.path}", LIGHT, [last]),)
    else:
        begin = (job_name(teacher.chain, 0),)
    if study.tabulated(chain):
        logits = study.teacher_logits(chain).facts
        if logits not in todo.jobs:
            rate = rates[network(teacher)]
            passing = passes(study, chain) * rate.seconds_an_image(0) / 3
            whole = passing + (1 + ENGINE) * rate.start_s + rate.round_s
            todo.jobs[logits] = Job(
                logits, whole, todo.waiting(begin), passing, joules(rate, passing)
            )
        begin = (logits,)
    return todo.waiting(begin)


def chain_tasks(
    study: Study, chain: Chain, rates: ChainRates, work: Work, begin: tuple[str, ...]
) -> Iterator[Job]:
    """A chain's rounds, one after the other, the first after `begin`.

    With `rounds_per_job` the first of a segment trains all of it, and the others fetch theirs.
    """
    rate, length = rates[chain.path], study.config.rounds_per_job
    left, needs = work.left(study, chain), begin
    for number in left:
        leader = number - (number - 1) % length if number else 0
        if number == leader:
            trained = range(number, min(number + length, left.stop) if number else 1)
        else:  # the leader may have run some other time
            trained = range(number, number + (leader < left.start))
        each = [training_seconds(study, chain, rates, n, work.dense) for n in trained]
        seconds = ENGINE * rate.start_s + (rate.start_s if each else LIGHT * rate.start_s)
        seconds += sum(rate.round_s + training + evaluation for training, evaluation in each)
        name = job_name(chain, number)
        trained_s = sum(training for training, _ in each)
        yield Job(name, seconds, needs, trained_s, joules(rate, trained_s))
        needs = (name,)


def job_name(chain: Chain, number: int) -> str:
    """Of the job that trains a round."""
    return f"{chain.path_of(number)} {number}"


def joules(rate: Rates, training_s: float) -> float:
    return rate.power.watts * rate.power.pue * training_s if rate.power else 0.0
