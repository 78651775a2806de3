"""The study, its files, and the input functions that tell which of them a job takes."""

import os
import sys
from math import ceil
from os.path import lexists, relpath
from pathlib import Path

# The library beside the Snakefile, for this process and for the jobs, whatever the directory.
PLACE = str(
    Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent.parent
)
sys.path[:0] = [PLACE, os.getcwd()]  # and models of the user's own
# Snakemake fills in what stands in braces.
ENVIRONMENT = f"{PLACE}/envs/sdd.yaml".replace("{", "{{").replace("}", "}}")

from snakemake.common import dict_to_key_value_args
from snakemake.exceptions import WorkflowError
from snakemake.utils import available_cpu_count, update_config

from sdd.base import fingerprint, layout, locks, surroundings
from sdd.base.errors import SddError
from sdd.base.files import canonical, opened, parse_json
from sdd.deployment import jobs, packages
from sdd.machine import devices
from sdd.report import catalogue
from sdd.study import data_entries, outside, reading, validation
from sdd.study.methods import OUTSIDE, SELECTIONS, TEACHERS
from sdd.study.study import Study

# The shell reads paths from its environment: nothing in a folder's name can run there. Conda takes
# the first of these variables away, so the shell is told again.
os.environ.update(surroundings.of_jobs(PLACE, os.getcwd()))
if OWN:
    shell.prefix(surroundings.SHELL)

# Of a module whose config: the other workflow gives, nothing else is the config.
GIVEN = {} if workflow.modifier.skip_configfile else workflow.config_settings.config
if not workflow.modifier.skip_configfile:
    # Snakemake passes a base config over that is not there, once there is a --configfile.
    reading.found(Path(BESIDE), *([Path("config.yaml")] if OWN else []))
    # It has read these files; read again, they must not say anything twice.
    for path in workflow.configfiles:
        reading.load(Path(path))
    update_config(config, reading.typed(GIVEN))
SETTINGS = validation.validate(config, GIVEN)
WEIGHTS = outside.survey(SETTINGS)  # of teachers from outside
STUDY = Study.of(SETTINGS, data_entries.survey(SETTINGS.datasets), WEIGHTS)
FILES = STUDY.layout
if jobs.deploys(STUDY) and not workflow.deployment_settings.deployment_method:
    packages.check()  # the jobs' own environment, where they have one, is complete
GPUS = devices.gpus() if SETTINGS.device != "cpu" else ()


wildcard_constraints:
    chain=r"[^/]+/[^/]+/[^/]+/[^/]+/seed\d+",
    labels=r"[^/]+/[^/]+/seed\d+",
    dataset="[^/]+",
    round=r"\d\d+",
    which="|".join((*TEACHERS, OUTSIDE)),
    place="[^/]+/[^/]+/[^/]+",
    augmentation="none|flip-crop",


def param(spec):
    """A rule's one param: Snakemake compares texts, so canonical JSON."""
    return canonical(spec.to_dict())


def data_source(wildcards):
    """Where the originals of a data set lie, or the user's own one; empty: to be downloaded."""
    entry = SETTINGS.datasets.get(wildcards.dataset)
    own = data_entries.source(entry) if entry else ""
    return own or SETTINGS.data.folder or ""


def data_of(wildcards):
    """The facts on a chain's data and labels; the arrays beside them count through these."""
    return data_files(STUDY.by_path[wildcards.chain])


def data_of_teacher(wildcards):
    """The same of a teacher, which answers to what its students train on."""
    return data_files(STUDY.teachers[f"{wildcards.chain}/{wildcards.which}"])


def data_files(learner):
    dataset, labels = STUDY.dataset(learner.data), FILES.labels(learner.labels)
    return {
        "dataset": dataset.facts,
        "labels": labels.facts,
        "arrays": [ancient(dataset.data), ancient(labels.data)],
    }


def labelled(part):
    """An input function of labels: the facts or the data of the data set that they are of."""

    def file(wildcards):
        chain = STUDY.by_labels[wildcards.labels]
        return getattr(STUDY.dataset(chain.data), part)

    return file


def parent_of(wildcards):
    """The round that it prunes, and the dense one where it goes back to weights that this has
    stored. Their weights count through their metrics, which hold their sha256. The round before
    is waited for even where another one is pruned: one job of a chain at a time."""
    chain, number = STUDY.chains[wildcards.chain], int(wildcards.round)
    parent = chain.spec(number).parent
    before, dense = STUDY.files(chain, parent), STUDY.files(chain, 0)
    rewound = chain.rewinding and chain.retraining == "weight-rewinding"
    return {
        "parent": before.facts,
        "parent_weights": ancient(before.data),
        "origin": dense.facts if rewound else [],
        "origin_weights": ancient(dense.data) if rewound else [],
        # Not ancient: what follows only by such inputs on a job that is run again, Snakemake does
        # not look at, whatever else has changed for it.
        "turn": (STUDY.files(chain, number - 1).facts if parent != number - 1 else []),
    }


def candidates_of(wildcards):
    """What a teacher is chosen from: every round of the chain."""
    chain = STUDY.chains[wildcards.chain]
    return [STUDY.files(chain, number).facts for number in STUDY.rounds]


def weights_source(wildcards):
    """Where the weights of a teacher from outside lie."""
    content = STUDY.outside_teachers[wildcards.place].content
    return outside.places(SETTINGS, WEIGHTS)[content]


def teacher_files(teacher):
    """The files of `teacher`: of the round of its chain, or as it was adopted from outside."""
    if teacher.which == OUTSIDE:
        return FILES.outside_teacher(teacher.place)
    number = 0
    if teacher.chosen:
        choice = checkpoints.select_teacher.get(
            chain=teacher.chain.path, which=teacher.which
        ).output[0]
        if lexists(choice):
            opened(Path(choice)).close()  # never waits for a pipe
        with choice.open("rb") as file:  # fetches it, should it lie in remote storage
            number = parse_json(file.read(), choice)["round"]
    return STUDY.files(teacher.chain, number)


# A student learns from the logits of its teacher, or from the teacher itself. Both depend on the
# chosen round, not on the file that says which: as long as the choice is the same, a longer teacher
# chain retrains nobody. Each input has a name and a function of its own, since a dry run knows no
# others before the choice.
def teacher_file(part):
    """An input function of the logits' rule: the facts or the data of the chosen round."""

    def file(wildcards):
        teacher = STUDY.teachers[f"{wildcards.chain}/{wildcards.which}"]
        return getattr(teacher_files(teacher), part)

    return file


def loop_file(part):
    """An input function of students: the facts or the data of a teacher in the loop."""

    def file(wildcards):
        chain = STUDY.by_path[wildcards.chain]
        return (
            []
            if STUDY.tabulated(chain)
            else getattr(teacher_files(chain.teacher), part)
        )

    return file


def logits_teacher(wildcards):
    """The facts of the teacher whose logits a student looks up: what those are compared with. They
    count through the logits."""
    chain = STUDY.by_path[wildcards.chain]
    if not STUDY.tabulated(chain):
        return []
    # Said here and not in the rule, where it would make the choice, before it is made, ancient too.
    return ancient(teacher_files(chain.teacher).facts)


def logits_file(part):
    """An input function of students: the facts or the data of their teacher's logits."""

    def file(wildcards):
        chain = STUDY.by_path[wildcards.chain]
        if not STUDY.tabulated(chain):
            return []
        # Asked though the path is known: Snakemake would retrain a student that it had planned
        # behind logits which, once the choice is made, turn out not to change.
        teacher_files(chain.teacher)
        return getattr(STUDY.teacher_logits(chain), part)

    return file


def selection_param(wildcards):
    teacher = STUDY.teachers[f"{wildcards.chain}/{wildcards.which}"]
    return param(STUDY.selection_spec(teacher))


def deployments_of(entry, file):
    """A file on deployed models, where a table or figure shows them and the study has any."""
    return file if entry.deployed and jobs.deploys(STUDY) else []


def deploy_param(wildcards):
    return param(jobs.deploy_spec(STUDY, wildcards.chain))


def deploy_minutes(wildcards, attempt):
    """What a chain's deployment asks of a scheduler: for each of its rounds what is measured, and
    as long as a round may take for the comparisons."""
    each = STUDY.request(wildcards.chain).minutes + SETTINGS.deployment.seconds / 60
    return ceil(len(SETTINGS.deployment.rounds) * each * attempt)


def state_of(wildcards, output):
    """Where a round's unfinished training is kept: wherever the results lie."""
    return layout.state_of(output.metrics)


def round_param(wildcards):
    chain = STUDY.by_path[wildcards.chain]
    return canonical(STUDY.round_values(chain, int(wildcards.get("round", 0))))


def logits_param(wildcards):
    teacher = STUDY.teachers[f"{wildcards.chain}/{wildcards.which}"]
    return param(STUDY.teacher_logits_spec(teacher, wildcards.augmentation))


def rounds_ahead(wildcards):
    """How many rounds the job trains: a segment's length in its first round, else its own.

    A dense round does not know of any pruning: it is alone, so that it depends on none.
    """
    length, number = SETTINGS.rounds_per_job, int(wildcards.get("round", 0))
    first = number > 0 and (number - 1) % length == 0
    return min(length, STUDY.last_round - number + 1) if first else 1


def training_minutes(wildcards, attempt):
    """What a training asks of a scheduler; a job that ran out of time is tried with more."""
    return STUDY.request(wildcards.chain).minutes * rounds_ahead(wildcards) * attempt


def training_memory(wildcards):
    return STUDY.request(wildcards.chain).memory_mb


def model_memory(wildcards):
    chain = STUDY.checked_models[wildcards.place]
    return STUDY.request(chain.path).memory_mb


def logits_request(wildcards):
    teacher = f"{wildcards.chain}/{wildcards.which}"
    return STUDY.logits_request(teacher, wildcards.augmentation)


def logits_minutes(wildcards, attempt):
    return logits_request(wildcards).minutes * attempt


def logits_memory(wildcards):
    return logits_request(wildcards).memory_mb


def short_minutes(wildcards, attempt):
    """What every other job asks of a scheduler: they take seconds."""
    return 10 * attempt


def uses_gpu():
    """Whether the trainings run on a GPU, judged on this machine without importing torch."""
    # On a node of a cluster it is settled: a step cannot ask for a GPU that its job did not ask for.
    if workflow.remote_exec and SETTINGS.device == "auto":
        return int("SLURM_GPUS" in os.environ)
    return int(devices.expects_gpu(SETTINGS.device, GPUS))


def tables(*suffixes):
    shown = catalogue.shown_tables(STUDY)
    return [FILES.table(entry.name, suffix) for entry in shown for suffix in suffixes]


def figures(*suffixes):
    shown = catalogue.shown_figures(STUDY)
    return [FILES.figure(entry.name, suffix) for entry in shown for suffix in suffixes]


def report_config(wildcards, input):
    """The options by which Snakemake's report reads the same config as this run."""
    if OWN:
        return ["--configfile", input.config]
    # Of a module: as the other workflow was called, with the study's keys, which captions quote.
    # Relative paths, like all others.
    files = [relpath(path) for path in workflow.config_settings.configfiles]
    keys = dict_to_key_value_args(workflow.config_settings.config, repr_obj=True)
    return [
        *("--configfile", *files, input.config),
        *(("--config", *keys) if keys else ()),
    ]


def begin():
    """What a run does before its first job."""
    lock_folder()
    lift_rate_limit()
    speak_briefly()


def lock_folder():
    """One run in a folder at a time, also where --nolock leaves Snakemake's own lock out.

    The kernel drops this lock when the run dies, however it dies, so nobody has to unlock.
    """
    global RUN  # keeps it until then
    try:
        RUN = locks.hold(Path(layout.RUN_LOCK))
    except (OSError, SddError) as error:
        raise WorkflowError(str(error)) from None
    if RUN is None:
        raise WorkflowError("Another run works in this folder. Wait until it ends.")


def lift_rate_limit():
    """Leaves out Snakemake's default limit of 100 jobs a second, but keeps any other.

    With a limit every look of its scheduler calls for another one a second later: one more endless
    series of looks for each job that has run (measured: a third of a core after 250 jobs).
    """
    rate = workflow.scheduling_settings.max_jobs_per_timespan
    if rate and (rate.max_jobs, rate.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


# On one machine: no more trainings at a time than it has cores (each keeps one busy, on a GPU
# too), on its GPUs no more than may share them, and no two measurements, which would disturb each
# other. All can be set with --resources; on a cluster, where --jobs counts nodes, nothing is
# limited here.
if workflow.resource_settings.nodes is None:
    limits = {
        "gpu": len(GPUS) * SETTINGS.trainings_per_gpu,
        "trainings": available_cpu_count(),
        "measuring": 1,
    }
    for name, limit in limits.items():
        if name not in workflow.global_resources:
            workflow.register_resource(name, limit)
