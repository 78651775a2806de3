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
