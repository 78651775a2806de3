"""Sparse double descent: noisy labels, pruning chains, distillation, and the paper's figures."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/progress.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/distill.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


onstart:
    begin()


rule all:
    default_target: True
    input:
        FILES.html,
        FILES.rounds,
        tables("csv", "md", "tex"),
        figures("png", "pdf"),
