"""Which device a training runs on: among several GPUs, every job takes one that is free.

    with Lease("auto", sharing=1) as lease:
        train(lease.device(log))

Nobody assigns GPUs to the jobs of one machine, so they agree among themselves, with those of other
runs and other users too: a training on a GPU keeps a file locked that bears the GPU's UUID, in a
folder that everybody on this host with the same temporary directory shares. A GPU takes one more
training if neither that one nor any of those on it would then share it with more than it allows.

A lease hides all GPUs but its own from the process (CUDA_VISIBLE_DEVICES). So what is locked, used
and metered is the same GPU whatever CUDA's numbering, and no other one gets a context by mistake.
"""

from __future__ import annotations

import os
import platform
import re
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sdd.base import locks
from sdd.base.errors import DeviceError
from sdd.machine.memory import free_gpu_memory
from sdd.machine.power import cpu_brand

if TYPE_CHECKING:
    import torch

LOOK_EVERY_S = 1.0  # while waiting for a GPU
PROGRAM_S = 10.0  # that nvidia-smi may take


# --- The GPUs of this machine, without torch ---


def gpus() -> tuple[str, ...]:
    """UUIDs of the GPUs that this process may use: those of nvidia-smi that are not hidden.

    None where nvidia-smi is missing. One that hangs or cannot be run is a warning: then none can be
    told from another, and trainings take the CPU.
    """
    import subprocess

    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROGRAM_S,
        ).stdout
    except FileNotFoundError:
        return ()
    except subprocess.TimeoutExpired:
        warnings.warn(f"nvidia-smi gave no answer in {PROGRAM_S:g} s: no GPU is used", stacklevel=2)
        return ()
    except OSError as error:
        warnings.warn(f"nvidia-smi cannot be run ({error}): no GPU is used", stacklevel=2)
        return ()
    return visible_gpus(listed, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible_gpus(listed: str, visible: str | None) -> tuple[str, ...]:
    """UUIDs of what `nvidia-smi -L` lists and CUDA_VISIBLE_DEVICES (`visible`) shows, in its order.

    Numbers are nvidia-smi's. As for CUDA, a UUID may be cut short, and the first name that does not
    say which GPU hides all after it. The parts of a GPU split by MIG are shown by their UUIDs only.
    """
    uuids = re.findall(r"\(UUID: ((?:GPU|MIG)-[\w-]+)\)", listed)
    whole = [uuid for uuid in uuids if uuid.startswith("GPU-")]
    if visible is None:
        return tuple(whole)
    found = []
    for name in (name.strip() for name in visible.split(",")):
        if name.isdigit():
            meant = whole[int(name) :][:1]
        else:
            meant = [uuid for uuid in uuids if name and uuid.startswith(name)]
        if len(meant) != 1:
            break
        found += meant
    return tuple(dict.fromkeys(found))


def expects_gpu(setting: str, gpus: Sequence[str]) -> bool:
    """Whether trainings with this `device` setting will use a GPU, as far as this machine, which
    has `gpus`, can tell without importing torch."""
    if setting != "auto":
        return setting == "cuda"

    from importlib.metadata import PackageNotFoundError, version

    try:
        without_cuda = "cpu" in version("torch")
    except PackageNotFoundError:  # torch is in the jobs' environment only
        without_cuda = False
    return bool(gpus) and not without_cuda


# --- A place on one of them ---


@dataclass
class Lease:
    """Context manager: the device of this process's trainings, taken when it is first asked for.

    `setting` is the config's `device`, `sharing` its `trainings_per_gpu`, `deterministic` its key
    of that name. A GPU is held until the context ends or the process dies. On the CPU no place is
    held, but memory is (`keep_memory`).
    """

    setting: str
    sharing: int
    deterministic: bool = False
    _held: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _device: torch.device | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._device is not None and self._device.type == "cuda":
            free_gpu_memory(error)  # whoever takes the place next is to find it free
        self._held.close()
        self._device = None

    def device(self, log: Callable[[str], None]) -> torch.device:
        """Waits for a GPU if all are taken; `log` is then told so, once.

        It must be asked before CUDA is first used: CUDA looks only then at what is visible.
        Raises DeviceError for a CUDA that is not there.
        """
        if self._device is None:
            self._device = self._take(log)
        return self._device

    def _take(self, log: Callable[[str], None]) -> torch.device:
        import torch

        usable = gpus() if self.setting != "cpu" and torch.backends.cuda.is_built() else ()
        if usable:
            gpu = self._held.enter_context(hold_place(usable, self.sharing, log))
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            if torch.cuda.is_available():
                if self.deterministic:
                    only_deterministic()
                return torch.device("cuda")
            self._held.close()  # a driver that is too old for this torch
        if self.setting == "auto" and not usable and torch.cuda.is_available():
            raise DeviceError(
                "device: auto, and torch finds a CUDA device, but there is no nvidia-smi to tell "
                "which. Install it, or set device: cpu."
            )
        if self.setting == "cuda":
            raise DeviceError(
                "device: cuda, but torch and nvidia-smi find no CUDA device that both can use. "
                "Set device: auto or cpu."
            )
        keep_memory()
        return torch.device("cpu")


def only_deterministic() -> None:
    """From now on this process's GPU uses no kernel that may give other bits each time; where there
    is no other, torch raises a RuntimeError. It must be asked before CUDA is first used."""
    import torch

    # Which of its workspaces a product takes depends on what else runs; these are always the same.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # the fastest of several, as measured just now


def keep_memory() -> None:
    """Lets this process keep what it frees, under glibc: saves a quarter of a ResNet-18's step.

    glibc gives large blocks back at once; the kernel then clears their pages anew in every step.
    """
    import ctypes

    mmap_max, trim_threshold, never = -4, -1, -1  # of malloc.h
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, never)


@contextmanager
def hold_place(gpus: Sequence[str], sharing: int, log: Callable[[str], None]) -> Iterator[str]:
    """Holds a place on the least loaded of `gpus`, and says which; waits while there is none."""
    folder = _shared_folder()
    taken = _take_place(folder, gpus, sharing)
    if taken is None:
        log(
            f"waiting for a GPU: {', '.join(gpus)} cannot take one more training with "
            f"trainings_per_gpu: {sharing}; who is there keeps a file in {folder} open"
        )
    while taken is None:
        time.sleep(LOOK_EVERY_S)
        taken = _take_place(folder, gpus, sharing)
    gpu, fd, path = taken
    try:
        yield gpu
    finally:
        # A cleaner of temporary files may have been there; a finished training must not fail of it.
        with suppress(OSError), locks.locked(folder):
            os.unlink(path)
        os.close(fd)


def _take_place(folder: Path, gpus: Sequence[str], sharing: int) -> tuple[str, int, str] | None:
    """The GPU, and the descriptor and path of the file that holds the place on it."""
    with locks.locked(folder):
        there = {gpu: _sharing(folder, gpu) for gpu in gpus}
        limits = {gpu: min([sharing, *others]) for gpu, others in there.items()}
        free = [gpu for gpu in gpus if len(there[gpu]) < limits[gpu]]
        if not free:
            return None
        gpu = min(free, key=lambda gpu: len(there[gpu]))
        fd, path = locks.sign(folder, prefix=f"{gpu}.{sharing}.")
        os.fchmod(fd, 0o644)  # mkstemp's 0600 would keep other users from seeing that it is locked
        return gpu, fd, path


def _sharing(folder: Path, gpu: str) -> list[int]:
    """Of each training on a GPU, how many it lets share it, itself included: its file's name says
    so. Files with other names are nobody's."""
    found = (
        re.fullmatch(rf"{re.escape(gpu)}\.([1-9]\d{{0,3}})\.\w+", path.name)
        for path in locks.living(folder, f"{gpu}.*")
    )
    return [int(match[1]) for match in found if match]


def _shared_folder() -> Path:
    """Like the temporary directory itself: everybody writes, and removes only what is theirs.

    The host's name is in it in case several hosts share the temporary directory.
    """
    folder = Path(tempfile.gettempdir(), f"sdd-gpus-{os.uname().nodename}")
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o1777)
    found = folder.lstat()
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if not sticky or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise DeviceError(
            f"{folder}, where trainings agree on GPUs, cannot be used. Let its owner remove it or "
            f"chmod 1777 it, or set TMPDIR."
        )
    return folder


def device_name(device: torch.device) -> str:
    """What the device is sold as."""
    if device.type == "cpu":
        return cpu_brand() or platform.machine()

    import torch

    return torch.cuda.get_device_name(device)


def instruction_set(device: torch.device) -> str:
    """What rounds its numbers: AVX512 and AVX2 give other bits for the same training.

    What torch uses of the processor (ATEN_CPU_CAPABILITY may hold it down), or the GPU's compute
    capability.
    """
    import torch

    if device.type == "cpu":
        return torch.backends.cpu.get_cpu_capability()
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))
