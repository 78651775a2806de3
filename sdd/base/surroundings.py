"""What the processes of a run find in their environment: the library, and what started them."""

import os
from collections.abc import Mapping

from sdd.base.errors import StudyError
from sdd.base.ownership import RUN

# Python's own search path, by another name too: who activates an environment may take it away.
_SEARCHED, _AGAIN = "PYTHONPATH", "SDD_PYTHONPATH"

# Said before each command of a job. Its modules come from the library's folder first, whatever lies
# in the working directory; texts are UTF-8, whatever the locale.
SHELL = f'set -euo pipefail; export {_SEARCHED}="${_AGAIN}" PYTHONSAFEPATH=1 PYTHONUTF8=1; '


def of_jobs(library: str, *folders: str, before: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for the jobs that this process starts, which import from `library` and `folders`.

    `before` is the environment that they are added to. Raises StudyError for a folder that Python
    cannot search.
    """
    if os.pathsep in library:
        raise StudyError(
            f"{library} has a {os.pathsep!r} in its name, at which Python's search path is split. "
            "Rename the folder."
        )
    searched = [library, *(folder for folder in folders if os.pathsep not in folder)]
    already = before.get(_SEARCHED, "").split(os.pathsep)
    path = os.pathsep.join([*searched, *(f for f in already if f and f not in searched)])
    # A job watches the process that started it: a training whose run was killed must stop.
    return {_SEARCHED: path, _AGAIN: path, RUN: str(os.getpid())}
