rule prepare_dataset:
    output:
        facts="resources/datasets/{dataset}/dataset.json",
        data="resources/datasets/{dataset}/data.safetensors",
    log:
        "resources/datasets/{dataset}/prepare.log",
    localrule: True  # it downloads, and nodes of a cluster may have no network
    conda:
        "../../envs/sdd.yaml"
    params:
        spec=lambda w: studies.params(
            {"dataset": w.dataset, "folder": config["data"]["folder"]},
            "prepare_dataset",
        ),
    message:
        "Preparing {wildcards.dataset}"
    shell:
        "python -m sdd prepare_dataset --spec {params.spec:q} --output {output.facts}"
        " --log {log}"


rule noisy_labels:
    input:
        dataset="resources/datasets/{dataset}/dataset.json",
        data=ancient("resources/datasets/{dataset}/data.safetensors"),
    output:
        facts=f"{RESULTS}/labels/{{dataset}}/{{noise}}/seed{{seed}}/labels.json",
        labels=f"{RESULTS}/labels/{{dataset}}/{{noise}}/seed{{seed}}/labels.safetensors",
    log:
        f"{RESULTS}/logs/labels/{{dataset}}/{{noise}}/seed{{seed}}.log",
    conda:
        "../../envs/sdd.yaml"
    resources:
        runtime=short_minutes,
        mem_mb=2000,
    params:
        spec=lambda w: studies.params(
            STUDY.labels_spec(f"{w.dataset}/{w.noise}/seed{w.seed}"), "noisy_labels"
        ),
    message:
        "Labels of {wildcards.dataset}, {wildcards.noise}, seed {wildcards.seed}"
    shell:
        "python -m sdd noisy_labels --spec {params.spec:q} --dataset {input.dataset}"
        " --output {output.facts} --log {log}"
