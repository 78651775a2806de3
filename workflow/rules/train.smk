rule train_dense:
    input:
        unpack(data_of),
        parent=[],
        teacher=[],
        teacher_logits=[],
    output:
        weights=f"{CHAIN}/round00/model.safetensors",
        metrics=f"{CHAIN}/round00/metrics.json",
    log:
        f"{RESULTS}/logs/chains/{{chain}}/round00.log",
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/ce-[^/]+/seed\d+",
    conda:
        "../../envs/sdd.yaml"
    threads: 1
    resources:
        trainings=1,
        gpu=uses_gpu(),
        device=config["device"],
        sharing=config["trainings_per_gpu"],
        ahead=rounds_ahead,
        save_every=config["save_every"],
        runtime=training_minutes,
        mem_mb=training_memory,
    params:
        spec=round_spec,
        state=f"{RESULTS}/.state",
    message:
        "Round 00 of {wildcards.chain}"
    shell:
        "python -m sdd train_round --spec {params.spec:q} --dataset {input.dataset}"
        " --labels {input.labels} --parent {input.parent} --teacher {input.teacher}"
        " --teacher_logits {input.teacher_logits} --output {output.metrics} --log {log}"
        " --state {params.state} --ahead {resources.ahead}"
        " --save_every {resources.save_every} --device {resources.device}"
        " --sharing {resources.sharing}"


use rule train_dense as prune_retrain with:
    input:
        unpack(data_of),
        unpack(parent_of),
        teacher=[],
        teacher_logits=[],
    output:
        weights=f"{CHAIN}/round{{round}}/model.safetensors",
        metrics=f"{CHAIN}/round{{round}}/metrics.json",
    log:
        f"{RESULTS}/logs/chains/{{chain}}/round{{round}}.log",
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/ce-[^/]+/seed\d+",
        round=r"(?!00)\d\d+",
    message:
        "Round {wildcards.round} of {wildcards.chain}"
