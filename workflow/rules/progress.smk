"""While it runs: a line for a job that starts, a line for what it gave, and what is left."""

import logging
import time

from snakemake.logging import ColorizingTextHandler, DefaultFormatter, logger
from snakemake_interface_logger_plugins.common import LogEvent

from sdd.planning import screen
from sdd.planning.pace import Pace
from sdd.planning.watching import Watch


class OneLine(DefaultFormatter):
    """Snakemake's lines on the terminal, without inputs and reasons; its log file has them all.

    How long the rest takes is judged as `sdd watch` does, by the files of the study, every so often.
    """

    EVERY_S, SHARE = 5, 0.02  # between two judgements; of the time, what these may take

    def __init__(self, terminal):
        super().__init__(terminal.quiet, terminal.show_failed_logs)
        self.watch, self.pace = Watch(STUDY), Pace(STUDY)
        self.workers, self.due, self.left = 1, 0.0, ""

    def format_job_info(self, msg):
        """What starts. The target has nothing to say."""
        if msg["rule_name"] == "all":
            return ""
        return f"Job {msg['jobid']}: {msg['rule_msg'] or msg['rule_name']}"

    def format_job_finished(self, msg):
        """The job itself has said what it gave."""
        return ""

    def format_progress(self, msg):
        line = f"{msg['done']} of {msg['total']} jobs done"
        now = time.monotonic()
        if now >= self.due:
            look = self.watch.look()
            # One has just ended, and the next has not begun.
            running = sum(training.lives for training in look.trainings)
            self.workers = max(self.workers, running + 1)
            self.left = screen.remaining(self.pace.left(look, self.workers))
            took = time.monotonic() - now
            self.due = now + max(self.EVERY_S, took / self.SHARE)
        return f"{line}, {self.left}" if msg["done"] < msg["total"] else line


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
