"""Energy: fair shares against a brute-force count, honest failures, carbontracker as it is."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT

from sdd.machine import energy, ledger, power, reading
from sdd.machine.energy import EnergyMeter, Measured
from sdd.machine.ledger import Entry, Stay
from sdd.machine.power import Part, Probe


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Power:
    """A component that says what it was told to: watts, or an error to raise."""

    def __init__(self, *answers) -> None:
        self.answers, self.asked, self.closed = list(answers), 0, threading.Event()

    def power_usage(self) -> list[float]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def shutdown(self) -> None:
        self.closed.set()


def part(*answers, device: str = "cpu", required: bool = True) -> Part:
    return Part(device, lambda: Probe(Power(*answers), f"told for {device}", 0.01), required)


def python(program: str, *arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


# --- The ledger ---


def simulate(folder: Path, seed: int) -> tuple[dict[int, float], dict[int, tuple[int, int]], int]:
    """Jobs that come, look, go and get killed at random whole seconds, some at the same one.

    Returns the fair time of every finished job, every job's interval as it should have counted,
    and the number of seconds.
    """
    rng, clock, seconds = random.Random(seed), Clock(), 60
    running: dict[int, Entry] = {}
    fair: dict[int, float] = {}
    spans: dict[int, tuple[int, int]] = {}
    started, looked = {}, 0
    for now in range(seconds + 1):
        clock.now = float(now)
        for action in rng.choices(("wait", "come", "look", "go", "kill"), (6, 3, 2, 2, 1), k=2):
            name = rng.choice(list(running)) if running else None
            if action == "come":
                name = len(started)
                running[name], started[name], looked = Entry(folder, clock), now, now
            elif action == "look" and running:
                running[name].beat()
                looked = now
            elif action == "go" and running:
                stay, looked = running.pop(name).finish(), now
                assert (stay.start_s, stay.end_s) == (started[name], now)
                fair[name], spans[name] = stay.fair_s, (started[name], now)
            elif action == "kill" and running:
                os.close(running.pop(name)._fd)  # as the kernel does
                spans[name] = (started[name], looked)
    for name, job in running.items():
        fair[name], spans[name] = job.finish().fair_s, (started[name], seconds)
    return fair, spans, seconds


@pytest.mark.parametrize("seed", range(20))
def test_shares_equal_a_count_second_by_second(tmp_path, seed):
    fair, spans, seconds = simulate(tmp_path, seed)
    expected = dict.fromkeys(spans, 0.0)
    for second in range(seconds):
        present = [job for job, (start, end) in spans.items() if start <= second < end]
        for job in present:
            expected[job] += 1 / len(present)
    assert fair == pytest.approx({job: expected[job] for job in fair}, rel=1e-12)
    used = {second for start, end in spans.values() for second in range(start, end)}
    killed = sum(expected[job] for job in spans.keys() - fair.keys())
    assert sum(fair.values()) + killed == pytest.approx(len(used), rel=1e-12)


def test_a_link_in_the_ledgers_place_costs_the_measurement_and_nothing_else(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "cpu"
    folder.mkdir(mode=0o700)
    (folder / "tally").symlink_to(precious)
    with EnergyMeter("cpu", parts=[part([10.0])], ledger=tmp_path) as meter:
        pass
    assert meter.reading.energy_kwh is None and meter.reading.reason
    assert precious.read_text() == "precious"


def test_a_killed_process_counts_until_it_was_last_seen(tmp_path):
    clock = Clock()
    job = Entry(tmp_path, clock)
    child = python(
        "import sys, time; from pathlib import Path; from sdd.machine.ledger import Entry\n"
        "job = Entry(Path(sys.argv[1]), lambda: 2.0); print('in', flush=True); time.sleep(60)",
        tmp_path,
    )
    with child:
        assert child.stdout.readline() == "in\n"
        clock.now = 5.0
        job.beat()
        child.send_signal(signal.SIGKILL)
    clock.now = 6.0
    job.beat()
    clock.now = 10.0
    # Alone for 2 s, halves for 3 s, alone again: with the killed job's 1.5 s it makes the whole 10.
    assert job.finish() == Stay(0.0, 10.0, 2 + 3 / 2 + 5)
    assert [path.name for path in tmp_path.iterdir()] == ["tally"]


def test_processes_side_by_side_share_the_time_that_the_device_was_in_use(tmp_path):
    program = (
        "import random, sys, time; from pathlib import Path; from sdd.machine.ledger import Entry\n"
        "rng = random.Random(sys.argv[2]); print('ready', flush=True); input()\n"
        "for _ in range(25):\n"
        "    job = Entry(Path(sys.argv[1])); time.sleep(rng.uniform(0, 0.01))\n"
        "    stay = job.finish()\n"
        "    print(stay.start_s, stay.end_s, stay.fair_s); time.sleep(rng.uniform(0, 0.005))"
    )
    children = [python(program, tmp_path, seed, stdin=subprocess.PIPE) for seed in range(4)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 4
    for child in children:
        print(file=child.stdin, flush=True)
    lines = [line for child in children for line in child.communicate()[0].splitlines()]
    assert [child.returncode for child in children] == [0] * 4
    stays = [Stay(*map(float, line.split())) for line in lines]
    assert len(stays) == 100
    times = sorted({moment for stay in stays for moment in (stay.start_s, stay.end_s)})
    used = sum(
        end - start
        for start, end in pairwise(times)
        if any(stay.start_s <= start and end <= stay.end_s for stay in stays)
    )
    assert sum(stay.fair_s for stay in stays) == pytest.approx(used, rel=1e-9)
    assert sum(stay.seconds for stay in stays) > 1.1 * used  # they did run side by side


def test_what_an_earlier_boot_left_is_swept(tmp_path):
    ahead = Clock()
    ahead.now = 1e6
    os.close(Entry(tmp_path, ahead)._fd)
    clock = Clock()
    job = Entry(tmp_path, clock)
    clock.now = 3.0
    assert job.finish() == Stay(0.0, 3.0, 3.0)


def test_a_ledger_emptied_meanwhile_is_an_error(tmp_path):
    job = Entry(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(reading.EnergyError, match="emptied"):
        job.finish()


def test_a_ledger_that_stays_locked_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "LOCK_S", 0.01)
    first = Entry(tmp_path)
    with first._look(), pytest.raises(reading.EnergyError, match="stayed locked"):
        Entry(tmp_path)
    first.finish()


# --- The meter ---


def test_a_reading_adds_up(tmp_path):
    with EnergyMeter(parts=[part([20.0, 40.0])], ledger=tmp_path) as meter:
        time.sleep(0.02)
    reading = meter.reading
    assert (reading.power_w, reading.share, reading.reason) == (60.0, 1.0, None)
    assert reading.energy_kwh == pytest.approx(60 * reading.seconds * reading.pue / 3.6e6, 1e-12)
    assert reading.co2_g == pytest.approx(reading.energy_kwh * reading.carbon_intensity, 1e-12)
    assert (reading.pue, reading.carbon_intensity) == (1.58, 445.0)  # carbontracker 2.4.7's
    assert 0.02 <= reading.seconds < 5
    assert reading.method == f"carbontracker {power.library().version}, told for cpu"
    assert json.loads(json.dumps(reading.to_dict()))["energy_kwh"] == reading.energy_kwh


def test_meters_side_by_side_share_the_energy(tmp_path):
    inner = EnergyMeter(parts=[part([60.0])], ledger=tmp_path)
    with EnergyMeter(parts=[part([60.0])], ledger=tmp_path) as outer, inner:
        time.sleep(0.05)
    assert inner.reading.share == pytest.approx(0.5, rel=1e-9)
    whole = 60 * outer.reading.seconds * outer.reading.pue / 3.6e6
    both = outer.reading.energy_kwh + inner.reading.energy_kwh
    assert both == pytest.approx(whole, rel=1e-9)


def test_devices_have_their_own_shares():
    source = power.Library("1.0", 2.0, 500.0)
    gpu = Measured(300.0, Stay(0.0, 36.0, 36.0), "NVML")
    cpu = Measured(100.0, Stay(0.0, 36.0, 9.0), "RAPL")
    reading = energy.combine([gpu, cpu], [], source)
    assert reading.energy_kwh == pytest.approx((300 * 36 + 100 * 9) * 2 / 3.6e6, rel=1e-12)
    assert reading.co2_g == pytest.approx(3.25, rel=1e-12)
    assert (reading.power_w, reading.seconds) == (400.0, 36.0)
    assert reading.share == pytest.approx((300 + 100 / 4) / 400, rel=1e-12)
    assert reading.method == "carbontracker 1.0, NVML; RAPL"


def test_the_shortest_training_is_read_once(tmp_path):
    power = Power([60.0])
    probe = Probe(power, "slow pace", every_s=3600.0)
    with EnergyMeter(parts=[Part("cpu", lambda: probe)], ledger=tmp_path) as meter:
        pass
    assert meter.reading.power_w == 60.0
    assert power.closed.wait(5)
    assert power.asked == 1


def test_readings_are_averaged_zeros_dropped_and_one_under_way_not_waited_for(tmp_path):
    under_way, release = threading.Event(), threading.Event()

    class Hanging(Power):
        def power_usage(self) -> list[float]:
            watts = super().power_usage()
            if self.asked == 5:
                under_way.set()
                release.wait(5)
            return watts

    power = Hanging([0.0], [10.0], [0.0], [40.0], [1000.0])
    told = Part("cpu", lambda: Probe(power, "told", every_s=0.0))
    with EnergyMeter(parts=[told], ledger=tmp_path) as meter:
        assert under_way.wait(5)
    assert not release.is_set()
    assert meter.reading.power_w == 25.0
    release.set()
    assert power.closed.wait(5)


def test_a_meter_keeps_the_ledger_up_to_date_while_it_runs(tmp_path):
    third = threading.Event()

    class Counted(Power):
        def power_usage(self) -> list[float]:
            if self.asked == 2:
                third.set()
            return super().power_usage()

    told = Part("cpu", lambda: Probe(Counted([60.0]), "told", every_s=0.01))
    with EnergyMeter(parts=[told], ledger=tmp_path):
        before = (tmp_path / "cpu" / "tally").read_bytes()
        assert third.wait(5)
        assert (tmp_path / "cpu" / "tally").read_bytes() != before


def unreadable() -> Probe:
    raise FileNotFoundError("no such component")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([part([0.0])], "no power above 0 W was read"),
        ([part([])], "no power above 0 W was read"),
        ([part(RuntimeError())], "RuntimeError"),
        ([Part("cpu", unreadable)], "FileNotFoundError: no such component"),
        ([part([60.0]), Part("gpu", unreadable)], "FileNotFoundError: no such component"),
    ],
)
def test_a_failed_measurement_gives_none_and_the_reason(tmp_path, parts, reason):
    with EnergyMeter(parts=parts, ledger=tmp_path) as meter:
        time.sleep(0.01)
    reading = meter.reading.to_dict()
    assert (reading.pop("method"), reading.pop("reason")) == ("not measured", reason)
    assert reading.pop("seconds") >= 0.01
    assert set(reading.values()) == {None}
    assert not list(tmp_path.glob("*/*.job"))


def test_a_component_lost_on_the_way_gives_none_and_the_reason(tmp_path):
    power = Power([60.0], OSError("lost"))
    lost = Part("cpu", lambda: Probe(power, "told", every_s=0.0))
    with EnergyMeter(parts=[lost], ledger=tmp_path) as meter:
        assert power.closed.wait(5)
    assert (meter.reading.energy_kwh, meter.reading.reason) == (None, "OSError: lost")


def test_rapl_without_permission_names_the_file(tmp_path):
    from carbontracker.exceptions import IntelRaplPermissionError

    file = "/sys/class/powercap/intel-rapl:0/energy_uj"
    with EnergyMeter(parts=[part(IntelRaplPermissionError([file]))], ledger=tmp_path) as meter:
        pass
    assert meter.reading.energy_kwh is None
    assert file in meter.reading.reason


def test_what_is_optional_may_be_missing(tmp_path):
    parts = [part([300.0], device="gpu"), part(OSError("closed"), required=False)]
    with EnergyMeter(parts=parts, ledger=tmp_path) as meter:
        pass
    assert (meter.reading.power_w, meter.reading.reason) == (300.0, None)
    assert meter.reading.method.endswith("told for gpu; cpu not measured (OSError: closed)")


def test_a_component_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "FIRST_SAMPLE_S", 0.01)
    release = threading.Event()
    probe = Part("cpu", lambda: release.wait(5) and Probe(Power([1.0]), "late"))
    with EnergyMeter(parts=[probe], ledger=tmp_path) as meter:
        pass
    release.set()
    assert meter.reading.reason == "no timely answer"


@pytest.mark.parametrize("device", ["mps", "cuda:x"])
def test_a_device_that_cannot_be_metered(tmp_path, device):
    with EnergyMeter(device, ledger=tmp_path) as meter:
        pass
    assert meter.reading.energy_kwh is None
    assert device.removeprefix("cuda:") in meter.reading.reason


def test_an_unusable_ledger(tmp_path):
    (tmp_path / "cpu").write_text("a file where the folder should be")
    with EnergyMeter(parts=[part([60.0])], ledger=tmp_path) as meter:
        pass
    assert "cpu is no folder; remove it" in meter.reading.reason


def test_the_training_s_own_error_comes_out(tmp_path):
    meter = EnergyMeter(parts=[part([60.0])], ledger=tmp_path)
    with pytest.raises(ZeroDivisionError), meter:
        1 / 0  # noqa: B018
    assert not list(tmp_path.glob("*/*.job"))


def test_a_training_that_fails_does_not_wait_for_a_reading(tmp_path):
    release, began = threading.Event(), time.monotonic()
    late = Part("cpu", lambda: release.wait(30) and Probe(Power([1.0]), "late"))
    meter = EnergyMeter(parts=[late], ledger=tmp_path)
    with pytest.raises(KeyboardInterrupt), meter:
        raise KeyboardInterrupt
    release.set()
    assert time.monotonic() - began < energy.FIRST_SAMPLE_S / 2
    assert meter.reading.reason == "no timely answer"


# --- carbontracker's components ---

on_linux = pytest.mark.skipif(power.cpu_brand() is None, reason="no CPU name in /proc/cpuinfo")


@on_linux
def test_the_estimate_is_the_library_s_own(capsys, monkeypatch, tmp_path):
    from carbontracker.components.cpu import generic, intel

    monkeypatch.setattr(intel, "RAPL_DIR", str(tmp_path))
    probe = power.open_cpu()
    assert capsys.readouterr().out == ""
    plain = generic.GenericCPU(pids=[], devices_by_pid=False)
    plain.init()
    assert probe.handler.devices() == plain.devices()
    assert probe.handler.power_usage() == plain.power_usage()
    watts, brand = plain.tdp, plain.cpu_brand
    assert probe.method.startswith(f"estimate: constant {watts:.4g} W for {brand} (no RAPL")


def test_a_cpu_that_the_table_lacks_is_said_to_be_guessed(monkeypatch, tmp_path):
    from carbontracker.components.cpu import intel

    monkeypatch.setattr(intel, "RAPL_DIR", str(tmp_path))
    monkeypatch.setattr(power, "cpu_brand", lambda: "Abacus 9")
    probe = power.open_cpu()
    assert probe.handler.power_usage()[0] > 1
    assert probe.method.endswith("W for Abacus 9 (no RAPL, and not in the table: its mean)")


def test_cpu_brand(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel\t\t: 2\nmodel name\t: Abacus 9: fast\n")
    assert power.cpu_brand(file) == "Abacus 9: fast"
    file.write_text("processor : 0\nBogoMIPS : 50.00\n")  # as on Arm
    assert power.cpu_brand(file) is None
    assert power.cpu_brand(tmp_path / "none") is None


def test_rapl_is_preferred_where_it_has_a_package(monkeypatch, tmp_path):
    from carbontracker.components.cpu import intel

    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "name").write_text("package-0\n")
    counter = package / "energy_uj"
    counter.write_text("1000000\n")
    monkeypatch.setattr(intel, "RAPL_DIR", str(tmp_path))
    monkeypatch.setattr(intel.time, "sleep", lambda _: counter.write_text("43000000\n"))
    probe = power.open_cpu()
    assert (probe.method, probe.handler.power_usage()) == ("RAPL", [42.0])
    assert probe.every_s == 0  # a reading takes its own second
    (package / "name").write_text("psys\n")
    assert power.open_cpu().method.startswith("estimate")


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("cuda", None, 0),
        ("cuda:3", None, 3),
        ("cuda:1", "2, 5", 5),
        ("cuda:0", "GPU-a,GPU-b", "GPU-a"),
        ("GPU-b", "GPU-a", "GPU-b"),
    ],
)
def test_visible_gpu(device, visible, expected):
    assert power.visible_gpu(device, visible) == expected


@pytest.mark.parametrize("visible", ["", "0"])
def test_a_gpu_that_is_hidden(visible):
    with pytest.raises(reading.EnergyError, match="CUDA_VISIBLE_DEVICES"):
        power.visible_gpu("cuda:1", visible)


def test_only_the_job_s_gpu_is_read_and_its_uuid_names_the_ledger(monkeypatch, tmp_path):
    import pynvml

    watts = {2: 100_000, 5: 250_500}  # mW by NVML's index, which serves as the handle
    for name, answer in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
        "nvmlDeviceGetName": lambda handle: f"Model {handle}",
        "nvmlDeviceGetPowerUsage": watts.__getitem__,
    }.items():
        monkeypatch.setattr(pynvml, name, answer)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    gpu, cpu = energy.parts_of("cuda:1")
    assert (gpu.device, gpu.required, cpu.device, cpu.required) == ("GPU-5", True, "cpu", False)
    with EnergyMeter("cuda:1", parts=[gpu], ledger=tmp_path) as meter:
        pass
    assert meter.reading.power_w == 250.5
    assert meter.reading.method.endswith("NVML of Model 5")
    assert (tmp_path / "GPU-5" / "tally").exists()


@on_linux
def test_a_job_looks_nothing_up_in_the_network_and_starts_no_second_python(tmp_path):
    program = (
        "import sys, sdd.machine.energy\n"
        "heavy = {'torch', 'numpy', 'carbontracker', 'requests'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "network = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostby', 'socket.sendto')\n"
        "seen = []\n"
        "def watch(event, arguments):\n"
        "    python = event == 'subprocess.Popen' and arguments[0] == sys.executable\n"
        "    if python or event.startswith(network): seen.append(event)\n"
        "sys.addaudithook(watch)\n"
        "with sdd.machine.energy.EnergyMeter('cpu') as meter: pass\n"
        "assert not seen, seen\n"
        "assert not {'pandas', 'geocoder', 'carbontracker.tracker'} & sys.modules.keys()\n"
    )
    child = python(program, env={**os.environ, "TMPDIR": str(tmp_path)})
    output, _ = child.communicate()
    assert (child.returncode, output) == (0, "")
    (tally,) = tmp_path.glob(f"sdd-{os.getuid()}-energy/*/cpu/tally")
    assert tally.stat().st_size == 16
