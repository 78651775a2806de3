# No input of trainings, which do not depend on it: even an ancient one that is made anew would keep
# Snakemake from seeing what else has changed for them.
rule check_model:
    output:
        FILES.model("{place}"),
    log:
        FILES.model_log("{place}"),
    wildcard_constraints:
        place="[^/]+/[^/]+",
    priority: 1  # so it runs first, and what is wrong ends the run
    conda:
        ENVIRONMENT
    resources:
        runtime=short_minutes,
        mem_mb=model_memory,
    params:
        spec=lambda w: param(STUDY.model_spec(w.place)),
    message:
        "Checking the model at {wildcards.place}"
    shell:
        "python -m sdd check_model --spec {params.spec:q} --output {output:q} --log {log:q}"


rule train_dense:
    input:
        unpack(data_of),
        parent=[],
        origin=[],
        teacher=[],
        taught_by=[],
        teacher_logits=[],
    output:
        weights=FILES.round("{chain}", 0).data,
        metrics=FILES.round("{chain}", 0).facts,
    log:
        FILES.round("{chain}", 0).log,
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/ce-[^/]+/seed\d+",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        trainings=1,
        gpu=uses_gpu(),
        device=SETTINGS.device,
        sharing=SETTINGS.trainings_per_gpu,
        deterministic=int(SETTINGS.deterministic),
        ahead=rounds_ahead,
        save_every=SETTINGS.save_every,
        runtime=training_minutes,
        mem_mb=training_memory,
    params:
        spec=round_param,
        state=state_of,
    message:
        "Round 00 of {wildcards.chain}"
    shell:
        "python -m sdd train_round --spec {params.spec:q} --dataset {input.dataset:q}"
        " --labels {input.labels:q} --parent {input.parent:q} --origin {input.origin:q}"
        " --teacher {input.teacher:q} {input.taught_by:q}"
        " --teacher_logits {input.teacher_logits:q} --output {output.metrics:q} --log {log:q}"
        " --state {params.state:q} --ahead {resources.ahead}"
        " --save_every {resources.save_every} --device {resources.device}"
        " --sharing {resources.sharing}"
        " --deterministic {resources.deterministic}"


use rule train_dense as prune_retrain with:
    input:
        unpack(data_of),
        unpack(parent_of),
        teacher=[],
        taught_by=[],
        teacher_logits=[],
    output:
        weights=FILES.round("{chain}", "{round}").data,
        metrics=FILES.round("{chain}", "{round}").facts,
    log:
        FILES.round("{chain}", "{round}").log,
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/ce-[^/]+/seed\d+",
        round=r"(?!00)\d\d+",
    message:
        "Round {wildcards.round} of {wildcards.chain}"
