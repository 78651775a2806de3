"""Devices: what is visible, and that jobs share pretended GPUs as far as they allow, no further."""

import importlib.metadata
import os
import platform
import signal
import stat
import subprocess
import sys
import time
import weakref
from collections import Counter
from contextlib import ExitStack
from itertools import count

import pytest
import torch
from conftest import ROOT

from sdd.base.errors import DeviceError
from sdd.machine import devices
from sdd.machine.devices import Lease, hold_place, instruction_set

LISTED = """\
GPU 0: NVIDIA H200 (UUID: GPU-aa11-0)
GPU 1: NVIDIA H200 (UUID: GPU-aa22-1)
  MIG 3g.71gb     Device  0: (UUID: MIG-cc33-2)
  MIG 3g.71gb     Device  1: (UUID: MIG-dd44-3)
GPU 2: NVIDIA RTX A2000 (UUID: GPU-bb55-4)
"""
A, B = "GPU-a", "GPU-b"


class Full(Exception):
    """Raised in place of waiting."""


def refuse(line: str) -> None:
    raise Full(line)


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    """A host of the test's own: its temporary directory, and a nvidia-smi that lists A and B."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that what a lease sets is undone, too
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho 'GPU 0: One (UUID: {A})'\necho 'GPU 1: Other (UUID: {B})'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return tmp_path


@pytest.fixture
def cuda(monkeypatch):
    """A torch that believes in CUDA, as long as nothing is computed."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def held(host) -> Counter:
    """How many living trainings there are on each GPU."""
    return Counter(
        path.name.split(".")[0]
        for folder in host.glob("sdd-gpus-*")
        for path in devices.locks.living(folder, "GPU-*")
    )


def python(program: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


# --- What is visible ---


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aa11-0", "GPU-aa22-1", "GPU-bb55-4"]),
        ("2,0", ["GPU-bb55-4", "GPU-aa11-0"]),
        (" 1 ", ["GPU-aa22-1"]),
        ("GPU-bb55-4", ["GPU-bb55-4"]),
        ("GPU-b,0", ["GPU-bb55-4", "GPU-aa11-0"]),
        ("MIG-dd44-3,MIG-cc", ["MIG-dd44-3", "MIG-cc33-2"]),
        ("0,GPU-aa11-0", ["GPU-aa11-0"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,7,1", ["GPU-aa11-0"]),
        ("GPU-aa,0", []),  # which of the two?
    ],
)
def test_visible_gpus(visible, expected):
    assert devices.visible_gpus(LISTED, visible) == tuple(expected)


def test_gpus_are_those_of_nvidia_smi_that_are_not_hidden(host, monkeypatch):
    assert devices.gpus() == (A, B)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert devices.gpus() == (B,)
    monkeypatch.setenv("PATH", str(host))
    assert devices.gpus() == ()


def test_a_driver_that_does_not_answer_shows_no_gpu(host):
    (host / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    assert devices.gpus() == ()


@pytest.mark.parametrize(
    ("setting", "gpus", "torch_version", "expected"),
    [
        ("cuda", (), "2.13.0", True),
        ("cpu", (A,), "2.13.0", False),
        ("auto", (A,), "2.13.0", True),
        ("auto", (A,), "2.13.0+cpu", False),
        ("auto", (A,), None, True),
        ("auto", (), "2.13.0", False),
    ],
)
def test_what_the_trainings_are_expected_to_use(
    monkeypatch, setting, gpus, torch_version, expected
):
    def version(name):
        if torch_version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return torch_version

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert devices.expects_gpu(setting, gpus) is expected


@pytest.mark.parametrize(
    ("script", "mode", "words"),
    [
        ("#!/bin/sh\nexec /bin/sleep 60\n", 0o755, "gave no answer in 0.2 s: no GPU is used"),
        ("#!/bin/sh\n", 0o644, "cannot be run"),
        ("not a program", 0o755, "cannot be run"),
    ],
)
def test_a_program_that_does_not_answer_is_a_warning(tmp_path, monkeypatch, script, mode, words):
    program = tmp_path / "nvidia-smi"
    program.write_text(script)
    program.chmod(mode)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(devices, "PROGRAM_S", 0.2)
    with pytest.warns(UserWarning, match=words):
        assert devices.gpus() == ()


# --- A place on one of them ---

HOLD = """
import sys, time
from pathlib import Path
from sdd.machine import devices
devices.LOOK_EVERY_S = 0.01
gpus, sharing, folder, together, times = sys.argv[1].split(), *sys.argv[2:]
for turn in range(int(times)):
    with devices.hold_place(gpus, int(sharing), lambda line: None) as gpu:
        start = time.monotonic()
        with open(folder + "/in", "a") as file:
            file.write(".")
        while Path(folder, "in").stat().st_size < int(together):
            time.sleep(0.005)
        time.sleep(0.01)
        end = time.monotonic()
    print(gpu, start, end)
"""


@pytest.mark.parametrize(("gpus", "sharing", "processes"), [(2, 1, 5), (3, 2, 8), (1, 3, 4)])
def test_many_processes_fill_every_gpu_and_none_too_much(host, gpus, sharing, processes):
    """No place is left before all are taken together, so that each of them must be found."""
    names = [f"GPU-{n}" for n in range(gpus)]
    running = [
        python(HOLD, " ".join(names), sharing, host, gpus * sharing, 4) for _ in range(processes)
    ]
    stays = [line.split() for p in running for line in p.communicate(timeout=60)[0].splitlines()]
    assert all(p.returncode == 0 for p in running)
    assert len(stays) == processes * 4
    load, most = Counter(), Counter()
    comings = [(float(start), 1, gpu) for gpu, start, _ in stays]
    goings = [(float(end), -1, gpu) for gpu, _, end in stays]
    for _, step, gpu in sorted(comings + goings):
        load[gpu] += step
        most[gpu] = max(most[gpu], load[gpu])
    assert most == {name: sharing for name in names}
    assert not held(host)


def test_the_least_loaded_gpu_is_taken():
    with ExitStack() as stack:
        first = stack.enter_context(hold_place([A, B], 3, refuse))
        with hold_place([A, B], 3, refuse) as second:
            assert (first, second) == (A, B)
            with hold_place([B], 3, refuse), hold_place([A, B], 3, refuse) as fourth:
                assert fourth == A
        assert stack.enter_context(hold_place([A, B], 3, refuse)) == B


def test_nobody_is_joined_by_more_than_they_allow(host):
    with hold_place([A], 1, refuse), pytest.raises(Full), hold_place([A], 3, refuse):
        pass
    with hold_place([A], 3, refuse), pytest.raises(Full), hold_place([A], 1, refuse):
        pass
    with (
        hold_place([A], 3, refuse),
        hold_place([A], 2, refuse),
        pytest.raises(Full),
        hold_place([A], 3, refuse),
    ):
        pass
    with hold_place([A], 1, refuse), hold_place([A, B], 1, refuse) as other:
        assert other == B
    assert not held(host)


def test_odd_things_in_the_shared_folder_break_no_training(host):
    folder = devices._shared_folder()
    os.mkfifo(folder / f"{A}.1.pipe")
    (folder / f"{A}.many.x").write_text("")
    (folder / f"{A}.").write_text("")
    (folder / f"{A}.1.link").symlink_to("/dev/zero")
    with hold_place([A], 1, refuse) as gpu:
        assert gpu == A
        with pytest.raises(Full), hold_place([A], 1, refuse):
            pass


def test_a_place_is_left_when_the_training_fails(host):
    with pytest.raises(ZeroDivisionError), hold_place([A], 1, refuse):
        assert held(host) == {A: 1}
        raise ZeroDivisionError
    assert not held(host) and not list(host.glob("sdd-gpus-*/*"))


def test_a_killed_holder_frees_its_place_and_waiting_ends(host, monkeypatch):
    monkeypatch.setattr(devices, "LOOK_EVERY_S", 0.01)
    holder = python(HOLD, A, 1, host, 2, 1)
    deadline = time.monotonic() + 30
    while not (host / "in").exists():
        assert holder.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    lines, slept = [], count()

    def sleep(seconds):
        if next(slept) == 3:  # after some vain looks
            holder.send_signal(signal.SIGKILL)
            holder.communicate()

    monkeypatch.setattr(devices.time, "sleep", sleep)
    with hold_place([A], 1, lines.append) as gpu:
        assert gpu == A and next(slept) >= 4
        assert held(host) == {A: 1}
    assert len(lines) == 1
    assert lines[0].startswith("waiting for a GPU: GPU-a cannot take one more training with")
    assert "trainings_per_gpu: 1" in lines[0] and str(host) in lines[0]


def test_other_users_can_see_and_sign_whatever_the_umask(host):
    before = os.umask(0o077)
    try:
        with hold_place([A], 1, refuse):
            (folder,) = host.glob("sdd-gpus-*")
            (file,) = folder.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
            assert stat.S_IMODE(file.stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_a_folder_that_cannot_be_used_is_named(host):
    path = host / f"sdd-gpus-{os.uname().nodename}"
    path.touch()
    with pytest.raises(DeviceError, match=f"{path}.*cannot be used"), hold_place([A], 1, refuse):
        pass


# --- The lease of a process ---


def test_a_lease_takes_one_gpu_when_asked_and_hides_the_others(host, cuda):
    with hold_place([A], 1, refuse), Lease("auto", 1) as lease:
        assert held(host) == {A: 1}  # not asked yet
        assert lease.device(refuse) == torch.device("cuda")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == B
        assert lease.device(refuse) == torch.device("cuda")
        assert held(host) == {A: 1, B: 1}
    assert not held(host)
    # CUDA looks at what is visible once a process: its next lease is of the same GPU.
    with Lease("cuda", 1) as lease:
        lease.device(refuse)
        assert held(host) == {B: 1}
        with pytest.raises(Full), Lease("cuda", 1) as other:
            other.device(refuse)


def test_the_place_is_left_once_the_memory_is_free_also_after_a_failure(host, cuda, monkeypatch):
    class Weights:
        pass

    made, told = [], []

    def emptied():
        told.append((sum(held(host).values()), [weights() for weights in made]))

    def fails(lease):
        lease.device(refuse)
        weights = Weights()
        made.append(weakref.ref(weights))
        try:
            raise MemoryError
        except MemoryError as error:
            raise ZeroDivisionError from error

    monkeypatch.setattr(torch.cuda, "empty_cache", emptied)
    with pytest.raises(ZeroDivisionError), Lease("auto", 1) as lease:
        fails(lease)
    assert told == [(1, [None])]
    assert not held(host)


@pytest.mark.parametrize("asked", [False, True])
def test_a_gpu_is_deterministic_where_that_is_asked_for(cuda, monkeypatch, asked):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    try:
        with Lease("auto", 1, deterministic=asked) as lease:
            lease.device(refuse)
            assert torch.are_deterministic_algorithms_enabled() == asked
            assert torch.backends.cudnn.benchmark != asked
            assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if asked else None)
    finally:
        torch.use_deterministic_algorithms(False)


def test_on_the_cpu_determinism_changes_nothing():
    with Lease("cpu", 1, deterministic=True) as lease:
        lease.device(refuse)
        assert not torch.are_deterministic_algorithms_enabled()


def test_the_one_visible_gpu_is_waited_for_though_another_is_free(cuda, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with hold_place([B], 1, refuse), pytest.raises(Full, match=B), Lease("auto", 1) as lease:
        lease.device(refuse)


def test_the_energy_meter_reads_the_gpu_that_is_held(cuda):
    from sdd.machine.power import visible_gpu

    with hold_place([A], 1, refuse), Lease("auto", 1) as lease:
        device = str(lease.device(refuse))
        assert visible_gpu(device, os.environ["CUDA_VISIBLE_DEVICES"]) == B


@pytest.mark.parametrize(("setting", "visible"), [("cpu", "0"), ("auto", "")])
def test_on_the_cpu_nothing_is_held(host, cuda, monkeypatch, setting, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(visible))
    with Lease(setting, 1) as lease:
        assert lease.device(refuse) == torch.device("cpu")
        assert not list(host.glob("sdd-gpus-*"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_a_gpu_without_nvidia_smi_is_not_passed_over_in_silence(cuda, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with Lease("auto", 1) as lease, pytest.raises(DeviceError, match="no nvidia-smi to tell"):
        lease.device(refuse)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")
@pytest.mark.parametrize("kept", [False, True])
def test_memory_that_a_training_frees_stays_with_it(kept):
    program = (
        "import resource, torch; from sdd.machine.devices import Lease\n"
        f"if {kept}: Lease('cpu', 1).device(print)\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for step in range(20):\n"
        "    if step == 10: before = faults()\n"
        "    torch.ones(20_000_000)\n"  # 80 MB: 20,000 pages, or 40 huge ones
        "print(faults() - before)"
    )
    run = [sys.executable, "-c", program]
    faults = int(subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert (faults < 100) == kept


@pytest.mark.parametrize("built", [False, True])
def test_gpus_that_torch_cannot_use_are_not_held(host, cuda, monkeypatch, built):
    """By a torch without CUDA, or because the driver is too old for it."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with Lease("auto", 1) as lease:
        assert lease.device(refuse) == torch.device("cpu")
        assert not held(host)
    with Lease("cuda", 1) as lease, pytest.raises(DeviceError, match="Set device: auto or cpu"):
        lease.device(refuse)
    assert not held(host)


def test_a_cuda_that_is_not_there_is_an_error_that_names_the_key(host, cuda, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with Lease("cuda", 1) as lease, pytest.raises(DeviceError, match=r"^device: cuda"):
        lease.device(refuse)


@pytest.mark.parametrize("least", ["default", "avx2"])
def test_the_instruction_set_is_the_one_that_torch_uses(least):
    program = (
        "import torch; from sdd.machine.devices import instruction_set; "
        "print(instruction_set(torch.device('cpu')))"
    )
    environment = os.environ | {"ATEN_CPU_CAPABILITY": least}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip().upper() == least.upper()


def test_the_instruction_set_of_a_gpu_is_its_compute_capability(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert instruction_set(torch.device("cuda:0")) == "sm_90"
