"""After each job: how long the rest will take."""

import logging
import time

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent


class TimeLeft(logging.Handler):
    """Follows Snakemake's progress events and says how long the remaining jobs will take.

    Judged by all jobs since the first; silent until there are enough of them to judge by. Jobs
    that wait for a teacher to be chosen are counted by Snakemake only once it is.
    """

    ENOUGH = 5

    def __init__(self):
        super().__init__()
        self.first = None

    def emit(self, record):
        if getattr(record, "event", None) is not LogEvent.PROGRESS:
            return
        now, done, total = time.monotonic(), record.done, record.total
        if self.first is None:
            self.first = now, done
        start, before = self.first
        if before + self.ENOUGH <= done < total:
            left = (now - start) / (done - before) * (total - done)
            logger.info(
                f"about {left / 60:.0f} min left"
                if left > 90
                else f"about {left:.0f} s left"
            )


if not any(type(handler).__name__ == "TimeLeft" for handler in logger.handlers):
    logger.addHandler(TimeLeft())
