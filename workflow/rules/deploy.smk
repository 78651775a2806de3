DEPLOYED = [FILES.deployed("{chain}", which) for which in SETTINGS.deployment.rounds]


# All of a chain's rounds in one job: what it takes to start would be most of it.
if DEPLOYED:

    rule deploy:
        input:
            unpack(data_of),
            rounds=candidates_of,
            weights=lambda wildcards: ancient(
                [
                    STUDY.files(STUDY.chains[wildcards.chain], n).data
                    for n in STUDY.rounds
                ]
            ),
            # Behind all trainings, so that none disturbs what is measured.
            trained=ancient(FILES.rounds),
        output:
            facts=[deployed.facts for deployed in DEPLOYED],
            models=[path for deployed in DEPLOYED for path in deployed.models],
        log:
            FILES.deployed_log("{chain}"),
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            measuring=1,
            gpu=uses_gpu(),
            device=SETTINGS.device,
            sharing=SETTINGS.trainings_per_gpu,
            runtime=deploy_minutes,
            mem_mb=training_memory,
        params:
            spec=deploy_param,
        message:
            "Deployed models of {wildcards.chain}"
        shell:
            "python -m sdd deploy --spec {params.spec:q} --dataset {input.dataset:q}"
            " --labels {input.labels:q} --output {output.facts[0]:q} --log {log:q}"
            " --device {resources.device} --sharing {resources.sharing} {input.rounds:q}"

    rule collect_deployments:
        input:
            [
                FILES.deployed(chain, which).facts
                for chain in STUDY.chains
                for which in SETTINGS.deployment.rounds
            ],
        output:
            deployments=FILES.deployments,
            facts=FILES.deployments_facts,
        log:
            FILES.report_log("collect_deployments"),
        conda:
            ENVIRONMENT
        resources:
            runtime=short_minutes,
            mem_mb=2000,
        params:
            spec=param(jobs.deployments_spec(STUDY)),
        message:
            f"Collecting the deployed models of {STUDY.name}"
        shell:
            "python -m sdd collect_deployments --spec {params.spec:q}"
            " --output {output.deployments:q} --log {log:q} {input:q}"
