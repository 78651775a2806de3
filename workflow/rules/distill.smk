checkpoint select_teacher:
    input:
        candidates_of,
    output:
        f"{RESULTS}/teachers/{{chain}}/best/teacher.json",
    log:
        f"{RESULTS}/logs/teachers/{{chain}}/best.log",
    localrule: True
    conda:
        "../../envs/sdd.yaml"
    params:
        spec=studies.params({}, "select_teacher"),
    message:
        "Choosing the best teacher from {wildcards.chain}"
    shell:
        "python -m sdd select_teacher --spec {params.spec:q} --output {output}"
        " --log {log} {input}"


rule teacher_logits:
    input:
        unpack(data_of),
        teacher=teacher_file("metrics.json"),
        teacher_weights=ancient(teacher_file("model.safetensors")),
    output:
        facts=f"{RESULTS}/teachers/{{chain}}/{{which}}/answers-{{augmentation}}/logits.json",
        table=f"{RESULTS}/teachers/{{chain}}/{{which}}/answers-{{augmentation}}/logits.safetensors",
        cost=f"{RESULTS}/teachers/{{chain}}/{{which}}/answers-{{augmentation}}/cost.json",
    log:
        f"{RESULTS}/logs/teachers/{{chain}}/{{which}}-answers-{{augmentation}}.log",
    conda:
        "../../envs/sdd.yaml"
    threads: 1
    resources:
        trainings=1,
        gpu=uses_gpu(),
        device=config["device"],
        sharing=config["trainings_per_gpu"],
        runtime=table_minutes,
        mem_mb=table_memory,
    params:
        spec=lambda w: studies.params(
            {"augmentation": w.augmentation}, "teacher_logits"
        ),
    message:
        "Answers of the {wildcards.which} teacher from {wildcards.chain}"
    shell:
        "python -m sdd teacher_logits --spec {params.spec:q} --dataset {input.dataset}"
        " --labels {input.labels} --teacher {input.teacher} --output {output.facts}"
        " --log {log} --device {resources.device} --sharing {resources.sharing}"


use rule train_dense as distill_dense with:
    input:
        unpack(data_of),
        parent=[],
        teacher=loop_file("metrics.json"),
        teacher_weights=ancient(loop_file("model.safetensors")),
        teacher_logits=answers_file("logits.json"),
        teacher_table=ancient(answers_file("logits.safetensors")),
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/kd-[^/]+/seed\d+",


use rule prune_retrain as distill_retrain with:
    input:
        unpack(data_of),
        unpack(parent_of),
        teacher=loop_file("metrics.json"),
        teacher_weights=ancient(loop_file("model.safetensors")),
        teacher_logits=answers_file("logits.json"),
        teacher_table=ancient(answers_file("logits.safetensors")),
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/kd-[^/]+/seed\d+",
        round=r"(?!00)\d\d+",
