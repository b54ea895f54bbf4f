"""The error tree. Each class carries the exit code of the command line.

    ItkInferError                1  an error in the program itself
    ├── ConfigError              2  options, spec or folders that cannot work
    │   └── SpecError            2  an invalid model spec
    │       └── TaskError        2  a model for another command
    ├── CaseError                3  one case cannot be finished; the others continue
    │   ├── InputError           3  its image cannot be read, or is damaged or ambiguous
    │   ├── InferenceError       3  the network failed, or its output cannot be used
    │   │   └── OutOfMemoryError 3  memory ran out in the network
    │   └── OutputError          3  its results cannot be written
    ├── ModelError               5  the model cannot be loaded
    ├── NoInputError             6  no image was found
    ├── LockLostError            2  another run has taken over the output folder
    └── InterruptedRunError  128 + n  stopped by signal n

A message states what is wrong, where, and what to do.
"""

from __future__ import annotations

from pathlib import Path


class ItkInferError(Exception):
    """Root of the tree. Its own exit code stands for an error in the program."""

    exit_code = 1


class ConfigError(ItkInferError):
    """Options, a spec or folders that cannot work together."""

    exit_code = 2


class SpecError(ConfigError):
    """An invalid model spec; the message names the file and the key."""


class TaskError(SpecError):
    """A spec of a model for another task, which another command runs."""


class CaseError(ItkInferError):
    """One case cannot be finished; other cases are not affected."""

    exit_code = 3


class InputError(CaseError):
    """An image that cannot be read, or whose content is damaged or ambiguous."""


class InferenceError(CaseError):
    """The network failed, or its output cannot be used: wrong shape, NaN, infinity, class numbers."""


class OutOfMemoryError(InferenceError):
    """Memory ran out in the network; fewer windows per call may fit."""


class OutputError(CaseError):
    """A result that could not be written, or did not read back as written."""


class ModelError(ItkInferError):
    """The model cannot be loaded or cannot run on the requested device."""

    exit_code = 5


class NoInputError(ItkInferError):
    """No image was found at the input path."""

    exit_code = 6


class LockLostError(ItkInferError):
    """The run no longer holds the lock of its output folder, and writes nothing more there."""

    exit_code = 2


class InterruptedRunError(ItkInferError):
    """The run was stopped by a signal.

    Args:
        signal_number: The signal received; the exit code is 128 plus it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.exit_code = 128 + signal_number


def unexpected(error: Exception) -> str:
    """Describe an error that is a bug: its type, message and place, as a part of a sentence."""
    import traceback

    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
