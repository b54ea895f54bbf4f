"""The model spec: pure data without heavy imports."""

from itk_infer.spec.labels import Label
from itk_infer.spec.model_spec import InputSpec, ModelSpec, OutputSpec, Padding, Resampling, WindowSpec
from itk_infer.spec.parse import merge, parse_spec

__all__ = [
    "InputSpec",
    "Label",
    "ModelSpec",
    "OutputSpec",
    "Padding",
    "Resampling",
    "WindowSpec",
    "merge",
    "parse_spec",
]
