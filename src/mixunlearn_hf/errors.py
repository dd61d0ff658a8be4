"""Errors that say what was expected, what came and what to do. None of them carries the content of a row."""


class UnlearningError(Exception):
    """Base of every error this library raises on purpose."""


class SplitError(UnlearningError, ValueError):
    """The request cannot be turned into a forget set and a retain set."""


class DataError(UnlearningError, ValueError):
    """The data do not fit the model, or the forget and the retain set do not fit each other."""


class ConfigError(UnlearningError, ValueError):
    """A setting lies outside its range, or two settings contradict each other."""


class UnsupportedModelError(UnlearningError, TypeError):
    """The model has no classification head, or no family says where it embeds its input."""


class OutputExistsError(UnlearningError, FileExistsError):
    """The output directory already holds a run, and overwriting it was not asked for."""


class NonFiniteObjectiveError(UnlearningError, ArithmeticError):
    """A term of the objective became NaN or infinite during training."""
