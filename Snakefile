"""Sparse double descent: noisy labels, pruning chains, distillation, and the paper's figures."""

from os.path import dirname, exists, join

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")

# In the working directory, or else beside this file; of another workflow's module only there.
OWN = workflow.modifier.is_main_snakefile()
BESIDE = workflow.current_basedir.join("config.yaml").get_path_or_uri(secret_free=True)
if not exists(join(dirname(BESIDE), "sdd")):
    raise WorkflowError(
        f"{dirname(BESIDE)} has no folder sdd, whose code the jobs run. Sources that Snakemake "
        "fetches, as by github() and gitfile(), come without it: clone the repository, and name "
        "the Snakefile in the clone by its path."
    )


# First, since Snakemake's log names the config.
include: "workflow/rules/log.smk"


configfile: "config.yaml" if OWN and exists("config.yaml") else BESIDE


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/progress.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/distill.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/report.smk"


# What the report opens with; the caption of another workflow's module does not know where it lies.
if OWN:
    config["opening"] = FILES.opening


localrules:
    all,


onstart:
    begin()


rule all:
    default_target: True
    input:
        [FILES.model(place) for place in STUDY.checked_models],
        FILES.html,
        FILES.page,
        FILES.rounds,
        tables("csv", "md", "tex"),
        figures("png", "pdf"),
