"""What all benchmarks share: one thread as in a job, and tables that pytest does not swallow.

pytest puts this folder on the path, so that those in folders find the modules beside this one.
"""

import os
import platform
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch

from sdd.machine.power import cpu_brand

Show = Callable[[str, list[dict[str, Any]]], None]


@pytest.fixture(scope="session")
def show(pytestconfig) -> Show:
    """Prints a title and its rows, each with the same keys; first of all, on which machine."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def table(title: str, rows: list[dict[str, Any]]) -> None:
        frame = pd.DataFrame(rows)
        with capture.global_and_fixture_disabled():
            print(f"\n\n{title}\n{frame.to_string(index=False)}", flush=True)

    load = os.getloadavg()[0]
    table(
        "Machine",
        [
            {
                "cpu": cpu_brand(),
                "cores": os.cpu_count(),
                "load": f"{load:.1f}",
                "vectors": torch.backends.cpu.get_cpu_capability(),
                "torch": torch.__version__,
                "python": platform.python_version(),
            }
        ],
    )
    return table


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
