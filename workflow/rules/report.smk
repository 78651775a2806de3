rule collect_rounds:
    input:
        rounds=rounds(),
        answers=answers(),
    output:
        f"{REPORTS}/rounds.csv",
    log:
        f"{RESULTS}/logs/report/collect_rounds.log",
    conda:
        "../../envs/sdd.yaml"
    resources:
        runtime=short_minutes,
        mem_mb=2000,
    params:
        spec=studies.params(
            {
                "config": STUDY.chain_config,
                "carbon_intensity": config["energy"]["carbon_intensity"],
            },
            "collect_rounds",
        ),
    message:
        "Collecting every round of {STUDY.name}"
    shell:
        "python -m sdd collect_rounds --spec {params.spec:q} --first {input.rounds[0]}"
        " --output {output} --log {log}"


# A rule for each table and figure, since a caption's path takes no wildcards.
for name in STUDY.tables():

    rule:
        name:
            f"table_{name.removeprefix('table')}"
        input:
            rounds=f"{REPORTS}/rounds.csv",
        output:
            csv=report(
                f"{REPORTS}/tables/{name}.csv",
                caption=f"../report/{name}.rst",
                category="Tables",
                labels={"table": name},
            ),
            others=multiext(f"{REPORTS}/tables/{name}", ".md", ".tex"),
        log:
            f"{RESULTS}/logs/report/{name}.log",
        conda:
            "../../envs/sdd.yaml"
        resources:
            runtime=short_minutes,
            mem_mb=2000,
        params:
            spec=table_spec(name),
        message:
            f"Table {name}"
        shell:
            "python -m sdd table --spec {params.spec:q} --rounds {input.rounds}"
            " --output {output.csv} --log {log}"


for name in STUDY.figures():
    stage = "figure_of_weights" if name == "figure4_weights" else "figure"

    rule:
        name:
            name
        input:
            rounds=f"{REPORTS}/rounds.csv",
            metrics=histograms() if stage == "figure_of_weights" else [],
            weights=ancient(
                histograms("model.safetensors") if stage == "figure_of_weights" else []
            ),
        output:
            png=report(
                f"{REPORTS}/figures/{name}.png",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": name},
            ),
            pdf=f"{REPORTS}/figures/{name}.pdf",
        log:
            f"{RESULTS}/logs/report/{name}.log",
        conda:
            "../../envs/sdd.yaml"
        resources:
            runtime=short_minutes,
            mem_mb=2000,
        params:
            stage=stage,
            spec=figure_spec(name, stage),
        message:
            f"Figure {name}"
        shell:
            "python -m sdd {params.stage} --spec {params.spec:q} --rounds {input.rounds}"
            " --output {output.png} --log {log} {input.metrics}"


rule study_config:
    output:
        f"{REPORTS}/study.json",
    log:
        f"{RESULTS}/logs/report/study_config.log",
    localrule: True
    conda:
        "../../envs/sdd.yaml"
    params:
        config=studies.canonical(STUDY.lasting_config),
    message:
        "The study's whole config"
    shell:
        "echo {params.config:q} > {output}.part 2> {log} && mv {output}.part {output}"


rule html_report:
    input:
        config=f"{REPORTS}/study.json",
        results=[tables(), figures()],
        captions=local(captions()),
    output:
        f"{REPORTS}/report.html",
    log:
        f"{RESULTS}/logs/report/html_report.log",
    localrule: True
    conda:
        "../../envs/sdd.yaml"
    message:
        "HTML report of {STUDY.name}"
    shell:
        "snakemake --nolock --configfile {input.config} --report {output}"
        " -- {input.results} 2> {log}"
