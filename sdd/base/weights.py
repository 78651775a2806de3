"""A file of weights of the user's, as planning sees it: its header is read, its content hashed.

The file is safetensors: eight bytes, the length of a JSON header; the header, each tensor's type,
shape and place; the tensors. Whether they fit a model is seen where that is built.
"""

import json
from pathlib import Path

from sdd.base.errors import DataError
from sdd.base.files import sha256

# Numbers of these types become the model's own; others (8 bits, complex) are no weights.
TYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U32", "BOOL"}
LONGEST_HEADER = 100_000_000  # bytes, as the format has it


def content(path: Path) -> str:
    """The sha256 of a whole file of weights. Raises DataError, naming it, for any other file."""
    if not path.is_file():
        raise DataError(f"{path} is no file. Name a .safetensors file with a model's weights.")
    _check(path)
    return sha256(path)


def _check(path: Path) -> None:
    """Raises DataError unless the header is one, and its tensors fill the rest of the file."""
    remedy = "Write it with safetensors.torch.save_file(model.state_dict(), ...)."
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LONGEST_HEADER, size - 8):
                raise ValueError("it has no header")
            header = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        if end != size - 8 - length:
            raise ValueError(f"its tensors should take {end:,} bytes, not {size - 8 - length:,}")
        strange = [name for name, entry in tensors.items() if entry["dtype"] not in TYPES]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no whole safetensors file ({error}). {remedy}") from None
    if strange:
        kind = tensors[strange[0]]["dtype"]
        raise DataError(f"{path}: {strange[0][:80]} is of type {kind}, which no weights are of.")
    if not tensors:
        raise DataError(f"{path} holds no tensor. {remedy}")
