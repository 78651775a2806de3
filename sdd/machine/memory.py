"""Memory that was not enough, as an error that says what to change.

torch and numpy each have their own exception for it, and some of CUDA's libraries only a word in
the message. What the kernel kills for memory (exit status 137) can say nothing.
"""

import gc
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sdd.base.errors import OutOfMemory

# Parts of the messages of torch's allocators and of the libraries below it.
SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "Unable to allocate")


def is_memory(error: BaseException) -> bool:
    """Whether that is why it was raised."""
    # torch.OutOfMemoryError is a RuntimeError too.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


@contextmanager
def enough_memory(what: str, on_gpu: bool, sharing: int, changes: Sequence[str]) -> Iterator[None]:
    """Raises OutOfMemory, naming `what` and what helps, where the block finds too little of it.

    `sharing` is trainings_per_gpu, `changes` are those to a recipe (`smaller`), or others.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        helps = ", ".join((_fewer(on_gpu, sharing), *changes))
        where = "GPU" if on_gpu else "machine"
        raise OutOfMemory(
            f"{what}: the {where}'s memory is not enough ({said}). What helps: {helps}."
        ) from error


def smaller(batch_size: int, precision: str) -> tuple[str, ...]:
    """The changes to a recipe that take less memory."""
    batch = f"a smaller batch_size than {batch_size} in the model's recipe"
    if precision == "bfloat16":
        return (f"{batch} (its precision is bfloat16 already)",)
    return batch, f"precision: bfloat16 there instead of {precision}"


def _fewer(on_gpu: bool, sharing: int) -> str:
    if not on_gpu:
        return f"fewer jobs at a time (snakemake --cores; on a GPU trainings_per_gpu: {sharing})"
    if sharing > 1:
        return f"fewer trainings_per_gpu than {sharing}"
    return "a GPU that nobody else uses (trainings_per_gpu is 1 already)"


def free_gpu_memory(error: BaseException | None) -> None:
    """Gives back what this process has of the GPU's memory, but for CUDA's own part, which goes
    with the process. After an `error` its frames still hold tensors: they are emptied."""
    import torch

    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    torch.cuda.empty_cache()
