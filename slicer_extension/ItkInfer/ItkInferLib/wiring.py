"""Connects the controls to the panel, and keeps paths from one session of Slicer to the next."""

from __future__ import annotations

from typing import Any, Callable

import qt

SETTINGS = "ItkInfer/"
REMEMBERED = (
    "environmentPath",
    "onnxPath",
    "configPath",
    "checkpointPath",
    "sourcePath",
    "outputPath",
    "pythonPath",
    "tokenPath",
)
REMEMBERED_TEXTS = ("serverEdit", "servedEdit")


def connect(widget: Any, signal: str, slot: Callable[..., None]) -> None:
    """Connect a signal in the way of PythonQt."""
    widget.connect(signal, slot)


def restore(ui: Any) -> None:
    """Set paths and addresses to those of the last session."""
    for name in REMEMBERED:
        getattr(ui, name).setProperty("currentPath", str(qt.QSettings().value(SETTINGS + name) or ""))
    for name in REMEMBERED_TEXTS:
        getattr(ui, name).setProperty("text", str(qt.QSettings().value(SETTINGS + name) or ""))


def remember(ui: Any) -> None:
    """Keep paths and addresses for the next session."""
    for name in REMEMBERED:
        qt.QSettings().setValue(SETTINGS + name, getattr(ui, name).property("currentPath"))
    for name in REMEMBERED_TEXTS:
        qt.QSettings().setValue(SETTINGS + name, getattr(ui, name).property("text"))


def wire(ui: Any, panel: Any) -> None:
    """Connect the controls to a `widget.Panel`."""
    for widget, signal, slot in (
        (ui.runButton, "clicked()", panel.run),
        (ui.cancelButton, "clicked()", panel.cancel),
        (ui.testButton, "clicked()", panel.test),
        (ui.makeButton, "clicked()", panel.make),
        (ui.displayButton, "clicked()", panel.window_from_display),
        (ui.copyButton, "clicked()", panel.copy_log),
        (ui.volumeSelector, "currentNodeChanged(vtkMRMLNode*)", panel.volume_changed),
        (ui.casesTable, "cellDoubleClicked(int,int)", panel.open_row),
        (ui.whatTabs, "currentChanged(int)", panel.changed),
        (ui.deviceBox, "currentTextChanged(QString)", panel.model_changed),
        (ui.windowCheck, "toggled(bool)", panel.model_changed),
    ):
        connect(widget, signal, slot)
    for path in (ui.sourcePath, ui.outputPath, ui.pythonPath):
        connect(path, "currentPathChanged(QString)", panel.changed)
    for path in (ui.onnxPath, ui.configPath, ui.checkpointPath, ui.specPath, ui.environmentPath, ui.tokenPath):
        connect(path, "currentPathChanged(QString)", panel.model_changed)
    for box in (ui.kindBox, ui.precisionBox, ui.blendBox):
        connect(box, "currentIndexChanged(int)", panel.model_changed)
    for edit in (ui.patchEdit, ui.strideEdit, ui.levelSpin, ui.widthSpin, ui.serverEdit, ui.servedEdit):
        connect(edit, "editingFinished()", panel.model_changed)
    connect(ui.mapsBox, "currentIndexChanged(int)", panel.changed)
    for check in (ui.recursiveCheck, ui.logitsCheck, ui.overwriteCheck):
        connect(check, "toggled(bool)", panel.changed)
