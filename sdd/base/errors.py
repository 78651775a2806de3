"""Errors that a person can mend: each message names the file or key and what to do."""


class SddError(Exception):
    """The base of these; the command line prints its message without a traceback."""


class StudyError(SddError):
    """The study's configuration asks for something that cannot be run."""


class DataError(SddError):
    """A data set, a label file or a metrics file is missing, damaged, or does not fit."""


class CheckpointError(SddError):
    """A round's weights are damaged or belong to something else."""


class DiskFull(SddError):
    """A file could not be written whole; what stood at its path before still does."""


class FileUnusable(SddError):
    """A file or folder cannot be made, read or replaced: something else lies there, or it is
    another user's."""


class ReportError(SddError):
    """The program that makes the report page failed."""


class DeviceError(SddError):
    """The device that was asked for is not there."""


class OutOfMemory(SddError):
    """A training needs more memory than its GPU or its machine has."""


class Divergence(SddError):
    """A training's loss left the finite numbers."""


class DeploymentError(SddError):
    """A deployed model does not answer as the round that it was made from."""


class Orphaned(SddError):
    """The run that started this job is gone, or a later job has taken its place."""


class CalibrationError(SddError):
    """The trainings that measure this machine's speed failed."""
