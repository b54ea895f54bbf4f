"""The extension's modules, the program it drives, and stand-ins for Slicer's Qt.

What needs the real Slicer core or Qt runs in an environment that has ``slicer-core`` and ``PySide6-Essentials``
(`make test-slicer` makes one), and is skipped with the reason elsewhere.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"


@pytest.fixture(scope="session")
def extension() -> Path:
    return EXTENSION


@pytest.fixture(scope="session")
def itk_infer() -> list[str]:
    """The real program, of the environment that runs the tests."""
    return [sys.executable, "-m", "itk_infer"]


@pytest.fixture(scope="session")
def demo() -> Path:
    """The folder of the bundled model and scans."""
    found = importlib.util.find_spec("itk_infer")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "demo"


@pytest.fixture(scope="session")
def slicer():
    """The real MRML of Slicer, from ``slicer-core``."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed; `make test-slicer` has it")
    if not hasattr(slicer, "vtkMRMLScene"):
        pytest.skip("another package named slicer is installed; `make test-slicer` has slicer-core")
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    for name in dir(slicer):
        if name.endswith("ConversionRule") and name != "vtkSegmentationConverterRule":
            factory.RegisterConverterRule(getattr(slicer, name)())
    return slicer


@pytest.fixture
def mrml(slicer, monkeypatch):
    """An empty scene, as Slicer has one: with a tree of subjects, and knowing of segmentations."""
    scene = slicer.vtkMRMLScene()
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic = logic() if isinstance(logic, type) else logic
    logic.SetMRMLScene(scene)
    yield scene
    scene.Clear(True)


@pytest.fixture(scope="session")
def node_of():
    """Makes a volume node of a SimpleITK image: its grid, in RAS, and its voxels."""
    import numpy as np
    import SimpleITK as sitk

    def make(image, name="T1"):
        import slicer
        import vtk

        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        matrix[:3, 3] = image.GetOrigin()
        matrix[:2] *= -1  # LPS to RAS
        ijk = vtk.vtkMatrix4x4()
        ijk.DeepCopy(matrix.ravel())
        node.SetIJKToRASMatrix(ijk)
        slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
        node.CreateDefaultDisplayNodes()
        return node

    return make


@pytest.fixture(scope="session")
def panel_module():
    """``ItkInferLib.widget`` with PySide6 in place of Slicer's Qt."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed; `make test-slicer` has it")
    from PySide6 import QtWidgets

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    import stand_ins

    module = stand_ins.stand_in_qt()
    module.application = application
    return module


@pytest.fixture
def until(panel_module) -> Iterator[Callable[..., None]]:
    """Let Qt work until something holds."""

    def wait(holds: Callable[[], bool], seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            panel_module.application.processEvents()
            time.sleep(0.01)

    return wait
