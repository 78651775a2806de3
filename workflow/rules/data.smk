rule prepare_dataset:
    output:
        # Not removed before the job, which takes what is there: another study may share the folder.
        facts=update(layout.dataset("{dataset}").facts),
        data=update(layout.dataset("{dataset}").data),
    log:
        layout.dataset("{dataset}").log,
    localrule: True  # it downloads, and nodes of a cluster may have no network
    conda:
        ENVIRONMENT
    resources:
        # Where the originals lie is not what they are: no param.
        folder=data_source,
    params:
        spec=lambda w: param(STUDY.dataset_spec(w.dataset)),
    message:
        "Preparing {wildcards.dataset}"
    shell:
        "python -m sdd prepare_dataset --spec {params.spec:q} --folder {resources.folder:q}"
        " --output {output.facts:q} --log {log:q}"


use rule prepare_dataset as prepare_own_dataset with:
    output:
        facts=FILES.own_dataset("{dataset}").facts,
        data=FILES.own_dataset("{dataset}").data,
    log:
        FILES.own_dataset("{dataset}").log,


rule noisy_labels:
    input:
        dataset=labelled("facts"),
        data=ancient(labelled("data")),
    output:
        facts=FILES.labels("{labels}").facts,
        labels=FILES.labels("{labels}").data,
    log:
        FILES.labels("{labels}").log,
    conda:
        ENVIRONMENT
    resources:
        runtime=short_minutes,
        mem_mb=2000,
    params:
        spec=lambda w: param(STUDY.labels_spec(w.labels)),
    message:
        "Labels of {wildcards.labels}"
    shell:
        "python -m sdd noisy_labels --spec {params.spec:q} --dataset {input.dataset:q}"
        " --output {output.facts:q} --log {log:q}"
