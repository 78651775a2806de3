"""What is known of networks in files, beside how fast they are."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from sdd.deployment.comparison import peak
from sdd.deployment.runtimes import in_torch


class Large(nn.Module):
    """As a user's own, which another process must be able to import."""

    def __init__(self, megabytes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(megabytes * 250_000))

    def forward(self, x):
        return x.flatten(1)[:, :2] + self.weight.sum()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_peak_of_memory_is_that_of_a_process_of_its_own(tmp_path):
    peaks = []
    for megabytes in (1, 200):
        torch.save(Large(megabytes), tmp_path / "network.pt")
        assert in_torch(tmp_path / "network.pt")(np.zeros((4, 1, 2, 2), np.float32)).shape == (4, 2)
        peaks.append(peak("torch", tmp_path / "network.pt", (64, 1, 2, 2)))
    assert 150e6 < peaks[1] - peaks[0] < 900e6
