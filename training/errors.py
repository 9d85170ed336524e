"""Errors that the user can correct: the command line prints each as one line, without a traceback."""


class TrainingError(Exception):
    """An invalid recipe, data set or directory, or a candidate that fails the gate."""


class DataError(TrainingError):
    """A data file is missing, has unexpected content or could not be downloaded."""


class OodSetUnavailable(DataError):
    """The images of an OOD set are not available on this machine."""


def root_cause(error: BaseException) -> str:
    """The innermost exception in one line; of a failed connection it is the most specific."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
