"""Errors that a person can put right: each is told in one line, without a traceback."""


class TrainingError(Exception):
    """A wrong recipe, wrong data, a wrong directory, a candidate that is not good enough."""


class DataError(TrainingError):
    """A data file is missing, is not what it should be, or could not be fetched."""
