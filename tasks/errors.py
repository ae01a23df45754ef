"""Errors of this package that a person can act on: one line that names the place, the value and the choices."""


class TaskError(ValueError):
    """A task name or a task option is wrong."""


class DataError(ValueError):
    """A data file is missing, damaged or cannot be written."""
