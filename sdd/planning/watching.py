"""What the files of a study say while it runs. They are only read, and nothing is locked.

A round is there once its metrics are. One that is being trained has a log that grows by a line an
epoch, a folder in the study's state, and its chain's lock. All of it may be another user's, lie on
a network's disk, be half written, or go between two readings.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sdd.base import held_locks, layout
from sdd.base.layout import ChainState, round_name
from sdd.deployment.jobs import deploys
from sdd.report.catalogue import shown_figures, shown_tables
from sdd.study.chains import Chain
from sdd.study.metrics import Score
from sdd.study.study import Study

PATIENCE_S = 180.0  # a training that writes nothing for so long, and for three of its epochs ...
FIRST_S = 600.0  # ... or for so long before its first one, is said to be quiet
PIECE = 8192  # bytes of a log's beginning and of its end

EPOCH = re.compile(
    r"epoch (\d+)/(\d+)  learning rate \S+  loss (\S+)  training accuracy (\S+) % "
    r"\((?:(\S+) % of the true labels|true labels unknown)\)"
)
RESUMED = re.compile(r"^goes on after epoch (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class _Energy:
    energy_kwh: float | None


@dataclass(frozen=True)
class _Metrics:
    """Of metrics.json what a glance needs: read without its history, several times as fast."""

    spec: dict[str, Any]
    sparsity: float | None
    validation: Score
    test: Score
    ended: int | None
    train_images: int
    seconds: float
    energy: _Energy


@dataclass(frozen=True)
class Finished:
    """A round that is there."""

    round: int
    epochs: int
    images: int  # that it trained on
    seconds: float  # of training; 0 for one that early stopping left out
    sparsity: float | None
    validation: float | None
    test: float | None
    energy_kwh: float | None  # None: not measured
    ended: bool  # whether early stopping left it out
    written: float  # when, in seconds since 1970
    fits: bool  # whether it, and all before it, was made for this config by this code


@dataclass(frozen=True)
class Training:
    """A round that has been begun and is not there yet."""

    chain: str
    round: int
    # running: holds its lock on this machine. orphaned: the same, but no snakemake does. elsewhere:
    # it writes, but is not seen on this machine. quiet: it does not. interrupted, failed: it ended.
    state: str
    epoch: int  # epochs that are done
    epochs: int
    loss: float | None
    accuracy: float | None  # on the labels that it trains on
    clean_accuracy: float | None  # on the true ones
    epoch_s: float | None  # seconds an epoch, by when its files were written
    wrote: float  # when it last did, in seconds since 1970
    said: str  # its last words, if it ended

    @property
    def lives(self) -> bool:
        return self.state in ("running", "orphaned", "elsewhere")


class Failure(NamedTuple):
    """A job that trains nothing, and what it said in the end."""

    name: str
    said: str


@dataclass(frozen=True)
class Look:
    """A study at one moment."""

    at: float  # seconds since 1970
    snakemake: bool  # whether a run in this folder is seen on this machine
    # By chain, those that follow each other from 0 on; a shared dense one is each chain's.
    rounds: Mapping[str, tuple[Finished, ...]]
    trainings: tuple[Training, ...]
    failures: tuple[Failure, ...]
    unreadable: tuple[str, ...]  # files that are damaged, or not for this user
    trained: tuple[tuple[str, Finished], ...]  # each round once, with its chain

    @property
    def finished(self) -> list[Finished]:
        """Those that need not be trained again."""
        return [one for _, one in self.trained if one.fits]

    @property
    def outdated(self) -> int:
        """How many rounds are there that a run would train again."""
        return sum(not one.fits for _, one in self.trained)


class _Log(NamedTuple):
    """The whole lines at a log's beginning and end, and when it was last written to."""

    head: str
    lines: tuple[str, ...]
    wrote: float


class _Stamp(NamedTuple):
    """By which a file that was replaced is told from the one before it."""

    modified: int
    size: int
    inode: int


@dataclass
class Watch:
    """Looks at a study again and again; what has not changed is not read again."""

    study: Study
    clock: Callable[[], float] = time.time
    _known: dict[str, list[tuple[_Stamp, Finished]]] = field(default_factory=dict)
    _folders: dict[str, list[int]] = field(default_factory=dict)  # when each chain's changed
    _busy: set[str] = field(default_factory=set)  # chains that were at work at the last look
    _logs: dict[str, tuple[_Stamp, _Log]] = field(default_factory=dict)

    @cached_property
    def _others(self) -> tuple[tuple[str, str, str], ...]:
        return tuple(_other_jobs(self.study))

    def look(self) -> Look:
        now, held, unreadable = self.clock(), held_locks.held(), []
        snakemake = held_locks.inode(Path(layout.RUN_LOCK)) in held
        state = Path(self.study.layout.state)
        names = set(_listed(state))
        rounds, trainings, busy = {}, [], set()
        for path, chain in self.study.chains.items():
            places = dict.fromkeys(chain.path_of(number) for number in (0, 1))
            asides = [ChainState.of(state, place) for place in places]
            claimed = any({a.lock.name, a.claim.name} & names for a in asides)
            if claimed:
                busy.add(path)
            folders = [Path(self.study.layout.round(p, 0).facts).parent.parent for p in places]
            changed = [_modified(folder) for folder in folders]
            again = claimed or path in self._busy or changed != self._folders.get(path)
            self._folders[path] = changed
            delivered = self._delivered(chain, again, unreadable)
            waiting = self._waiting(chain, state, len(delivered), unreadable) if claimed else []
            rounds[path] = (*delivered, *waiting)
            number = len(rounds[path])
            if number < len(self.study.rounds) and self.study.trains(chain, number):
                training = self._training(chain, state, names, held, snakemake, number, now)
                trainings += [training] if training else []
        self._busy = busy
        return Look(
            now, snakemake, rounds, tuple(trainings), tuple(self._failures()),
            tuple(dict.fromkeys(unreadable)),
            tuple(
                (path, one)
                for path, chain in self.study.chains.items()
                for one in rounds[path]
                if self.study.trains(chain, one.round)
            ),
        )  # fmt: skip

    def _delivered(self, chain: Chain, again: bool, unreadable: list[str]) -> list[Finished]:
        """The rounds in their places, from the dense one on; those known are looked at `again`, or
        trusted. The next one always is."""
        known = self._known.setdefault(chain.path, [])
        start = 0 if again else len(known)
        for number in range(start, len(self.study.rounds)):
            path = self.study.files(chain, number).facts
            stamp = _stamp(path)
            if number < len(known) and known[number][0] == stamp:
                continue
            del known[number:]
            found = self._read(chain, number, path, stamp, unreadable) if stamp else None
            if found is None:
                break
            if known and not known[-1][1].fits:  # what builds on it is made anew, too
                found = replace(found, fits=False)
            known.append((stamp, found))
        return [one for _, one in known]

    def _waiting(
        self, chain: Chain, state: Path, first: int, unreadable: list[str]
    ) -> Iterator[Finished]:
        """Those that a job has trained ahead, and that no job has fetched yet."""
        for number in range(first, len(self.study.rounds)):
            path = str(ChainState.of(state, chain.path_of(number)).metrics(number))
            stamp = _stamp(path)
            found = self._read(chain, number, path, stamp, unreadable) if stamp else None
            if found is None or not found.fits:
                return
            yield found

    def _read(
        self, chain: Chain, number: int, path: str, stamp: _Stamp, unreadable: list[str]
    ) -> Finished | None:
        try:
            metrics = msgspec.json.decode(Path(path).read_bytes(), type=_Metrics)
        except FileNotFoundError:  # just now
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            unreadable.append(path)
            return None
        return Finished(
            round=number,
            epochs=chain.recipe_of(number).epochs,
            images=metrics.train_images,
            seconds=metrics.seconds,
            sparsity=metrics.sparsity,
            validation=metrics.validation.accuracy,
            test=metrics.test.accuracy,
            energy_kwh=metrics.energy.energy_kwh,
            ended=metrics.ended is not None,
            written=stamp.modified / 1e9,
            fits=metrics.spec == self.study.round_values(chain, number),
        )

    def _training(
        self,
        chain: Chain,
        state: Path,
        names: set[str],
        held: frozenset[int],
        snakemake: bool,
        number: int,
        now: float,
    ) -> Training | None:
        """What is going on at its next round; None where nothing is."""
        aside = ChainState.of(state, chain.path_of(number))
        own = self.study.files(chain, number).log
        log = self._log(str(aside.log(number))) or self._log(own)
        there = aside.lock.name in names
        if log is None and not there:
            return None
        begun = _modified(aside.folder / round_name(number)) / 1e9
        head, lines, wrote = log or _Log("", (), begun)
        epoch, told = 0, None
        for line in reversed(lines):
            if told := EPOCH.match(line):
                epoch = int(told[1])
                break
        resumed = RESUMED.search(head)
        own_epochs = epoch - (int(resumed[1]) if resumed else 0)
        epoch_s = (wrote - begun) / own_epochs if begun and own_epochs > 0 else None
        if epoch_s is not None and epoch_s <= 0:  # clocks of a network's disk differ
            epoch_s = None
        if there:
            how, said = _liveness(aside, held, snakemake, now - max(wrote, begun), epoch_s), ""
        else:
            how, said = _ending(lines)
            if not how:
                return None
        return Training(
            chain=chain.path,
            round=number,
            state=how,
            epoch=epoch,
            epochs=int(told[2]) if told else chain.recipe_of(number).epochs,
            loss=float(told[3]) if told else None,
            accuracy=float(told[4]) if told else None,
            clean_accuracy=float(told[5]) if told and told[5] else None,
            epoch_s=epoch_s,
            wrote=max(wrote, begun),
            said=said,
        )

    def _failures(self) -> Iterator[Failure]:
        """Of the jobs whose file is missing, those whose log ends with an error."""
        for name, output, path in self._others:
            if _stamp(output) is None and (log := self._log(path)):
                state, said = _ending(log.lines)
                if state == "failed":
                    yield Failure(name, said)

    def _log(self, path: str) -> _Log | None:
        """None where there is none, or none for this user."""
        stamp = _stamp(path)
        if stamp is None:
            self._logs.pop(path, None)
            return None
        known = self._logs.get(path)
        if known and known[0] == stamp:
            return known[1]
        try:
            with open(path, "rb") as file:
                head = file.read(PIECE)
                file.seek(max(0, stamp.size - PIECE))
                tail = file.read(PIECE)
        except OSError:
            return None
        # A line that is being written has no end yet.
        whole = tail.rpartition(b"\n")[0].decode("utf-8", "replace")
        log = _Log(head.decode("utf-8", "replace"), tuple(whole.splitlines()), stamp.modified / 1e9)
        self._logs[path] = stamp, log
        return log


def _liveness(
    aside: ChainState, held: frozenset[int], snakemake: bool, quiet_s: float, epoch_s: float | None
) -> str:
    if held_locks.inode(aside.lock) in held:
        return "running" if snakemake else "orphaned"
    patience = FIRST_S if epoch_s is None else max(PATIENCE_S, 3 * epoch_s)
    return "elsewhere" if quiet_s < patience else "quiet"


def _ending(lines: Sequence[str]) -> tuple[str, str]:
    """How the job of a log ended, and its last words; empty where it is at work, or all is well."""
    for line in lines:
        if line.startswith(("interrupted after epoch", "stops after epoch")):
            return "interrupted", line
        if line.startswith("error: "):
            return "failed", line.removeprefix("error: ")
        if line.startswith("Traceback "):
            return "failed", lines[-1]
    return "", ""


def _other_jobs(study: Study) -> Iterator[tuple[str, str, str]]:
    """What each is called, the file that it makes, and its log."""
    files = study.layout
    for name, prepared in sorted({c.dataset: c.data for c in study.chains.values()}.items()):
        data = study.dataset(prepared)
        yield f"data set {name}", data.facts, data.log
    for name in study.by_labels:
        labels = files.labels(name)
        yield f"labels {name}", labels.facts, labels.log
    for place in study.checked_models:
        yield f"model {place}", files.model(place), files.model_log(place)
    for teacher in study.teachers.values():
        if teacher.chosen:
            path = teacher.path
            yield f"choice of the teacher {path}", files.choice(path), files.choice_log(path)
    for place in study.outside_teachers:
        adopted = files.outside_teacher(place)
        yield f"teacher from outside {place}", adopted.facts, adopted.log
    for logits in study.logits_users:
        yield f"teacher logits {Path(logits.facts).parent}", logits.facts, logits.log
    yield "collecting all rounds", files.rounds, files.report_log("collect_rounds")
    if deploys(study):
        for chain in study.chains:
            first = files.deployed(chain, study.config.deployment.rounds[0]).facts
            yield f"deployed models of {chain}", first, files.deployed_log(chain)
        yield (
            "collecting deployed models",
            files.deployments,
            files.report_log("collect_deployments"),
        )
    for entry in shown_tables(study):
        yield f"table {entry.name}", files.table(entry.name), files.report_log(entry.name)
    for entry in shown_figures(study):
        yield f"figure {entry.name}", files.figure(entry.name), files.report_log(entry.name)
    yield "page", files.page, files.report_log("page")
    yield "report", files.html, files.report_log("html_report")


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _modified(path: Path) -> int:
    """In nanoseconds since 1970; 0 where nothing can be seen."""
    stamp = _stamp(str(path))
    return stamp.modified if stamp else 0


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
