"""Why a version cannot be served: a reason and one line of text, in which text of the version is escaped."""


class ModelRejected(Exception):
    """A version cannot be served.

    Attributes:
        reason: the label of `digits_model_load_failures_total`.
        transient: whether the process may be the cause, as with too many open files: the version is tried again.
    """

    def __init__(self, reason: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.reason, self.transient = reason, transient


def one_line(error: Exception) -> str:
    """The message of an error without line breaks, of 200 characters at most; its class if it has none."""
    return printable(" ".join(str(error).split())[:200] or type(error).__name__)


def printable(text: str) -> str:
    """A text for one line of the log, of 500 characters at most."""
    return text if text.isprintable() and len(text) <= 500 else ascii(text)[:500]
