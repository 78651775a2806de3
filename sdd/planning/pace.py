"""How long the rest of a running study takes, judged by the rounds of it that are done.

A training takes what trainings of the same model, recipe and method took at the same sparsity;
between rounds that are known it is interpolated, beyond them the nearest one counts. What jobs take
besides their training is what the last of them took together, so many at a time.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from statistics import mean

from sdd.planning.rates import Rates, Setting
from sdd.planning.schedule import schedule, span
from sdd.planning.watching import Finished, Look
from sdd.planning.work import (
    ENGINE,
    LIGHT,
    ChainRates,
    Work,
    job_name,
    network,
    tasks,
    training_seconds,
    untrained,
)
from sdd.study.chains import Chain
from sdd.study.study import Study

RECENT = 60  # rounds that say what jobs take besides their training
PAUSE_S = 60.0  # a gap between two rounds that is so much longer than any training was a pause


@dataclass(frozen=True)
class Left:
    """What is still to be done."""

    rounds: int
    seconds: float  # with so many trainings at a time; without what nothing is known of
    workers: int
    unknown: Mapping[str, int]  # rounds of models of which none is done, nor one of their epochs
    trainings: Mapping[str, float]  # seconds of those that run, by chain


@dataclass
class Pace:
    """The pace of one study; what does not change while it runs is found once."""

    study: Study

    @cached_property
    def _kinds(self) -> dict[str, tuple[Hashable, Hashable]]:
        """Of each chain: whose rounds it compares with, and whose if there are none of these."""
        kinds = {}
        for path, chain in self.study.chains.items():
            setting = Setting.of(chain)
            tabulated = chain.teacher and self.study.tabulated(chain)
            method = chain.retraining, chain.pruning, chain.teacher is not None, tabulated
            kinds[path] = (setting, method), setting
        return kinds

    def left(self, look: Look, workers: int) -> Left:
        """`workers`: how many trainings are taken to run at a time."""
        rates = self._rates(look)
        there = {path: sum(r.fits for r in rounds) for path, rounds in look.rounds.items()}
        work = Work(there, dict.fromkeys(self.study.chains, len(self.study.rounds)))
        unknown: dict[str, int] = {}
        for path, chain in self.study.chains.items():
            if path not in rates and there[path] < len(self.study.rounds):
                missing = len(work.left(self.study, chain))
                unknown[chain.model] = unknown.get(chain.model, 0) + missing
        nothing = Rates(0.0, 0.0, 0.0, {0: 0.0}, {0: 0.0}, None, "")
        # A teacher from outside is never timed: its passes are in the rounds of its students.
        networks = (*self.study.chains, *untrained(self.study))
        known = {path: rates.get(path, nothing) for path in networks}
        start_s = self._start(look, known, workers)
        known = {path: replace(rate, start_s=start_s) for path, rate in known.items()}
        running = list(self._ongoing(look, known))
        done = {job: seconds for _, job, _, seconds in running}
        todo = [
            # What a training has done already is not done again.
            replace(job, seconds=max(0.0, job.seconds - start_s - done[job.name]))
            if job.name in done
            else job
            for job in tasks(self.study, known, work)
        ]
        return Left(
            rounds=self.study.count - len(look.finished),
            seconds=span(schedule(todo, workers)),
            workers=workers,
            unknown=unknown,
            trainings={path: left for path, _, left, _ in running if path in rates},
        )

    def _rates(self, look: Look) -> dict[str, Rates]:
        """Of each chain that compares with some round; without what jobs take besides."""
        points: dict[Hashable, dict[int, list[float]]] = {}

        def add(chain: Chain, round: int, image_s: float) -> None:
            for kind in self._kinds[chain.path][: 2 if chain.teacher is None else 1]:
                points.setdefault(kind, {}).setdefault(round, []).append(image_s)

        for path, rounds in look.rounds.items():
            for one in filter(_tells, rounds):
                add(self.study.chains[path], one.round, one.seconds / one.epochs / one.images)
        measured = {kind: set(rounds) for kind, rounds in points.items()}
        for training in look.trainings:  # by its own epochs, where no round that is done tells more
            chain = self.study.chains[training.chain]
            near = measured.get(self._kinds[training.chain][0], set())
            if training.lives and training.epoch_s and training.round not in near:
                images = self.study.images(chain.data)[0]
                add(chain, training.round, training.epoch_s / images)
        found = {}
        for path in self.study.chains:
            for kind in self._kinds[path]:
                if kind in points:
                    image_s = {number: mean(times) for number, times in points[kind].items()}
                    found[path] = Rates(0.0, 0.0, 0.0, image_s, {0: 0.0}, None, "")
                    break
        # Of a teacher in the loop, its passes are counted apart: sdd.planning.work adds them.
        for path, chain in self.study.chains.items():
            own = path in found and self._kinds[path][0] in points
            if own and chain.teacher and not self.study.tabulated(chain):
                source = found.get(network(chain.teacher))
                if source:
                    passes = source.seconds_an_image(0) / 3
                    image_s = {n: max(0.0, s - passes) for n, s in found[path].image_s.items()}
                    found[path] = replace(found[path], image_s=image_s)
        return found

    def _start(self, look: Look, rates: ChainRates, workers: int) -> float:
        """What a job takes besides training and evaluation: by how fast the last rounds came."""
        trained = [each for each in look.trained if _tells(each[1])]
        done = sorted(trained, key=lambda each: each[1].written)[-RECENT:]
        longest = max((one.seconds for _, one in done), default=0.0)
        gaps, took = 0.0, []
        for (_, before), (path, one) in pairwise(done):
            gap = one.written - before.written
            if gap <= longest + PAUSE_S:
                chain = self.study.chains[path]
                evaluation = training_seconds(self.study, chain, rates, one.round)[1]
                gaps += gap
                took.append(one.seconds + evaluation)
        if not took:
            return 0.0
        length = self.study.config.rounds_per_job
        starts = len(took) * (ENGINE + 1 / length + (1 - 1 / length) * LIGHT)
        return max(0.0, workers * gaps - sum(took)) / starts

    def _ongoing(self, look: Look, rates: ChainRates) -> Iterator[tuple[str, str, float, float]]:
        """Of each training that runs its chain and its job, the seconds left and those done."""
        for training in look.trainings:
            if training.lives:
                chain = self.study.chains[training.chain]
                expected, after = training_seconds(self.study, chain, rates, training.round)
                if training.epoch_s:  # it knows best
                    expected = training.epoch_s * training.epochs
                share = training.epoch / training.epochs
                left, done = (1 - share) * expected + after, share * expected
                yield training.chain, job_name(chain, training.round), left, done


def _tells(round: Finished) -> bool:
    """Whether it says what a training of this config takes."""
    return round.fits and not round.ended and round.seconds > 0
