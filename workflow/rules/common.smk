"""The study and where its files lie: path helpers and input functions, no logic."""

import os
import sys
from os.path import relpath
from pathlib import Path

# The library beside the Snakefile, for this process and for the jobs, whatever the directory.
sys.path.insert(0, workflow.basedir)
shell.prefix(f"export PYTHONPATH={workflow.basedir!r}:${{{{PYTHONPATH-}}}}; ")

from snakemake.exceptions import WorkflowError
from snakemake.utils import available_cpu_count

from sdd import devices, locks
from sdd import study as studies
from sdd.files import parse_json

studies.validate(config, studies.read_schema())
STUDY = studies.Study.from_config(config)
RESULTS = STUDY.folder
REPORTS = f"reports/{STUDY.name}"
CHAIN = f"{RESULTS}/chains/{{chain}}"
GPUS = devices.gpus() if config["device"] != "cpu" else ()


wildcard_constraints:
    chain=r"[^/]+/[^/]+/[^/]+/[^/]+/seed\d+",
    dataset="[^/]+",
    noise="[^/]+",
    seed=r"\d+",
    round=r"\d\d+",
    which="best|dense",
    augmentation="none|flip-crop",


def dataset_files(name):
    folder = f"resources/datasets/{name}"
    return f"{folder}/dataset.json", f"{folder}/data.safetensors"


def round_file(chain, round, name="metrics.json"):
    return f"{RESULTS}/chains/{chain}/round{int(round):02d}/{name}"


def data_of(wildcards):
    """The facts on a chain's data and labels; the arrays beside them count through these."""
    chain = STUDY.chains[wildcards.chain]
    dataset, data = dataset_files(chain.dataset)
    labels = f"{RESULTS}/labels/{chain.labels}/labels"
    return {
        "dataset": dataset,
        "labels": f"{labels}.json",
        "arrays": [ancient(data), ancient(f"{labels}.safetensors")],
    }


def parent_of(wildcards):
    """The round before. Its weights count through its metrics, which hold their sha256."""
    before = int(wildcards.round) - 1
    return {
        "parent": round_file(wildcards.chain, before),
        "parent_weights": ancient(
            round_file(wildcards.chain, before, "model.safetensors")
        ),
    }


def candidates_of(wildcards):
    """What the best teacher is chosen from: every round of the chain."""
    return [round_file(wildcards.chain, r) for r in STUDY.all_rounds]


def chosen_round(teacher):
    """The round of its chain that is `teacher`."""
    if teacher.which == "dense":
        return 0
    choice = checkpoints.select_teacher.get(chain=teacher.chain.path).output[0]
    with choice.open("rb") as file:  # fetches it, should it lie in remote storage
        return parse_json(file.read(), choice)["round"]


# A student learns from the table of its teacher's answers, or from the teacher itself. Both depend
# on the chosen round, not on the file that says which: as long as the choice is the same, a longer
# teacher chain retrains nobody. Each input has a name and a function of its own, since a dry run
# knows no others before the choice.
def teacher_file(name):
    """An input function of the table's rule: a file of the chosen round."""

    def file(wildcards):
        teacher = STUDY.teachers[f"{wildcards.chain}/{wildcards.which}"]
        return round_file(teacher.chain.path, chosen_round(teacher), name)

    return file


def loop_file(name):
    """An input function of students: a file of a teacher in the loop."""

    def file(wildcards):
        chain = STUDY.chains[wildcards.chain]
        if STUDY.tabulated(chain):
            return []
        return round_file(chain.teacher.chain.path, chosen_round(chain.teacher), name)

    return file


def answers_file(name):
    """An input function of students: a file of the table."""

    def file(wildcards):
        chain = STUDY.chains[wildcards.chain]
        if not STUDY.tabulated(chain):
            return []
        # Asked though the path is known: Snakemake would retrain a student that it had planned
        # behind a table which, once the choice is made, turns out not to change.
        chosen_round(chain.teacher)
        return f"{RESULTS}/teachers/{chain.answers}/{name}"

    return file


def round_spec(wildcards):
    chain = STUDY.chains[wildcards.chain]
    return studies.params(chain.spec(int(wildcards.get("round", 0))), "train_round")


def rounds_ahead(wildcards):
    """How many rounds the job trains: a segment's length in its first round, else its own.

    A dense round does not know of any pruning: it is alone, so that it depends on none.
    """
    length, number = config["rounds_per_job"], int(wildcards.get("round", 0))
    first = number > 0 and (number - 1) % length == 0
    return min(length, STUDY.rounds - number + 1) if first else 1


def training_minutes(wildcards, attempt):
    """What a training asks of a scheduler; a job that ran out of time is tried with more."""
    minutes = STUDY.request(wildcards.chain)["minutes"]
    return minutes * rounds_ahead(wildcards) * attempt


def training_memory(wildcards):
    return STUDY.request(wildcards.chain)["memory_mb"]


def table_minutes(wildcards, attempt):
    request = STUDY.table_request(wildcards.chain, wildcards.augmentation)
    return request["minutes"] * attempt


def table_memory(wildcards):
    return STUDY.table_request(wildcards.chain, wildcards.augmentation)["memory_mb"]


def short_minutes(wildcards, attempt):
    """What every other job asks of a scheduler: they take seconds."""
    return 10 * attempt


def table_spec(name):
    spec = {"name": name, "early_stopping": config["early_stopping"]}
    return studies.params(spec, "table")


def figure_spec(name, stage):
    look = {"name": name, "palette": config["figures"]["palette"]}
    if name in studies.RULED_FIGURES:
        look["early_stopping"] = config["early_stopping"]
    return studies.params(look, stage)


def uses_gpu():
    """Whether the trainings run on a GPU, judged on this machine without importing torch."""
    # On a node of a cluster it is settled: a step cannot ask for a GPU that its job did not ask for.
    if workflow.remote_exec and config["device"] == "auto":
        return int("SLURM_GPUS" in os.environ)
    return int(devices.expects_gpu(config["device"], GPUS))


def rounds():
    return [
        round_file(chain, round) for chain in STUDY.chains for round in STUDY.all_rounds
    ]


def answers():
    students = [c for c in STUDY.chains.values() if c.teacher and STUDY.tabulated(c)]
    tables = sorted({f"{RESULTS}/teachers/{chain.answers}" for chain in students})
    return [f"{t}/{name}.json" for t in tables for name in ("logits", "cost")]


def figures():
    return [f"{REPORTS}/figures/{name}.png" for name in STUDY.figures()]


def tables():
    return [f"{REPORTS}/tables/{name}.csv" for name in STUDY.tables()]


def captions():
    names = ["workflow", *STUDY.tables(), *STUDY.figures()]
    # Relative, like all other paths: a study whose folder has moved is still up to date.
    return [relpath(f"{workflow.basedir}/workflow/report/{n}.rst") for n in names]


def histograms(name="metrics.json"):
    return [round_file(c.path, round, name) for c, round in STUDY.histogram_rounds()]


def begin():
    """What a run does before its first job."""
    lock_folder()
    lift_rate_limit()


def lock_folder():
    """One run in a folder at a time, also where --nolock leaves Snakemake's own lock out.

    The kernel drops this lock when the run dies, however it dies, so nobody has to unlock.
    """
    global RUN  # keeps it until then
    RUN = locks.hold(Path(".snakemake/run.lock"))
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
# too), and on its GPUs no more than may share them. Both can be set with --resources; on a cluster,
# where --jobs counts nodes, nothing is limited here.
if workflow.resource_settings.nodes is None:
    limits = {
        "gpu": len(GPUS) * config["trainings_per_gpu"],
        "trainings": available_cpu_count(),
    }
    for name, limit in limits.items():
        if name not in workflow.global_resources:
            workflow.register_resource(name, limit)
