checkpoint select_teacher:
    input:
        candidates_of,
    output:
        f"{RESULTS}/teachers/{{chain}}/{{which}}/teacher.json",
    log:
        f"{RESULTS}/logs/teachers/{{chain}}/{{which}}.log",
    conda:
        "../../envs/sdd.yaml"
    params:
        spec=lambda w: studies.params({"which": w.which}, "select_teacher"),
    message:
        "Choosing the {wildcards.which} teacher from {wildcards.chain}"
    shell:
        "python -m sdd select_teacher --spec {params.spec:q} --output {output}"
        " --log {log} {input}"


use rule train_dense as distill_dense with:
    input:
        unpack(data_of),
        parent=[],
        teacher=teacher_file("metrics.json"),
        teacher_weights=ancient(teacher_file("model.safetensors")),
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/kd-[^/]+/seed\d+",


use rule prune_retrain as distill_retrain with:
    input:
        unpack(data_of),
        unpack(parent_of),
        teacher=teacher_file("metrics.json"),
        teacher_weights=ancient(teacher_file("model.safetensors")),
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/kd-[^/]+/seed\d+",
        round=r"(?!00)\d\d+",
