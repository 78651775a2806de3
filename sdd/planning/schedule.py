"""When jobs would run that wait for each other, on so many workers: a list schedule."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import prod


@dataclass(frozen=True)
class Job:
    """A piece of work that one worker does in one go, once all that it `needs` is done."""

    name: str
    seconds: float
    needs: tuple[str, ...] = ()
    training_s: float = 0.0  # of the seconds, those in which it trains
    joules: float = 0.0  # that the whole device draws in these


@dataclass(frozen=True)
class Run:
    job: Job
    start_s: float
    end_s: float


def schedule(jobs: Sequence[Job], workers: int) -> list[Run]:
    """Every job's run, in the order of their starts.

    A free worker takes the job that has been ready longest; of several, the one listed first.
    Raises KeyError for a need that is not among the jobs, ValueError if jobs wait in a circle.
    """
    index = {job.name: i for i, job in enumerate(jobs)}
    missing = [len(job.needs) for job in jobs]
    followers = defaultdict(list)
    for i, job in enumerate(jobs):
        for need in job.needs:
            followers[index[need]].append(i)
    now = 0.0
    ready = [(now, i) for i, count in enumerate(missing) if count == 0]
    running: list[tuple[float, int]] = []
    runs: list[Run] = []
    while ready or running:
        while ready and len(running) < workers:
            _, i = heappop(ready)
            heappush(running, (now + jobs[i].seconds, i))
            runs.append(Run(jobs[i], now, now + jobs[i].seconds))
        now, ended = heappop(running)
        for i in followers[ended]:
            missing[i] -= 1
            if missing[i] == 0:
                heappush(ready, (now, i))
    if len(runs) < len(jobs):
        raise ValueError("some jobs wait for each other in a circle")
    return runs


def span(runs: Sequence[Run]) -> float:
    """Seconds from the first start to the last end."""
    return max((run.end_s for run in runs), default=0.0)


def training_time(runs: Sequence[Run]) -> float:
    """Seconds in which at least one job trains, on average over when within its run each does."""
    edges = sorted(
        [(run.start_s, 1, i) for i, run in enumerate(runs)]
        + [(run.end_s, 0, i) for i, run in enumerate(runs)]
    )
    idle: dict[int, float] = {}  # of each running job, the share of its time without training
    total, before = 0.0, 0.0
    for now, starts, i in edges:
        total += (now - before) * (1 - prod(idle.values()))
        before = now
        if starts:
            job = runs[i].job
            idle[i] = 1 - job.training_s / job.seconds if job.seconds else 1.0
        else:
            idle.pop(i, None)
    return total
