"""A look at a running study as lines of text, for a terminal of any size."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sdd.planning.bill import duration, energy
from sdd.planning.pace import Left
from sdd.planning.watching import Finished, Look, Training
from sdd.study.study import Study

PLAIN, DIM, BOLD, RED, GREEN, YELLOW = "", "2", "1", "31", "32", "33"
BAR = 20  # letters of a chain's bar, at most
FEWEST = 20  # columns below which nothing would be read

STATES = {
    "running": "running",
    "orphaned": "running without a snakemake on this machine",
    "elsewhere": "not seen on this machine",
    "quiet": "quiet: killed, or held up",
    "interrupted": "interrupted",
    "failed": "failed",
}


@dataclass(frozen=True)
class Line:
    text: str
    colour: str = PLAIN


def lines(study: Study, look: Look, left: Left, height: int | None = None) -> list[Line]:
    """The screen, in at most `height` lines: what went wrong first, then what runs, then chains."""
    names = _Names(list(study.chains))
    page = [*_head(study, look, left, names)]
    every = (_wrong(look, names), _running(look, left, names), _chains(study, look, names))
    sections = [section for section in every if section]
    for after, section in reversed([*enumerate(reversed(sections))]):
        room = None
        if height is not None:  # each of those after it has two lines at least
            free = height - len(page)
            room = max(min(free, 2), free - 2 * after)
        page += _fitted(section, room)
    return page[:height]


def text(page: Sequence[Line], width: int, colours: bool) -> list[str]:
    """Each line cut to `width`, with its colour where the terminal may show one."""
    width = max(width, FEWEST)
    cut = [
        line.text if len(line.text) <= width else f"{line.text[: width - 3]}..." for line in page
    ]
    if not colours:
        return cut
    return [
        f"\033[{line.colour}m{said}\033[0m" if line.colour else said
        for line, said in zip(page, cut, strict=True)
    ]


class _Names:
    """Chains by the parts of their paths in which they differ."""

    def __init__(self, paths: Sequence[str]) -> None:
        parts = [path.split("/") for path in paths]
        self._differ = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
        if not any(self._differ):
            self._differ[-1] = True
        same = zip(parts[0], self._differ, strict=True)
        self.shared = "/".join(part for part, differs in same if not differs)

    def __getitem__(self, path: str) -> str:
        parts = zip(path.split("/"), self._differ, strict=True)
        return "/".join(part for part, differs in parts if differs)


def _head(study: Study, look: Look, left: Left, names: _Names) -> Iterator[Line]:
    clock = time.strftime("%H:%M:%S", time.localtime(look.at))
    runs = "snakemake runs on this machine" if look.snakemake else "no snakemake on this machine"
    yield Line(f"{study.name}  {clock}  {runs}", BOLD)
    total = study.count
    done = total - left.rounds
    yield Line(f"{_bar(done, total, BAR)} {done:,} of {total:,} rounds  {100 * done / total:.0f} %")
    yield Line(remaining(left))
    yield Line(_energy(look.finished))
    if look.outdated:
        yield Line(
            f"{look.outdated:,} rounds are of another config or code: a run makes them again",
            YELLOW,
        )
    if names.shared:
        yield Line(f"all chains: {names.shared}", DIM)


def remaining(left: Left) -> str:
    """How long the rest takes, in words."""
    if not left.rounds:
        return "every round is done"
    lacking = ", ".join(f"{count:,} of {model}" for model, count in left.unknown.items())
    if sum(left.unknown.values()) == left.rounds:
        return "time left: not known before the first epochs"
    said = f"about {duration(left.seconds)} left, {left.workers} at a time"
    return f"{said}; not counted, none being done: {lacking}" if lacking else said


def _energy(finished: Sequence[Finished]) -> str:
    known = [one.energy_kwh for one in finished if one.energy_kwh is not None]
    if not known:
        return f"energy: {'not measured' if finished else 'nothing yet'}"
    missing = len(finished) - len(known)
    said = f"energy: {energy(sum(known))}"
    return f"{said}, without {missing:,} rounds that were not measured" if missing else said


def _wrong(look: Look, names: _Names) -> list[Line]:
    found = [
        Line(f"  {names[t.chain]} round {t.round:02d}  {STATES[t.state]}{_why(look, t)}", RED)
        for t in look.trainings
        if not t.lives
    ]
    found += [Line(f"  {failure.name}  failed: {failure.said}", RED) for failure in look.failures]
    found += [
        Line(f"  {path}  is damaged, or not for you to read", RED) for path in look.unreadable
    ]
    return [Line(""), Line("went wrong", BOLD), *found] if found else []


def _why(look: Look, training: Training) -> str:
    if training.said:
        return f": {training.said}"
    after = f" after epoch {training.epoch}/{training.epochs}" if training.epoch else ""
    return f"{after}, wrote {duration(max(0.0, look.at - training.wrote))} ago"


def _running(look: Look, left: Left, names: _Names) -> list[Line]:
    found = [Line(_progress(look, left, names, t)) for t in look.trainings if t.lives]
    return [Line(""), Line("running", BOLD), *found] if found else []


def _progress(look: Look, left: Left, names: _Names, training: Training) -> str:
    said = f"  {names[training.chain]} round {training.round:02d}"
    said += f"  epoch {training.epoch}/{training.epochs}"
    if training.chain in left.trainings:
        said += f"  {duration(left.trainings[training.chain])} left"
    if training.loss is not None:
        said += f"  loss {training.loss:.4f}  training {training.accuracy:.1f} %"
    if training.clean_accuracy is not None:
        said += f" (true labels {training.clean_accuracy:.1f} %)"
    if training.state != "running":
        said += (
            f"  {STATES[training.state]}, wrote {duration(max(0, look.at - training.wrote))} ago"
        )
    return said


def _chains(study: Study, look: Look, names: _Names) -> list[Line]:
    """Those begun, then those that are not, then those that are done."""
    total = len(study.rounds)
    begun, waiting, done = [], [], []
    for path in study.chains:
        fitting = [one for one in look.rounds[path] if one.fits]
        count = len(fitting)
        said = f"  {_bar(count, total, BAR // 2)} {count:>3}/{total}  {names[path]}"
        trained = [one for one in fitting if not one.ended]
        if trained:
            last = trained[-1]
            said += f"  {last.sparsity:.1f} % sparse: validation {last.validation:.1f} %"
            said += f"  test {last.test:.1f} %"
        if count < len(trained) or len(trained) < count:
            said += f"  ended early after round {trained[-1].round:02d}"
        line = Line(said, GREEN if count == total else PLAIN if count else DIM)
        (done if count == total else begun if count else waiting).append(line)
    head = f"chains: {len(done)} done, {len(begun)} begun, {len(waiting)} not begun"
    return [Line(""), Line(head, BOLD), *begun, *waiting, *done]


def _fitted(section: list[Line], room: int | None) -> list[Line]:
    """As many of a section's lines as there is room for; the last says how many there are more."""
    if room is None or len(section) <= room:
        return section
    _, title, *lines = section
    fitting = max(0, room - 3)
    more = Line(f"  and {len(lines) - fitting:,} more", DIM)
    if room < 3:  # without the empty line above
        return [title, more][: max(0, room)]
    return [*section[: 2 + fitting], more]


def _bar(done: int, total: int, width: int) -> str:
    filled = width * done // total
    return f"[{'#' * filled}{'.' * (width - filled)}]"
