"""From model options to a loaded `Predictor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from itk_infer.cli.model_files import file_options, named_model
from itk_infer.cli.options import decorated, options_under, read_options
from itk_infer.options_of_models import MODEL, WINDOWS

if TYPE_CHECKING:
    from itk_infer.executors.loader import ModelRequest
    from itk_infer.predictor import Predictor


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a model and how to run it, shared by every command that loads one."""
    return decorated(command, [*file_options(), *options_under(MODEL, WINDOWS)])


def model_request(**given: Any) -> ModelRequest:
    """The model that the options of `model_options` name, not loaded yet.

    Args:
        **given: Parameters of the command; those that are not about the model are ignored.

    Raises:
        click.UsageError: the options do not name one model, or contradict each other.
        ConfigError: a value is out of range.
    """
    paths, kind = named_model(given)
    options = read_options(given)
    from itk_infer.executors.loader import ModelRequest

    return ModelRequest(paths, kind, options)


def load_predictor(**given: Any) -> Predictor:
    """Load the model that the options of `model_options` name, into this process.

    Raises:
        click.UsageError: the options do not name one model.
        ItkInferError: it cannot be loaded, or the options do not fit it.
    """
    return model_request(**given).load()
