"""Takes screenshots of the panel in each of its states, with the real .ui, code and runs of itk_infer.

Needs PySide6-Essentials and itk_infer in one environment. From the root of the project:

    python slicer_extension/tools/screenshots.py docs/images
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_SCALE_FACTOR", "1.5")

from PySide6 import QtWidgets

import stand_ins

WIDTH = 460
DEMO = Path(importlib.util.find_spec("itk_infer").origin).parent / "demo"
CATALOGUE = {"done": "done", "folder": "folder"}


class Scene:
    """A scene that exports a scan of the demo and displays nothing."""

    def __init__(self, scan: Path) -> None:
        self.scan = scan

    def environment(self):
        return dict(os.environ)

    def home(self):
        return ""

    def display_window(self, volume):
        return None

    def export(self, volume, folder):
        path = shutil.copy(self.scan, Path(folder) / "volume.nii.gz")
        return SimpleNamespace(path=str(path), volume=volume, note="")

    def show_result(self, path, volume, name):
        return SimpleNamespace(GetName=lambda: name)

    def show_table(self, rows, volume, name):
        return None


def big_scan(folder: Path) -> Path:
    """A scan that is large enough for a screenshot of a running program."""
    import numpy as np
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(sitk.ReadImage(DEMO / "mni152_hippocampus_left.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(np.tile(array, (2, 2, 2))), folder / "big.nii.gz")
    return folder / "big.nii.gz"


def main(target: Path) -> None:
    """Take a screenshot of each state."""
    application = QtWidgets.QApplication([])
    application.setStyle("Fusion")
    module = stand_ins.stand_in_qt()
    work = Path(tempfile.mkdtemp())
    os.environ["PATH"] = str(work)
    top, ui = stand_ins.load_ui()
    panel = module.Panel(ui, Scene(DEMO / "mni152_hippocampus_left.nii.gz"))
    volume = SimpleNamespace(GetName=lambda: "MRHead")
    paths = {"environmentPath": "~/itk_infer-env", "onnxPath": "~/models/hippocampus_unet.onnx"}
    paths.update(sourcePath="~/scans", outputPath="~/masks", pythonPath="", placePath="")

    def until(holds) -> None:
        while not holds():
            application.processEvents()
            time.sleep(0.005)

    def idle() -> bool:
        return panel.task is None

    def draw(name: str) -> None:
        real = {path: getattr(ui, path).currentPath for path in paths}
        for path, shown in paths.items():
            getattr(ui, path).blockSignals(True)
            if real[path]:
                getattr(ui, path).currentPath = shown
        top.show()
        for _ in range(3):
            application.processEvents()
            top.resize(WIDTH, max(top.minimumSizeHint().height(), top.layout().totalHeightForWidth(WIDTH)))
        picture = top.grab().toImage()
        picture.save(str(target / f"slicer_{name}.png"), "PNG", 0)
        for path, was in real.items():
            getattr(ui, path).currentPath = was
            getattr(ui, path).blockSignals(False)

    draw("environment")
    ui.environmentPath.currentPath = sys.executable
    ui.testButton.click()
    until(idle)
    draw("tested")
    ui.environmentSection.setProperty("collapsed", True)
    draw("nothing")
    ui.volumeSelector.setCurrentNode(volume)
    ui.onnxPath.currentPath = "/home/ada/models/hippocampus_unet.onnx"
    draw("model_missing")
    ui.onnxPath.currentPath = str(DEMO / "hippocampus_unet.onnx")
    until(idle)
    draw("ready")
    ui.runButton.click()
    until(idle)
    draw("done")

    panel.scene.scan = big_scan(work)
    ui.advancedSection.setProperty("collapsed", False)
    ui.patchEdit.setText("40 56 40")
    ui.strideEdit.setText("8 8 8")
    ui.strideEdit.editingFinished.emit()
    until(idle)
    draw("advanced")
    ui.advancedSection.setProperty("collapsed", True)
    ui.runButton.click()
    until(lambda: ui.progressBar.property("value") > 300)
    draw("running")
    ui.cancelButton.click()
    draw("cancelling")
    until(idle)
    draw("stopped")
    (work / "cut.nii.gz").write_bytes((DEMO / "mni152_hippocampus_left.nii.gz").read_bytes()[:9000])
    panel.scene.scan = work / "cut.nii.gz"
    ui.logSection.setProperty("collapsed", False)
    ui.logText.clear()
    ui.runButton.click()
    until(idle)
    text = ui.logText.toPlainText()
    for real, shown in (
        (sys.executable, "~/itk_infer-env/bin/python"),
        (str(DEMO), "~/models"),
        (tempfile.gettempdir(), "/tmp"),
    ):
        text = text.replace(real, shown)
    ui.logText.setPlainText(text)
    draw("failed")
    ui.logSection.setProperty("collapsed", True)

    (work / "in").mkdir()
    for side in ("left", "right"):
        shutil.copy(DEMO / f"mni152_hippocampus_{side}.nii.gz", work / "in" / f"a_{side}.nii.gz")
    shutil.copy(work / "cut.nii.gz", work / "in" / "b_cut.nii.gz")
    shutil.copy(work / "big.nii.gz", work / "in" / "c_big.nii.gz")
    ui.whatTabs.setCurrentIndex(1)
    ui.sourcePath.currentPath, ui.outputPath.currentPath = str(work / "in"), str(work / "out")
    ui.runButton.click()
    until(lambda: ui.casesTable.rowCount() == 4 and "%" in ui.casesTable.item(3, 3).text())
    until(lambda: ui.progressBar.property("value") > 850)
    draw("folder")
    ui.cancelButton.click()
    until(idle)
    for name, copy in CATALOGUE.items():
        shutil.copy(target / f"slicer_{name}.png", stand_ins.EXTENSION / "Screenshots" / f"{copy}.png")
    shutil.rmtree(work)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
