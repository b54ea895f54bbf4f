"""The model spec: pure data without heavy imports. Its names are imported when they are used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itk_infer.spec.labels import Label as Label
    from itk_infer.spec.model_spec import InputSpec as InputSpec
    from itk_infer.spec.model_spec import ModelSpec as ModelSpec
    from itk_infer.spec.model_spec import OutputSpec as OutputSpec
    from itk_infer.spec.model_spec import Padding as Padding
    from itk_infer.spec.model_spec import Resampling as Resampling
    from itk_infer.spec.model_spec import WindowSpec as WindowSpec
    from itk_infer.spec.parse import merge as merge
    from itk_infer.spec.parse import parse_spec as parse_spec

_MODULES = {
    "labels": "Label",
    "model_spec": "InputSpec ModelSpec OutputSpec Padding Resampling WindowSpec",
    "parse": "merge parse_spec",
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names.split()}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
