"""What a builder makes its table or figure from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sdd.analysis.collected import chains, read
from sdd.base.errors import DataError
from sdd.base.names import listed
from sdd.deployment import collecting
from sdd.report.specs import ReportSpec
from sdd.study.settings import EarlyStopping


@dataclass(frozen=True)
class Material:
    """The study's chains, and what the builder's entry in the catalogue says that it uses."""

    rounds: pd.DataFrame  # of `sdd.analysis.collected.chains`
    early_stopping: EarlyStopping | None = None
    palette: str | None = None
    weights: tuple[Path, ...] = ()  # metrics of rounds, with the rounds' weights beside them
    deployments: pd.DataFrame | None = None  # of `sdd.deployment.collecting`, if there are any

    @classmethod
    def of(
        cls,
        spec: ReportSpec,
        rounds: Path,
        weights: Iterable[Path] = (),
        deployments: Path | None = None,
    ) -> "Material":
        """Of a table's or figure's spec and its input files: rounds.csv, deployments.csv.

        Raises DataError, naming the file, for one that is not as it was made, or another's.
        """
        frame = chains(read(rounds))
        if spec.study and set(frame.study) != {spec.study}:
            others = listed(sorted({*map(str, frame.study)} - {spec.study}))
            raise DataError(
                f"{rounds} is of another study than {spec.study}: {others}. Delete it and run "
                "snakemake again."
            )
        deployed = collecting.read(deployments) if deployments else None
        return cls(frame, spec.early_stopping, spec.palette, tuple(weights), deployed)

    @property
    def rule(self) -> EarlyStopping:
        """Of early stopping; a valley no deeper than its tolerance counts as noise."""
        if self.early_stopping is None:
            raise ValueError("no rule of early stopping: the catalogue says that it is not used")
        return self.early_stopping
