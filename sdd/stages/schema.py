"""Print the JSON schema of a study's config, by which editors complete and check it.

python -m sdd schema > workflow/schemas/study.schema.json
"""

import argparse
import json

from sdd.study import validation


def arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(args: argparse.Namespace) -> None:
    print(json.dumps(validation.schema(), indent=1, ensure_ascii=False))
