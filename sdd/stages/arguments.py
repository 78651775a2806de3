"""Arguments that several stages take."""

import argparse
from pathlib import Path


def files(parser: argparse.ArgumentParser, *names: str) -> None:
    """Input files, each with an option of its name; without a value the rule has no such input."""
    for name in names:
        parser.add_argument(f"--{name}", type=Path, nargs="?")


def device(parser: argparse.ArgumentParser) -> None:
    """Where a training runs, with how many others on one GPU, and by which of its kernels."""
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--sharing", type=int, default=1)
    parser.add_argument("--deterministic", type=int, choices=[0, 1], default=0)
