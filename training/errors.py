"""What every error of the job is that a person can put right: told in one line, without a traceback."""


class TrainingError(Exception):
    """A wrong recipe, wrong data, a wrong directory, a candidate that is not good enough."""
