"""The description of an archive for repositories such as Zenodo: RO-Crate 1.1, as JSON-LD.

https://www.researchobject.org/ro-crate/specification/1.1/
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from sdd.base import layout

METADATA = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/crate/1.1"
LICENCE = "https://spdx.org/licenses/MIT"

FORMATS = {
    ".json": "application/json", ".csv": "text/csv", ".md": "text/markdown", ".html": "text/html",
    ".png": "image/png", ".pdf": "application/pdf", ".tex": "application/x-tex",
    ".txt": "text/plain", ".py": "text/x-python", ".yaml": "application/yaml",
    ".sha256": "text/plain", ".rst": "text/x-rst", ".smk": "text/x-python",
    ".css": "text/css", ".js": "text/javascript",
}  # fmt: skip
ABOUT = {
    layout.ROUNDS: "One row a round: sparsity, accuracies, losses, FLOPs, seconds, energy",
    layout.PAGE: "The page to explore the study on",
    layout.STUDY: "The study's whole config; snakemake takes it by --configfile",
    "redraw.json": "The specs by which each table and figure is made from rounds.csv",
    "versions.json": "How many rounds each version and device has trained",
    "checksums.sha256": "The sha256 of every other file: sha256sum -c checksums.sha256",
    "left-out.sha256": "The sha256 of what is not in here: data, labels, weights",
    "requirements.txt": "The pinned environment",
}


def describe(
    *, study: str, date: str, sizes: Mapping[str, int], unsized: Iterable[str]
) -> dict[str, Any]:
    """The metadata of a study's archive with files of these `sizes` in bytes, and of some whose
    size is not known; `date` is that of its last round, in ISO 8601."""
    paths = [*sizes, *unsized]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Sparse double descent: the study {study}",
        "description": "Config, code, specs, metrics, tables, figures and report of a finished "
        "study of sparse double descent, enough to check and redraw all of them: unpacked, "
        "sha256sum -c checksums.sha256 checks every file, and redraw.json holds what "
        "python -m sdd STAGE takes for each table and figure.",
        "datePublished": date,
        "license": {"@id": LICENCE},
        "mainEntity": {"@id": "Snakefile"},
        "hasPart": [{"@id": quote(path)} for path in paths],
    }
    about = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": PROFILE},
        "about": {"@id": "./"},
    }
    licence = {"@id": LICENCE, "@type": "CreativeWork", "name": "MIT License"}
    snakemake = {
        "@id": "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": {"@id": "https://snakemake.readthedocs.io"},
        "url": {"@id": "https://snakemake.readthedocs.io"},
    }
    files = [_file(path, sizes.get(path)) for path in paths]
    return {"@context": CONTEXT, "@graph": [about, root, *files, licence, snakemake]}


def _file(path: str, size: int | None) -> dict[str, Any]:
    place = PurePosixPath(path)
    kind = FORMATS.get(place.suffix, "application/octet-stream")
    found: dict[str, Any] = {
        "@id": quote(path),
        "@type": "File",
        "name": path,
        "encodingFormat": kind,
    }
    if size is not None:
        found["contentSize"] = str(size)
    if place.name in ABOUT:
        found["description"] = ABOUT[place.name]
    if path == "Snakefile":
        found["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
        found["encodingFormat"] = "text/x-python"
        found["programmingLanguage"] = {
            "@id": "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
        }
    return found
