"""Every error the program raises on purpose, as one tree.

    ItkInferError                1  a fault of the program itself
    ├── ConfigError              2  options, spec or folders that cannot work
    │   └── SpecError            2  a model spec that says something invalid
    ├── CaseError                3  one case cannot be finished; the others go on
    │   ├── InputError           3  its image cannot be read, or must not be trusted
    │   ├── InferenceError       3  the network's answer cannot be used
    │   │   └── OutOfMemory      3  memory ran out in the network
    │   └── OutputError          3  its results cannot be written
    ├── ModelError               5  the model cannot be loaded
    ├── NoInputError             6  nothing to do: no image found
    ├── LockLostError            2  another run has taken over the output folder
    └── Interrupted        130/143  stopped by a signal

The class carries the exit code; the message says what is wrong, where, and what to do.
"""

from __future__ import annotations


class ItkInferError(Exception):
    """Root of the tree. Its exit code stands for a fault of the program."""

    exit_code = 1


class ConfigError(ItkInferError):
    """Options, a spec or folders that cannot work together."""

    exit_code = 2


class SpecError(ConfigError):
    """A model spec that says something invalid; names the file and the key."""


class CaseError(ItkInferError):
    """One case cannot be finished. The other cases are not touched by it."""

    exit_code = 3


class InputError(CaseError):
    """An image that cannot be read, or whose content must not be trusted."""


class InferenceError(CaseError):
    """The network answered with something that is no segmentation."""


class OutOfMemoryError(InferenceError):
    """Memory ran out in the network; fewer windows a call may fit."""


class OutputError(CaseError):
    """A result that could not be written, or did not read back as written."""


class ModelError(ItkInferError):
    """The model cannot be loaded or cannot run on the requested device."""

    exit_code = 5


class NoInputError(ItkInferError):
    """No image was found where the user pointed."""

    exit_code = 6


class LockLostError(ItkInferError):
    """The run no longer holds the lock of its output folder, so it writes nothing more there."""

    exit_code = 2


class InterruptedRunError(ItkInferError):
    """A signal asked the program to stop.

    Args:
        signal_number: The signal received; the exit code is 128 plus it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.exit_code = 128 + signal_number
