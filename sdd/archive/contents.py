"""What an archive of a study holds, once the study is found to be finished and unaltered.

Every file has the path that it has in the study's folder, so that an archive that is unpacked is
such a folder: with the code in it, each table and figure can be redrawn there.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdd.analysis import collecting
from sdd.analysis.selection import select_teacher
from sdd.base import fingerprint, layout, names
from sdd.base.errors import DataError, StudyError
from sdd.base.files import canonical, read_record, sha256
from sdd.base.fingerprint import PACKAGE
from sdd.data.facts import read_facts, read_label_facts
from sdd.deployment import collecting as deployments
from sdd.deployment.facts import Deployment
from sdd.deployment.jobs import deployments_spec, deploys
from sdd.planning import progress
from sdd.report import catalogue, figure_writer, seals, table_writer
from sdd.report.catalogue import Entry
from sdd.report.material import Material
from sdd.report.naming import without_truth
from sdd.study.chains import Chain
from sdd.study.metrics import OutsideFacts, TeacherLogitsFacts, read_metrics
from sdd.study.study import Study

# Which weights are put in: none, those that a figure shows, and with these every dense round's,
# every chain's best round's, or all.
WEIGHTS = ("none", "shown", "dense", "best", "all")
CODE = ("Snakefile", "config.yaml", "LICENSE", "CITATION.cff", "README.md", "pyproject.toml")
FOLDERS = ("sdd", "workflow", "envs")
MOST_NAMED = 5  # of what is wrong with a study

TABLE, FIGURE = ("csv", "md", "tex", "json"), ("png", "pdf", "json")


@dataclass(frozen=True)
class Contents:
    """The files of an archive by their paths in it, and those that are left out."""

    files: dict[str, Path]
    left_out: dict[str, str]  # their sha256
    redraw: dict[str, Any]  # of each table and figure what its stage is given
    versions: dict[str, Any]


def gather(study: Study, weights: str) -> Contents:
    """Raises StudyError, naming what is missing or altered, for a study that is not to be kept."""
    _insist(study, _unfinished(study))
    bulk = dict(_bulk(study))
    _insist(study, _damaged(bulk))
    _insist(study, _altered(study))
    kept = kept_weights(study, weights)
    paths = [*_facts(study), *_reports(study), *kept]
    files = {path: Path(path) for path in paths} | dict(_code(study))
    left_out = {path: digest for path, digest in bulk.items() if path not in kept}
    return Contents(dict(sorted(files.items())), left_out, _redraw(study), _versions(study))


def _insist(study: Study, wrong: Iterable[str]) -> None:
    found = list(wrong)
    if found:
        shown = "\n".join(f"  {one}" for one in found[:MOST_NAMED])
        more = f"\n  and {len(found) - MOST_NAMED:,} more" if len(found) > MOST_NAMED else ""
        raise StudyError(
            f"{study.name} is not archived, since it is not finished as its config says:\n{shown}"
            f"{more}\nRun snakemake again, with the same --configfile."
        )


# --- What a study must hold -----------------------------------------------------------------------


def _unfinished(study: Study) -> Iterator[str]:
    """What is missing, or was made from something else."""
    done = progress.finished(study)
    for path, rounds in done.items():
        if len(rounds) < len(study.rounds):
            facts = study.files(study.chains[path], len(rounds)).facts
            state = "does not fit" if Path(facts).exists() else "is missing"
            yield f"{facts} {state}: {len(rounds)} of {len(study.rounds)} rounds of this chain fit"
    for path in (*_facts(study), *_reports(study)):
        if not Path(path).is_file():
            yield f"{path} is missing"


def _damaged(bulk: dict[str, str]) -> Iterator[str]:
    """Big files that are not those that their facts vouch for."""
    for path, digest in bulk.items():
        try:
            if sha256(Path(path)) != digest:
                yield f"{path} was altered: it does not match its checksum"
        except DataError as error:
            yield str(error)


def _altered(study: Study) -> Iterator[str]:
    """Files that are not what those that they follow from give; all is made again to compare."""
    config = Path(study.layout.study_config)
    if config.read_text("utf-8") != canonical(study.lasting_config) + "\n":
        yield f"{config} is of another config"
    with tempfile.TemporaryDirectory(prefix="sdd-archive-") as folder:
        again = Path(folder, layout.ROUNDS)
        first = Path(study.files(next(iter(study.chains.values())), 0).facts)
        try:
            collecting.collect(catalogue.collect_spec(study), first, again)
        except DataError as error:
            yield str(error)
            return
        made = {study.layout.rounds: again, study.layout.rounds_facts: again.with_suffix(".json")}
        if deploys(study):
            table = Path(folder, layout.DEPLOYMENTS)
            deployed = [Path(one.facts) for one in _deployed(study)]
            deployments.collect(deployments_spec(study), deployed, table)
            facts = layout.facts_of_deployments(table)
            made |= {study.layout.deployments: table, study.layout.deployments_facts: facts}
        for entry in (*catalogue.shown_tables(study), *catalogue.shown_figures(study)):
            made |= _made(study, entry, again, Path(folder))
        for path, file in made.items():
            if Path(path).read_bytes() != file.read_bytes():
                yield f"{path} is not what this study gives: delete it"


def _made(study: Study, entry: Entry, rounds: Path, folder: Path) -> dict[str, Path]:
    """The files of a table or figure, made anew."""
    shown = [Path(study.files(c, n).facts) for c, n in entry.weights(study)]
    deployed = Path(study.layout.deployments) if _shows_deployed(study, entry) else None
    material = Material.of(catalogue.report_spec(study, entry), rounds, shown, deployed)
    build, stem = names.load(entry.builder), folder / entry.name
    if isinstance(entry, catalogue.Table):
        frame = table_writer.frame(entry.name, build(material))
        written = table_writer.write(frame, stem, without_truth(material.rounds))
    else:
        written = figure_writer.write(figure_writer.drawn(build, material), stem)
    seals.seal(written, rounds)
    return {path: Path(f"{stem}{Path(path).suffix}") for path in _drawn(study, entry)}


# --- Which files ----------------------------------------------------------------------------------


def _datasets(study: Study) -> list[layout.Files]:
    data = {chain.dataset: chain.data for chain in study.chains.values()}
    return [study.dataset(data[name]) for name in sorted(data)]


def _facts(study: Study) -> Iterator[str]:
    """Of every data set, labels, round and teacher: what is known, but for the bulk."""
    files = study.layout
    for data in _datasets(study):
        yield data.facts
    for labels in study.by_labels:
        yield files.labels(labels).facts
    for place in study.checked_models:
        yield files.model(place)
    for chain, number in study.trainings:
        yield study.files(chain, number).facts
    for teacher in study.teachers.values():
        if teacher.chosen:
            yield files.choice(teacher.path)
    for place in study.outside_teachers:
        yield files.outside_teacher(place).facts
    for logits in study.logits_users:
        yield logits.facts
        yield logits.cost
    for deployed in _deployed(study):
        yield deployed.facts


def _deployed(study: Study) -> list[layout.DeployedFiles]:
    """Of every deployed model."""
    return [
        study.layout.deployed(chain, which)
        for chain in study.chains
        for which in study.config.deployment.rounds
    ]


def _shows_deployed(study: Study, entry: Entry) -> bool:
    return entry.deployed and deploys(study)


def _drawn(study: Study, entry: Entry) -> list[str]:
    if isinstance(entry, catalogue.Table):
        return [study.layout.table(entry.name, suffix) for suffix in TABLE]
    return [study.layout.figure(entry.name, suffix) for suffix in FIGURE]


def _reports(study: Study) -> Iterator[str]:
    files = study.layout
    yield from (files.study_config, files.rounds, files.rounds_facts)
    yield from (files.page, files.opening, files.opening_facts, files.html)
    if deploys(study):
        yield from (files.deployments, files.deployments_facts)
    for entry in (*catalogue.shown_tables(study), *catalogue.shown_figures(study)):
        yield from _drawn(study, entry)


def _bulk(study: Study) -> Iterator[tuple[str, str]]:
    """The big files, with the sha256 that their facts vouch for."""
    files = study.layout
    for data in _datasets(study):
        yield data.data, read_facts(Path(data.facts)).sha256
    for labels in study.by_labels:
        made = files.labels(labels)
        yield made.data, read_label_facts(Path(made.facts)).sha256
    for chain, number in study.trainings:
        round = study.files(chain, number)
        yield round.data, read_metrics(Path(round.facts)).weights_sha256
    for place in study.outside_teachers:
        adopted = files.outside_teacher(place)
        facts = read_record(Path(adopted.facts), OutsideFacts)
        yield adopted.data, facts.weights_sha256
    for logits in study.logits_users:
        yield logits.data, read_record(Path(logits.facts), TeacherLogitsFacts).sha256
    for deployed in _deployed(study):
        made = read_record(Path(deployed.facts), Deployment)
        for path in deployed.models:
            yield path, made.files[Path(path).name]


def kept_weights(study: Study, weights: str) -> list[str]:
    """The paths of the weights that are put in."""
    if weights == "none":
        return []
    chosen = [(c, n) for e in catalogue.shown_figures(study) for c, n in e.weights(study)]
    if weights == "dense":
        chosen += [(chain, 0) for chain in study.chains.values()]
    elif weights == "best":
        chosen += [(chain, _best(study, chain)) for chain in study.chains.values()]
    elif weights == "all":
        chosen += study.trainings
    outside = study.outside_teachers if weights == "all" else ()
    deployed = _deployed(study) if weights == "all" else ()
    return [
        *sorted({study.files(chain, number).data for chain, number in chosen}),
        *(study.layout.outside_teacher(place).data for place in outside),
        *(path for one in deployed for path in one.models),
    ]


def _best(study: Study, chain: Chain) -> int:
    """A chain's best round, as a teacher is chosen."""
    facts = [Path(study.files(chain, number).facts) for number in study.rounds]
    _, validation, _ = study.images(chain.data)
    return select_teacher([read_metrics(one) for one in facts], "best", validation).round


def _code(study: Study) -> Iterator[tuple[str, Path]]:
    """The workflow beside the library, the library, and models of the user's own."""
    place = PACKAGE.parent
    for name in CODE:
        if (place / name).is_file():
            yield name, place / name
    for folder in FOLDERS:
        for file in sorted((place / folder).rglob("*")):
            parts = file.relative_to(place).parts
            if file.is_file() and "__pycache__" not in parts and not file.name.startswith("."):
                yield "/".join(parts), file
    if Path("config.yaml").is_file():  # the study's own, before the one beside the Snakefile
        yield "config.yaml", Path("config.yaml")
    here = Path.cwd()
    for network in (*study.chains.values(), *study.outside_teachers.values()):
        if network.build:
            for module in fingerprint.reached(network.builder):
                if module.root == here:
                    yield module.file.relative_to(here).as_posix(), module.file


# --- What is told beside them ---------------------------------------------------------------------


def _redraw(study: Study) -> dict[str, Any]:
    """The specs of collecting, of tables and of figures, and the files that each takes."""
    files = study.layout
    first = study.files(next(iter(study.chains.values())), 0).facts
    collect = {"spec": catalogue.collect_spec(study).to_dict(), "first": first}
    entries = (*catalogue.shown_tables(study), *catalogue.shown_figures(study))
    return {
        "collect_rounds": collect | {"output": files.rounds},
        **{
            entry.name: {
                "stage": entry.stage.rpartition(".")[2],
                "spec": catalogue.report_spec(study, entry).to_dict(),
                "rounds": files.rounds,
                "weights": [study.files(c, n).facts for c, n in entry.weights(study)],
                **({"deployments": files.deployments} if _shows_deployed(study, entry) else {}),
                "output": _drawn(study, entry)[0],
            }
            for entry in entries
        },
    }


def _versions(study: Study) -> dict[str, Any]:
    """How many rounds each version, device and instruction set has trained."""
    counts: dict[str, Counter[str]] = {}
    for chain, number in study.trainings:
        metrics = read_metrics(Path(study.files(chain, number).facts))
        if metrics.ended is None:
            ran = metrics.versions | {
                "device": metrics.device,
                "instruction set": metrics.instruction_set or "not recorded",
                "code": metrics.spec.code,
            }
            for name, value in ran.items():
                counts.setdefault(name, Counter())[str(value)] += 1
    return {name: dict(sorted(values.items())) for name, values in sorted(counts.items())}
