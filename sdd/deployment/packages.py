"""The packages that deployment needs and nothing else does: the extra `deploy` of this project."""

from importlib.util import find_spec

from sdd.base.errors import StudyError

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def check() -> None:
    """Raises StudyError, naming the extra, where one of them is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise StudyError(
            f"deployment.rounds: it needs {', '.join(PACKAGES)}, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed. They are the extra deploy: "
            "pip install -r envs/requirements.txt, or pip install -e .[deploy]."
        )
