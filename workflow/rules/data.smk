rule prepare_dataset:
    input:
        own_data,
    output:
        facts=layout.dataset("{dataset}").facts,
        data=layout.dataset("{dataset}").data,
    log:
        layout.dataset("{dataset}").log,
    localrule: True  # it downloads, and nodes of a cluster may have no network
    conda:
        "../../envs/sdd.yaml"
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


rule noisy_labels:
    input:
        dataset=layout.dataset("{dataset}").facts,
        data=ancient(layout.dataset("{dataset}").data),
    output:
        facts=FILES.labels("{dataset}/{noise}/seed{seed}").facts,
        labels=FILES.labels("{dataset}/{noise}/seed{seed}").data,
    log:
        FILES.labels("{dataset}/{noise}/seed{seed}").log,
    wildcard_constraints:
        noise="[^/]+",
        seed=r"\d+",
    conda:
        "../../envs/sdd.yaml"
    resources:
        runtime=short_minutes,
        mem_mb=2000,
    params:
        spec=lambda w: param(STUDY.labels_spec(f"{w.dataset}/{w.noise}/seed{w.seed}")),
    message:
        "Labels of {wildcards.dataset}, {wildcards.noise}, seed {wildcards.seed}"
    shell:
        "python -m sdd noisy_labels --spec {params.spec:q} --dataset {input.dataset:q}"
        " --output {output.facts:q} --log {log:q}"
