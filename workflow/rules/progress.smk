"""While it runs: a line for a job that starts, a line for what it gave, and what is left."""

import logging
import time

from snakemake.logging import ColorizingTextHandler, DefaultFormatter, logger
from snakemake_interface_logger_plugins.common import LogEvent


class OneLine(DefaultFormatter):
    """Snakemake's lines on the terminal, without inputs and reasons; its log file has them all.

    How long the rest will take is judged by all jobs since the first, once there are enough of them.
    Jobs that wait for a teacher to be chosen are counted by Snakemake only once it is.
    """

    ENOUGH = 5

    def __init__(self, terminal):
        super().__init__(terminal.quiet, terminal.show_failed_logs)
        self.first = None

    def format_job_info(self, msg):
        """What starts. The target has nothing to say."""
        if msg["rule_name"] == "all":
            return ""
        return f"Job {msg['jobid']}: {msg['rule_msg'] or msg['rule_name']}"

    def format_job_finished(self, msg):
        """The job itself has said what it gave."""
        return ""

    def format_progress(self, msg):
        now, done, total = time.monotonic(), msg["done"], msg["total"]
        if self.first is None:
            self.first = now, done
        start, before = self.first
        line = f"{done} of {total} jobs done"
        if before + self.ENOUGH <= done < total:
            left = (now - start) / (done - before) * (total - done)
            line += f", about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left"
        return line


class Spoken(logging.Filter):
    """Leaves out lines that say nothing, such as those of the scheduler."""

    SILENT = ("Select jobs to execute", "Execute ")

    def filter(self, record):
        event = getattr(record, "event", None)
        said = str(record.msg or "")
        target = event is LogEvent.JOB_INFO and record.rule_name == "all"
        return not (
            event is LogEvent.JOB_FINISHED or target or said.startswith(self.SILENT)
        )


def speak_briefly():
    """On the terminal only, and only where it is Snakemake's own: a logger plugin has its way, and
    so has --verbose."""
    if workflow.output_settings.verbose:
        return
    for handler in logger.handlers:
        if (
            type(handler) is ColorizingTextHandler
            and type(handler.formatter) is DefaultFormatter
        ):
            handler.setFormatter(OneLine(handler.formatter))
            handler.addFilter(Spoken())
