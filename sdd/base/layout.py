"""Where everything of a study lies: every folder and file name, in this one place.

    resources/datasets/<dataset>/             a known data set, prepared, shared by all studies
    results/<study>/datasets/<dataset>/       one of the user's own, prepared
    results/<study>/models/<dataset>/<model>/ the check of a model, if anything can be wrong with it
    results/<study>/labels/<dataset>/<noise>/seed<k>/
    results/<study>/chains/<dataset>/<noise>/<model>/<objective>/seed<k>/round<rr>/
    results/<study>/teachers/<chain>/<best, one-standard-error or dense>/
    results/<study>/teachers/outside/<dataset>/<model>/<name>/    weights of the user's, adopted
    results/<study>/teachers/<dataset>/<noise>/<model>/<name>/seed<k>/outside/    what they say
    results/<study>/deployed/<chain>/<dense, best, sparsest or stopped>/    a round as others run it
    results/<study>/logs/...                  a log for each of these
    results/<study>/.state/                   what unfinished trainings go on from
    reports/<study>/                          rounds.csv, rounds.json, tables, figures, index.html,
                                              report.html and what it opens with

Paths are texts with forward slashes, relative to the working directory, as Snakemake has them;
parts that it fills in may be given as they stand in a rule, such as "{chain}". What a job is given
are JSON files with facts; the bulk beside such a file has its place by `data_of`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sdd.base.errors import DataError

DATASET, LABELS, METRICS, LOGITS = "dataset.json", "labels.json", "metrics.json", "logits.json"
CHOICE, COST, OUTSIDE = "teacher.json", "cost.json", "outside.json"
MODEL = "model.json"
ROUNDS, STUDY, REPORT = "rounds.csv", "study.json", "report.html"
PAGE, OPENING, OPENING_FACTS = "index.html", "opening.rst", "opening.json"
ROUNDS_FACTS = "rounds.json"
DEPLOYMENT, DEPLOYMENTS = "deployment.json", "deployments.csv"

_DATA = {
    DATASET: "data.safetensors",
    LABELS: "labels.safetensors",
    METRICS: "model.safetensors",
    LOGITS: "logits.safetensors",
    OUTSIDE: "model.safetensors",
}

# A deployed model in float32, in int8, and with its zeros left out.
MODELS = {
    "deployed": "model.onnx",
    "int8": "model.int8.onnx",
    "sparse-layout": "model.sparse.onnx",
}

_STATE = ".state"
PREPARING = ".preparing.lock"  # beside a data set while it is made
RUN_LOCK = ".snakemake/run.lock"


class Files(NamedTuple):
    """What a job leaves: a JSON file with facts, the bulk that these vouch for, and its log."""

    facts: str
    data: str
    log: str


class LogitsFiles(NamedTuple):
    """The same of teacher logits, and what they took to make."""

    facts: str
    data: str
    log: str
    cost: str


class DeployedFiles(NamedTuple):
    """A deployed model: what is known of it, and itself, stored in several ways."""

    facts: str
    models: tuple[str, ...]


def data_of(facts: Path) -> Path:
    """The file beside `facts` that these facts are about: weights, images, labels, logits."""
    return facts.with_name(_DATA[facts.name])


def cost_of(logits: Path) -> Path:
    """The file beside the facts on teacher logits that says what these took to make."""
    return logits.with_name(COST)


def facts_of_rounds(rounds: Path) -> Path:
    """The file beside the table of all rounds that vouches for it."""
    return rounds.with_name(ROUNDS_FACTS)


def facts_of_deployments(deployments: Path) -> Path:
    """The file beside the table of all deployed models that vouches for it."""
    return deployments.with_suffix(".json")


def deployed_beside(deployment: Path, which: str) -> Path:
    """The facts on another deployed model of the same chain."""
    return deployment.parent.with_name(which) / deployment.name


def config_of_rounds(rounds: Path) -> Path:
    """The file beside the table of all rounds that has the study's whole config."""
    return rounds.with_name(STUDY)


def round_name(number: int | str) -> str:
    return f"round{number:02d}" if isinstance(number, int) else f"round{number}"


def dataset(name: str) -> Files:
    """Of a known data set, which is the same in every study."""
    return _dataset(f"resources/datasets/{name}")


def _dataset(folder: str) -> Files:
    return Files(f"{folder}/{DATASET}", f"{folder}/{_DATA[DATASET]}", f"{folder}/prepare.log")


def root(path: Path, relative: str) -> Path:
    """The folder from which `relative` leads to `path`. Raises DataError where it does not."""
    whole = path.as_posix()
    if whole != relative and not whole.endswith(f"/{relative}"):
        raise DataError(
            f"{path} does not lie where a study keeps it: at .../{relative}. Delete it, if it was "
            "put there, and run snakemake again."
        )
    return Path(whole.removesuffix(relative) or ".")


def state_of(metrics: str) -> str:
    """The folder of states of the study that a round's `metrics` belong to."""
    results, found, _ = metrics.rpartition("/chains/")
    if not found:
        raise DataError(f"{metrics} does not lie where a study keeps it: in .../chains/.")
    return f"{results}/{_STATE}"


@dataclass(frozen=True)
class Layout:
    """The files of one study, by its name."""

    study: str

    @property
    def results(self) -> str:
        return f"results/{self.study}"

    @property
    def reports(self) -> str:
        return f"reports/{self.study}"

    @property
    def state(self) -> str:
        return f"{self.results}/{_STATE}"

    def own_dataset(self, name: str) -> Files:
        """Of one of the user's own: in another study its name may stand for other data."""
        return _dataset(f"{self.results}/datasets/{name}")

    def labels(self, labels: str) -> Files:
        """Of the labels at the path <dataset>/<noise>/seed<k>."""
        folder = f"{self.results}/labels/{labels}"
        log = f"{self.results}/logs/labels/{labels}.log"
        return Files(f"{folder}/{LABELS}", f"{folder}/{_DATA[LABELS]}", log)

    def model(self, place: str) -> str:
        """What is known of a model once it is checked, at <dataset>/<model>: facts only."""
        return f"{self.results}/models/{place}/{MODEL}"

    def model_log(self, place: str) -> str:
        return f"{self.results}/logs/models/{place}.log"

    def round(self, chain: str, number: int | str) -> Files:
        """Of a round of the chain at the path <dataset>/<noise>/<model>/<objective>/seed<k>."""
        folder = f"{self.results}/chains/{chain}/{round_name(number)}"
        log = f"{self.results}/logs/chains/{chain}/{round_name(number)}.log"
        return Files(f"{folder}/{METRICS}", f"{folder}/{_DATA[METRICS]}", log)

    def choice(self, teacher: str) -> str:
        """Which round is the teacher at the path <chain>/<rule>: facts only."""
        return f"{self.results}/teachers/{teacher}/{CHOICE}"

    def choice_log(self, teacher: str) -> str:
        return f"{self.results}/logs/teachers/{teacher}.log"

    def outside_teacher(self, place: str) -> Files:
        """Of a teacher from outside, at <dataset>/<model>/<name>."""
        folder = f"{self.results}/teachers/outside/{place}"
        log = f"{self.results}/logs/teachers/outside/{place}.log"
        return Files(f"{folder}/{OUTSIDE}", f"{folder}/{_DATA[OUTSIDE]}", log)

    def teacher_logits(self, teacher: str, augmentation: str) -> LogitsFiles:
        """Of a teacher at the path <chain>/<rule, dense or outside>."""
        folder = f"{self.results}/teachers/{teacher}/logits-{augmentation}"
        log = f"{self.results}/logs/teachers/{teacher}-logits-{augmentation}.log"
        return LogitsFiles(
            f"{folder}/{LOGITS}", f"{folder}/{_DATA[LOGITS]}", log, f"{folder}/{COST}"
        )

    def deployed(self, chain: str, which: str) -> DeployedFiles:
        """Of the round of a chain that is `which` to it."""
        folder = f"{self.results}/deployed/{chain}/{which}"
        models = tuple(f"{folder}/{file}" for file in MODELS.values())
        return DeployedFiles(f"{folder}/{DEPLOYMENT}", models)

    def deployed_log(self, chain: str) -> str:
        return f"{self.results}/logs/deployed/{chain}.log"

    @property
    def deployments(self) -> str:
        """The table of all deployed models."""
        return f"{self.reports}/{DEPLOYMENTS}"

    @property
    def deployments_facts(self) -> str:
        return str(facts_of_deployments(Path(self.deployments)))

    @property
    def rounds(self) -> str:
        """The table of all rounds."""
        return f"{self.reports}/{ROUNDS}"

    @property
    def rounds_facts(self) -> str:
        return f"{self.reports}/{ROUNDS_FACTS}"

    @property
    def study_config(self) -> str:
        """The study's whole config."""
        return f"{self.reports}/{STUDY}"

    @property
    def html(self) -> str:
        return f"{self.reports}/{REPORT}"

    @property
    def page(self) -> str:
        """The page on which one explores the study."""
        return f"{self.reports}/{PAGE}"

    @property
    def opening(self) -> str:
        """What the report opens with."""
        return f"{self.reports}/{OPENING}"

    @property
    def opening_facts(self) -> str:
        """What vouches for it."""
        return f"{self.reports}/{OPENING_FACTS}"

    def table(self, name: str, suffix: str = "csv") -> str:
        return f"{self.reports}/tables/{name}.{suffix}"

    def figure(self, name: str, suffix: str = "png") -> str:
        return f"{self.reports}/figures/{name}.{suffix}"

    def report_log(self, name: str) -> str:
        return f"{self.results}/logs/report/{name}.log"


@dataclass(frozen=True)
class ChainState:
    """Where the unfinished rounds of one chain wait, in a study's folder of states."""

    folder: Path

    @classmethod
    def of(cls, state: Path, chain: str) -> "ChainState":
        return cls(state / chain.replace("/", "--"))

    @property
    def lock(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.lock")

    @property
    def claim(self) -> Path:
        """Who has the right to deliver the chain's rounds."""
        return self.folder.with_name(f"{self.folder.name}.claim")

    def metrics(self, number: int) -> Path:
        return self.folder / round_name(number) / METRICS

    def log(self, number: int) -> Path:
        return self.folder / round_name(number) / "training.log"

    def sidecar(self, number: int) -> Path:
        """Beside the round's folder, which is whole or does not count."""
        return self.folder / f"{round_name(number)}.sidecar"
