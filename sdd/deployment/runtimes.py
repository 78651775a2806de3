"""What runs a stored network: torch, as it was trained, or onnxruntime. On the CPU, one thread.

    python -m sdd.deployment.runtimes RUNTIME FILE BATCH CHANNELS SIZE

loads a network in a process of its own, has it answer to a batch, and prints the peak of that
process's memory in bytes; nothing where the operating system does not tell.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray], NDArray]  # normalised images [n, channels, h, w] -> logits [n, classes]


def in_torch(file: Path) -> Run:
    """Of a whole network that `torch.save` has written here: never open another's."""
    import torch

    torch.set_num_threads(1)
    network = torch.load(file, weights_only=False).eval()

    @torch.inference_mode()
    def run(images: NDArray) -> NDArray:
        return network(torch.from_numpy(images)).numpy()

    return run


def in_onnxruntime(file: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (images_name,) = (one.name for one in session.get_inputs())

    def run(images: NDArray) -> NDArray:
        return session.run(None, {images_name: images})[0]

    return run


RUNTIMES = {"torch": in_torch, "onnxruntime": in_onnxruntime}


def peak_bytes() -> int | None:
    """The most memory that this process has had resident, as Linux tells it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def main() -> None:
    runtime, file, batch, channels, size = sys.argv[1:]
    run = RUNTIMES[runtime](Path(file))
    run(np.zeros((int(batch), int(channels), int(size), int(size)), np.float32))
    print(peak_bytes() or "")


if __name__ == "__main__":
    main()
