rule collect_rounds:
    input:
        rounds(),
        choices(),
    output:
        f"{REPORTS}/rounds.csv",
    log:
        f"{RESULTS}/logs/report/collect_rounds.log",
    params:
        spec=studies.params(
            {
                "config": STUDY.chain_config,
                "carbon_intensity": config["energy"]["carbon_intensity"],
            },
            "collect_rounds",
        ),
        folder=RESULTS,
    conda:
        "../../envs/sdd.yaml"
    message:
        "Collecting every round of {STUDY.name}"
    shell:
        "python -m sdd collect_rounds --spec {params.spec:q} --folder {params.folder}"
        " --output {output} > {log}"


rule table:
    input:
        rounds=f"{REPORTS}/rounds.csv",
    output:
        csv=report(
            f"{REPORTS}/tables/{{table}}.csv",
            caption="../report/{table}.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        others=multiext(f"{REPORTS}/tables/{{table}}", ".md", ".tex"),
    log:
        f"{RESULTS}/logs/report/{{table}}.log",
    params:
        spec=lambda w: studies.params(
            {"name": w.table, "early_stopping": config["early_stopping"]}, "table"
        ),
    conda:
        "../../envs/sdd.yaml"
    message:
        "Table {wildcards.table}"
    shell:
        "python -m sdd table --spec {params.spec:q} --rounds {input.rounds}"
        " --output {output.csv} > {log}"


rule figure:
    input:
        rounds=f"{REPORTS}/rounds.csv",
    output:
        png=report(
            f"{REPORTS}/figures/{{figure}}.png",
            caption="../report/{figure}.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf=f"{REPORTS}/figures/{{figure}}.pdf",
    log:
        f"{RESULTS}/logs/report/{{figure}}.log",
    params:
        spec=lambda w: figure_spec("figure", name=w.figure),
    conda:
        "../../envs/sdd.yaml"
    message:
        "Figure {wildcards.figure}"
    shell:
        "python -m sdd figure --spec {params.spec:q} --rounds {input.rounds}"
        " --output {output.png} > {log}"


rule figure_of_weights:
    input:
        rounds=f"{REPORTS}/rounds.csv",
        weights=histograms(),
    output:
        png=report(
            f"{REPORTS}/figures/figure4_weights.png",
            caption="../report/figure4_weights.rst",
            category="Figures",
            labels={"figure": "figure4_weights"},
        ),
        pdf=f"{REPORTS}/figures/figure4_weights.pdf",
    log:
        f"{RESULTS}/logs/report/figure4_weights.log",
    params:
        spec=figure_spec("figure_of_weights"),
    conda:
        "../../envs/sdd.yaml"
    message:
        "Figure figure4_weights"
    shell:
        "python -m sdd figure_of_weights --spec {params.spec:q} --rounds {input.rounds}"
        " --output {output.png} {input.weights} > {log}"


ruleorder: figure_of_weights > figure


rule study_config:
    output:
        f"{REPORTS}/study.json",
    log:
        f"{RESULTS}/logs/report/study_config.log",
    params:
        config=studies.canonical(config),
    conda:
        "../../envs/sdd.yaml"
    message:
        "The study's whole config"
    shell:
        "echo {params.config:q} > {output} 2> {log}"


rule html_report:
    input:
        config=f"{REPORTS}/study.json",
        results=[tables(), figures()],
    output:
        f"{REPORTS}/report.html",
    log:
        f"{RESULTS}/logs/report/html_report.log",
    localrule: True
    message:
        "HTML report of {STUDY.name}"
    shell:
        "snakemake --nolock --configfile {input.config} --report {output}"
        " -- {input.results} 2> {log}"
