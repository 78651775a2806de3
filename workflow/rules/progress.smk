"""After each job: how long the rest will take."""

import logging
import time

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent


class TimeLeft(logging.Handler):
    """Follows Snakemake's progress events and says how long the remaining jobs will take."""

    def __init__(self):
        super().__init__()
        self.started = None

    def emit(self, record):
        if getattr(record, "event", None) is not LogEvent.PROGRESS:
            return
        now, done, total = time.monotonic(), record.done, record.total
        if self.started is None:
            self.started = now, done
            return
        start, before = self.started
        if before < done < total:
            minutes = (now - start) / (done - before) * (total - done) / 60
            logger.info(
                f"about {minutes:.0f} min left"
                if minutes >= 1
                else "less than a minute left"
            )


if not any(isinstance(handler, TimeLeft) for handler in logger.handlers):
    logger.addHandler(TimeLeft())
