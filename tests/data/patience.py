"""Nobody waits for what never comes, such as the other end of a FIFO."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def impatient(seconds: int = 20) -> Iterator[None]:
    """The test fails when the block has not ended after these seconds."""

    def fail(*_):
        pytest.fail(f"It has waited for {seconds} seconds.")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
