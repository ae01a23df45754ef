"""Errors of the analysis meant for people: one line that names the place, the value and the valid choices."""

from sweeper.errors import SweeperError


class AnalysisError(SweeperError):
    """The rows cannot be analysed as asked; the command line prints it as one line and exits with code 1."""
