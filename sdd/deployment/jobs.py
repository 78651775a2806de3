"""Whether a study deploys, and the specs of the jobs that do. Imports nothing that computes."""

from sdd.base import fingerprint
from sdd.deployment.selection import RULED
from sdd.deployment.specs import DeploymentsSpec, DeploySpec
from sdd.study.study import Study


def deploys(study: Study) -> bool:
    """Whether a study asks for it."""
    return bool(study.config.deployment.rounds)


def deploy_spec(study: Study, chain: str) -> DeploySpec:
    found, asked = study.chains[chain], study.config.deployment
    return DeploySpec(
        study=study.name,
        chain=chain,
        dense_chain=found.dense_path,
        rounds=asked.rounds,
        labels=found.labels_spec,
        seconds=asked.seconds,
        early_stopping=study.config.early_stopping.rule if RULED & {*asked.rounds} else None,
        code=fingerprint.code("sdd.stages.deploy", found.builder),
    )


def deployments_spec(study: Study) -> DeploymentsSpec:
    code = fingerprint.code("sdd.stages.collect_deployments")
    return DeploymentsSpec(study.name, study.config.energy.carbon_intensity, code)
