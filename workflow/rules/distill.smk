checkpoint select_teacher:
    input:
        candidates_of,
    output:
        FILES.choice("{chain}/{which}"),
    log:
        FILES.choice_log("{chain}/{which}"),
    wildcard_constraints:
        which="|".join(SELECTIONS),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        spec=selection_param,
    message:
        "Choosing the {wildcards.which} teacher from {wildcards.chain}"
    shell:
        "python -m sdd select_teacher --spec {params.spec:q} --output {output:q}"
        " --log {log:q} {input:q}"


rule adopt_teacher:
    output:
        facts=FILES.outside_teacher("{place}").facts,
        weights=FILES.outside_teacher("{place}").data,
    log:
        FILES.outside_teacher("{place}").log,
    priority: 1  # what is wrong with that is said before anything is trained
    localrule: True  # it reads a file of the user's, which nodes of a cluster may not see
    conda:
        ENVIRONMENT
    resources:
        # Where the file lies is not what it is: no param.
        weights=weights_source,
    params:
        spec=lambda w: param(STUDY.outside_spec(w.place)),
    message:
        "Adopting the teacher from outside at {wildcards.place}"
    shell:
        "python -m sdd adopt_teacher --spec {params.spec:q} --weights {resources.weights:q}"
        " --output {output.facts:q} --log {log:q}"


rule teacher_logits:
    input:
        unpack(data_of_teacher),
        teacher=teacher_file("facts"),
        teacher_weights=ancient(teacher_file("data")),
    output:
        facts=FILES.teacher_logits("{chain}/{which}", "{augmentation}").facts,
        logits=FILES.teacher_logits("{chain}/{which}", "{augmentation}").data,
        cost=FILES.teacher_logits("{chain}/{which}", "{augmentation}").cost,
    log:
        FILES.teacher_logits("{chain}/{which}", "{augmentation}").log,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        trainings=1,
        gpu=uses_gpu(),
        device=SETTINGS.device,
        sharing=SETTINGS.trainings_per_gpu,
        deterministic=int(SETTINGS.deterministic),
        runtime=logits_minutes,
        mem_mb=logits_memory,
    params:
        spec=logits_param,
    message:
        "Logits of the {wildcards.which} teacher from {wildcards.chain}"
    shell:
        "python -m sdd teacher_logits --spec {params.spec:q} --dataset {input.dataset:q}"
        " --labels {input.labels:q} --teacher {input.teacher:q} --output {output.facts:q}"
        " --log {log:q} --device {resources.device} --sharing {resources.sharing}"
        " --deterministic {resources.deterministic}"


use rule train_dense as distill_dense with:
    input:
        unpack(data_of),
        parent=[],
        origin=[],
        teacher=loop_file("facts"),
        teacher_weights=ancient(loop_file("data")),
        taught_by=logits_teacher,
        teacher_logits=logits_file("facts"),
        teacher_table=ancient(logits_file("data")),
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/kd-[^/]+/seed\d+",


use rule prune_retrain as distill_retrain with:
    input:
        unpack(data_of),
        unpack(parent_of),
        teacher=loop_file("facts"),
        teacher_weights=ancient(loop_file("data")),
        taught_by=logits_teacher,
        teacher_logits=logits_file("facts"),
        teacher_table=ancient(logits_file("data")),
    wildcard_constraints:
        chain=r"[^/]+/[^/]+/[^/]+/kd-[^/]+/seed\d+",
        round=r"(?!00)\d\d+",
