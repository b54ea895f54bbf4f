"""itk_infer: run trained segmentation networks over folders of 3D medical images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itk_infer._version import __version__

if TYPE_CHECKING:
    from itk_infer.case.result import Result
    from itk_infer.options import Options
    from itk_infer.predictor import Predictor

__all__ = ["Options", "Predictor", "Result", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `itk_infer --help` loads neither NumPy nor SimpleITK.
    if name == "Predictor":
        from itk_infer.predictor import Predictor

        return Predictor
    if name == "Options":
        from itk_infer.options import Options

        return Options
    if name == "Result":
        from itk_infer.case.result import Result

        return Result
    raise AttributeError(f"module 'itk_infer' has no attribute {name!r}")
