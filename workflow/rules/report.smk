rule collect_rounds:
    input:
        rounds=[STUDY.files(c, n).facts for c, n in STUDY.trainings],
        logits=[
            f
            for files in sorted(STUDY.logits_users)
            for f in (files.facts, files.cost)
        ],
    output:
        rounds=FILES.rounds,
        facts=FILES.rounds_facts,
    log:
        FILES.report_log("collect_rounds"),
    conda:
        ENVIRONMENT
    resources:
        runtime=short_minutes,
        mem_mb=2000,
    params:
        spec=param(catalogue.collect_spec(STUDY)),
    message:
        f"Collecting every round of {STUDY.name}"
    shell:
        "python -m sdd collect_rounds --spec {params.spec:q} --first {input.rounds[0]:q}"
        " --output {output.rounds:q} --log {log:q}"


# A rule for each table and figure, since a caption's path takes no wildcards.
for entry in catalogue.shown_tables(STUDY):

    rule:
        name:
            f"table_{entry.name.removeprefix('table')}"
        input:
            rounds=FILES.rounds,
            facts=FILES.rounds_facts,
            deployments=deployments_of(entry, FILES.deployments),
            deployments_facts=deployments_of(entry, FILES.deployments_facts),
        output:
            csv=report(
                FILES.table(entry.name),
                caption=f"../report/{entry.name}.rst",
                category="Tables",
                labels={"table": entry.name},
            ),
            others=[FILES.table(entry.name, suffix) for suffix in ("md", "tex", "json")],
        log:
            FILES.report_log(entry.name),
        conda:
            ENVIRONMENT
        resources:
            runtime=short_minutes,
            mem_mb=2000,
        params:
            spec=param(catalogue.report_spec(STUDY, entry)),
        message:
            f"Table {entry.name}"
        shell:
            "python -m sdd table --spec {params.spec:q} --rounds {input.rounds:q}"
            " --deployments {input.deployments:q} --output {output.csv:q} --log {log:q}"


for entry in catalogue.shown_figures(STUDY):
    read = [STUDY.files(chain, number) for chain, number in entry.weights(STUDY)]

    rule:
        name:
            entry.name
        input:
            rounds=FILES.rounds,
            facts=FILES.rounds_facts,
            metrics=[files.facts for files in read],
            weights=ancient([files.data for files in read]),
            deployments=deployments_of(entry, FILES.deployments),
            deployments_facts=deployments_of(entry, FILES.deployments_facts),
        output:
            png=report(
                FILES.figure(entry.name),
                caption=f"../report/{entry.name}.rst",
                category="Figures",
                labels={"figure": entry.name},
            ),
            others=[FILES.figure(entry.name, suffix) for suffix in ("pdf", "json")],
        log:
            FILES.report_log(entry.name),
        conda:
            ENVIRONMENT
        resources:
            runtime=short_minutes,
            mem_mb=2000,
        params:
            spec=param(catalogue.report_spec(STUDY, entry)),
        message:
            f"Figure {entry.name}"
        shell:
            "python -m sdd figure --spec {params.spec:q} --rounds {input.rounds:q}"
            " --deployments {input.deployments:q} --output {output.png:q} --log {log:q} {input.metrics:q}"


rule page:
    input:
        rounds=FILES.rounds,
        facts=FILES.rounds_facts,
        metrics=[STUDY.files(c, n).facts for c, n in STUDY.trainings],
        tables=tables("csv"),
        seals=tables("json"),
    output:
        page=FILES.page,
        opening=FILES.opening,
        facts=FILES.opening_facts,
    log:
        FILES.report_log("page"),
    conda:
        ENVIRONMENT
    resources:
        runtime=short_minutes,
        mem_mb=2000,
    params:
        spec=param(catalogue.page_spec(STUDY)),
    message:
        f"Page of {STUDY.name}"
    shell:
        "python -m sdd page --spec {params.spec:q} --rounds {input.rounds:q}"
        " --first {input.metrics[0]:q} --opening {output.opening:q} --output {output.page:q}"
        " --log {log:q} {input.tables:q}"


rule study_config:
    output:
        FILES.study_config,
    log:
        FILES.report_log("study_config"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        spec=canonical(
            {
                "config": STUDY.lasting_config,
                "code": fingerprint.code("sdd.stages.study_config"),
            }
        ),
    message:
        "The study's whole config"
    shell:
        "python -m sdd study_config --spec {params.spec:q} --output {output:q} --log {log:q}"


rule html_report:
    input:
        config=FILES.study_config,
        rounds=FILES.rounds_facts,
        shown=[tables("csv"), figures("png")],
        opening=FILES.opening,
        facts=[tables("json"), figures("json"), FILES.opening_facts],
    output:
        FILES.html,
    log:
        FILES.report_log("html_report"),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        # Where the workflow lies is not what it is: no params.
        snakefile=workflow.main_snakefile,
        style=f"{PLACE}/workflow/report/{catalogue.STYLE}",
    params:
        spec=param(catalogue.html_report_spec(STUDY, f"{PLACE}/workflow/report")),
        config=report_config,
    message:
        f"HTML report of {STUDY.name}"
    shell:
        "python -m sdd html_report --spec {params.spec:q} --config {input.config:q}"
        " --rounds {input.rounds:q} --shown {input.shown:q} {input.opening:q}"
        " --output {output:q} --log {log:q}"
        " --program python -m snakemake {input.shown:q} --nolock"
        " --snakefile {resources.snakefile:q} {params.config:q}"
        " --report-stylesheet {resources.style:q} --report"
