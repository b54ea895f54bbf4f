from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups as POSIX has them")


class Volume:
    """What the panel asks of a volume node."""

    def GetName(self):
        return "T1"


class PretendScene:
    """Copies a scan instead of exporting a node, and remembers what it is shown."""

    def __init__(self, scan: Path) -> None:
        self.scan = scan
        self.shown: list[tuple] = []
        self.folders: list[str] = []

    def environment(self):
        return dict(os.environ) | {"PYTHONHOME": "/nowhere/slicer", "PYTHONPATH": "/nowhere"}

    def home(self):
        return "/nowhere/slicer"

    def display_window(self, volume):
        return None if volume is None else (120.0, 240.0)

    def export(self, volume, folder):
        self.folders.append(folder)
        path = shutil.copy(self.scan, Path(folder) / "volume.nii.gz")
        return SimpleNamespace(path=str(path), volume=volume, note="")

    def show_result(self, path, volume, name):
        assert Path(path).is_file()
        self.shown.append(("result", name))
        return SimpleNamespace(GetName=lambda: name)

    def show_table(self, rows, volume, name):
        self.shown.append(("table", [(row.name, row.volume_ml, row.confidence) for row in rows]))

    def show_map(self, path, volume, name):
        assert Path(path).is_file()
        self.shown.append(("map", name))

    def open_case(self, image, result):
        self.shown.append(("case", Path(image).is_file(), Path(result).is_file()))


@pytest.fixture
def panel(panel_module, demo, monkeypatch):
    import stand_ins

    monkeypatch.setattr(stand_ins.Settings, "kept", {})
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    top, ui = stand_ins.load_ui()
    panel = panel_module.Panel(ui, PretendScene(demo / "mni152_hippocampus_left.nii.gz"))
    panel.top = top
    yield panel
    task = panel.task
    panel.close()
    while task is not None and task.job.exit_code is None:
        task.job.poll()
        time.sleep(0.01)


def said(panel) -> str:
    return f"{panel.ui.headlineLabel.text()} | {panel.ui.adviceLabel.text()}"


def log(panel) -> str:
    return panel.ui.logText.toPlainText()


@pytest.fixture
def chosen(panel, until, demo):
    """With environment, model and volume: ready."""
    panel.ui.environmentPath.currentPath = sys.executable
    panel.ui.onnxPath.currentPath = str(demo / "hippocampus_unet.onnx")
    until(lambda: panel.task is None)
    panel.ui.volumeSelector.setCurrentNode(Volume())
    return panel


def test_it_says_what_is_missing_step_by_step(panel, until, demo, tmp_path):
    assert "No environment was chosen" in said(panel)
    assert not panel.ui.environmentSection.property("collapsed")
    panel.ui.environmentPath.currentPath = str(tmp_path / "gone")
    assert "gone is not there" in said(panel)
    panel.ui.environmentPath.currentPath = sys.executable
    assert "Choose a volume" in said(panel)
    panel.ui.volumeSelector.setCurrentNode(Volume())
    assert "Choose a model" in said(panel)
    panel.ui.onnxPath.currentPath = str(tmp_path / "gone.onnx")
    assert "gone.onnx is not there" in said(panel)
    assert not panel.ui.runButton.isEnabled()
    panel.ui.onnxPath.currentPath = str(demo / "hippocampus_unet.onnx")
    assert "Reading the model" in said(panel)
    until(lambda: panel.task is None)
    assert "Ready." in said(panel)
    assert panel.ui.runButton.isEnabled()
    assert "posterior&nbsp;hippocampus" in panel.ui.aboutLabel.text()
    assert panel.ui.patchEdit.placeholderText() == "40 56 40"
    panel.ui.patchEdit.setText("40 56")
    panel.ui.patchEdit.editingFinished.emit()
    assert "three whole numbers" in said(panel)
    assert not panel.ui.runButton.isEnabled()


def test_what_was_chosen_is_remembered(chosen, panel_module):
    import stand_ins

    _, ui = stand_ins.load_ui()
    again = panel_module.Panel(ui, chosen.scene)
    assert ui.environmentPath.currentPath == sys.executable
    assert ui.environmentSection.property("collapsed")
    assert ui.onnxPath.currentPath.endswith("hippocampus_unet.onnx")
    again.cancel()
    while again.task is not None:
        again.tick()
        time.sleep(0.01)


def test_run_to_done(chosen, until):
    ui = chosen.ui
    ui.mapsBox.setCurrentIndex(2)
    ui.runButton.click()
    assert "Segmenting T1" in said(chosen)
    assert not ui.runButton.isEnabled()
    assert ui.cancelButton.isEnabled()
    assert not ui.modelSection.isEnabled()
    until(lambda: chosen.task is None)
    assert "Done in" in said(chosen)
    assert "anterior hippocampus 2.0" in said(chosen)
    kinds = [shown[0] for shown in chosen.scene.shown]
    assert kinds == ["result", "table", "map", "map", "map", "map"]
    assert chosen.scene.shown[2] == ("map", "T1 entropy")
    (name, volume, confidence), _ = chosen.scene.shown[1][1]
    assert name == "anterior hippocampus"
    assert volume == pytest.approx(2.078, rel=0.02)
    assert 0.8 < confidence < 1
    assert [folder for folder in chosen.scene.folders if Path(folder).exists()] == []
    assert ui.runButton.isEnabled()
    ui.volumeSelector.setCurrentNode(Volume())
    assert "Ready." in said(chosen)


def test_run_on_a_server(panel, until, demo, tmp_path):
    pytest.importorskip("fastapi", reason="the extra `server` is not installed")
    from support.servers import serving

    from itk_infer.executors.loader import ModelRequest
    from itk_infer.options import Options

    ui = panel.ui
    ui.environmentPath.currentPath = sys.executable
    ui.volumeSelector.setCurrentNode(Volume())
    ui.kindBox.setCurrentIndex(2)
    assert "Give the address of a server" in said(panel)
    assert ui.serverEdit.isVisibleTo(panel.top)
    assert not ui.onnxPath.isVisibleTo(panel.top)
    request = ModelRequest((demo / "hippocampus_unet.onnx",), options=Options(device="cpu"))
    with serving(tmp_path / "home", {"hippocampus": request}) as server:
        ui.serverEdit.setText(str(server.base_url))
        ui.serverEdit.editingFinished.emit()
        ui.mapsBox.setCurrentIndex(1)
        assert "no extra maps" in said(panel)
        ui.mapsBox.setCurrentIndex(0)
        assert "Ready." in said(panel)
        ui.runButton.click()
        until(lambda: panel.task is None)
        assert "Done in" in said(panel)
        assert "anterior hippocampus 2.0" in said(panel)
        assert [shown[0] for shown in panel.scene.shown] == ["result", "table"]
    ui.runButton.click()
    until(lambda: panel.task is None)
    assert "is a server running there" in said(panel)
    assert "under Model" in said(panel)


def test_a_failed_run_shows_the_sentence_of_the_program(chosen, until):
    scan = chosen.scene.scan.read_bytes()
    chosen.scene.export = lambda volume, folder: (
        (Path(folder) / "volume.nii.gz").write_bytes(scan[:9000]),
        SimpleNamespace(path=str(Path(folder) / "volume.nii.gz"), volume=volume, note=""),
    )[1]
    chosen.ui.runButton.click()
    until(lambda: chosen.task is None)
    # The user knows the volume, not the file it was written to.
    assert "volume.nii" not in said(chosen)
    assert "trunc" in chosen.ui.headlineLabel.text()
    assert "#d1433f" in chosen.ui.statusFrame.styleSheet()
    assert chosen.ui.runButton.isEnabled()
    assert chosen.scene.shown == []


def test_a_model_that_cannot_be_loaded(chosen, until, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    chosen.ui.onnxPath.currentPath = str(tmp_path / "bad.onnx")
    until(lambda: chosen.task is None)
    assert "bad.onnx" in said(chosen)
    assert "Choose another model" in said(chosen)
    assert not chosen.ui.runButton.isEnabled()


def test_a_model_without_a_window_asks_for_one_and_offers_that_of_the_display(chosen, until, demo, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(demo / "hippocampus_unet.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    chosen.ui.onnxPath.currentPath = str(tmp_path / "bare.onnx")
    until(lambda: chosen.task is None)
    assert "Set the window" in said(chosen)
    chosen.volume_changed()
    assert (chosen.ui.levelSpin.value(), chosen.ui.widthSpin.value()) == (120.0, 240.0)
    chosen.ui.windowCheck.setChecked(True)
    until(lambda: chosen.task is None)
    assert "Ready." in said(chosen)
    assert "window level 120, width 240" in chosen.ui.aboutLabel.text()


def test_another_model_while_the_first_is_read(chosen, until, demo, tmp_path):
    shutil.copy(demo / "hippocampus_unet.onnx", tmp_path / "other.onnx")
    chosen.ui.onnxPath.currentPath = str(tmp_path / "other.onnx")
    assert chosen.task is not None
    chosen.ui.onnxPath.currentPath = str(demo / "hippocampus_unet.onnx")
    until(lambda: chosen.task is None and chosen.about is not None)
    assert "Ready." in said(chosen)
    assert log(chosen).count("hippocampus_unet.onnx") >= 2


def test_a_model_of_mmengine_is_two_files(chosen, tmp_path):
    ui = chosen.ui
    ui.kindBox.setCurrentIndex(1)
    hidden = {name: getattr(ui, name + "Path").isHidden() for name in ("onnx", "config", "checkpoint")}
    assert hidden == {"onnx": True, "config": False, "checkpoint": False}
    assert "Choose a model" in said(chosen)
    (tmp_path / "config.py").touch()
    ui.configPath.currentPath = str(tmp_path / "config.py")
    assert "Choose a model" in said(chosen)
    ui.checkpointPath.currentPath = str(tmp_path / "gone.pth")
    assert "checkpoint" in said(chosen)
    assert chosen.choices.model().argv() == [
        "--cfg-path",
        f"{tmp_path}/config.py",
        "--ckpt-path",
        f"{tmp_path}/gone.pth",
    ]


def test_run_pushes_the_reading_of_a_model_aside(chosen, until):
    chosen.ui.patchEdit.setText("40 56 40")
    chosen.ui.patchEdit.editingFinished.emit()
    assert chosen.task.kind == "inspect"
    chosen.ui.runButton.click()
    assert chosen.task.kind == "run"
    until(lambda: bool(chosen.scene.shown) and chosen.task is None)
    assert "Done in" in said(chosen)
    assert chosen.about is not None
    assert chosen._dropped == []


def test_a_fault_in_slicer_does_not_leave_the_panel_hanging(chosen, until):
    chosen.scene.show_result = lambda *_: 1 / 0
    chosen.ui.runButton.click()
    until(lambda: chosen.task is None)
    assert "Unexpected ZeroDivisionError" in said(chosen)
    assert "Traceback" in log(chosen)
    assert chosen.ui.runButton.isEnabled()
    assert not Path(chosen.scene.folders[-1]).exists()


def test_a_scene_that_closes_stops_a_volume_and_no_folder(slow, until, tmp_path):
    until(lambda: slow.task is None)
    slow.ui.runButton.click()
    slow.scene_closes()
    assert slow.task.job.cancelled
    until(lambda: slow.task is None)
    (tmp_path / "in").mkdir()
    shutil.copy(slow.scene.scan, tmp_path / "in" / "big.nii.gz")
    slow.ui.whatTabs.setCurrentIndex(1)
    slow.ui.sourcePath.currentPath, slow.ui.outputPath.currentPath = str(tmp_path / "in"), str(tmp_path / "out")
    slow.ui.runButton.click()
    slow.scene_closes()
    assert not slow.task.job.cancelled


def big_scan(demo, path, repeat=(2, 2, 2)):
    import SimpleITK as sitk

    image = sitk.ReadImage(demo / "mni152_hippocampus_left.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(np.tile(sitk.GetArrayFromImage(image), repeat)), path)


@pytest.fixture
def slow(chosen, demo, tmp_path):
    """Thousands of windows: minutes, if nobody stops it."""
    big_scan(demo, tmp_path / "big.nii.gz")
    chosen.scene.scan = tmp_path / "big.nii.gz"
    chosen.ui.patchEdit.setText("40 56 40")
    chosen.ui.strideEdit.setText("2 2 2")
    chosen.ui.strideEdit.editingFinished.emit()
    return chosen


def group(pid: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pid and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_cancel_in_the_middle_of_a_run(slow, until):
    until(lambda: slow.task is None)
    slow.ui.runButton.click()
    until(lambda: slow.task.run_state.fraction or 0)
    pid, folder = slow.task.job.pid, slow.scene.folders[-1]
    until(lambda: slow.ui.progressBar.value() > 0)
    assert "left" in slow.ui.progressBar.format()
    assert group(pid)
    slow.ui.cancelButton.click()
    assert "Stopping" in said(slow)
    assert not slow.ui.cancelButton.isEnabled()
    until(lambda: slow.task is None)
    assert group(pid) == []
    assert not Path(folder).exists()
    assert slow.scene.shown == []
    assert "Stopped." in said(slow)
    assert slow.ui.runButton.isEnabled()


def test_cancel_of_a_folder_leaves_no_partial_file_even_if_it_is_killed(slow, until, tmp_path):
    until(lambda: slow.task is None)
    images, output = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    shutil.copy(slow.scene.scan, images / "big.nii.gz")
    slow.ui.whatTabs.setCurrentIndex(1)
    slow.ui.sourcePath.currentPath, slow.ui.outputPath.currentPath = str(images), str(output)
    slow.ui.logitsCheck.setChecked(True)
    slow.ui.runButton.click()
    until(lambda: any(output.glob(".partial-*")))
    slow.task.job.kill()
    until(lambda: slow.task is None, 3.0)
    assert [path.name for path in output.glob(".partial-*")] == []
    assert slow.ui.casesTable.item(0, 1).text() == "skipped"
    assert slow.ui.casesTable.item(0, 3).text() == "stopped"
    assert "Finished cases stay" in said(slow)


def test_a_folder_from_start_to_end(chosen, until, demo, tmp_path):
    images, output = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    for scan in demo.glob("*.nii.gz"):
        shutil.copy(scan, images)
    (images / "broken.nii.gz").write_bytes(chosen.scene.scan.read_bytes()[:9000])
    ui = chosen.ui
    ui.whatTabs.setCurrentIndex(1)
    assert "Choose a folder of images" in said(chosen)
    ui.sourcePath.currentPath = str(images)
    assert "folder for the results" in said(chosen)
    ui.outputPath.currentPath = str(images)
    assert "the same folder" in said(chosen)
    ui.outputPath.currentPath = str(output)
    ui.runButton.click()
    until(lambda: chosen.task is None)
    assert "other cases are done" in said(chosen)
    table = ui.casesTable
    rows = {table.item(row, 0).text(): [table.item(row, c).text() for c in (1, 2, 3)] for row in range(3)}
    assert rows["broken.nii.gz"][0] == "failed"
    assert rows["mni152_hippocampus_left.nii.gz"][0] == "done"
    assert float(rows["mni152_hippocampus_left.nii.gz"][1]) > 0.9
    row = next(row for row in range(3) if "left" in table.item(row, 0).text())
    table.cellDoubleClicked.emit(row, 0)
    assert chosen.scene.shown == [("case", True, True)]
    (images / "broken.nii.gz").unlink()
    ui.runButton.click()
    until(lambda: chosen.task is None)
    assert "Done: 2 skipped" in said(chosen)


def test_the_environment_is_tested_in_words(chosen, until, tmp_path):
    chosen.ui.testButton.click()
    until(lambda: chosen.task is None)
    assert chosen.ui.verdictLabel.text().startswith("\u2713 itk_infer ")
    chosen.ui.environmentPath.currentPath = "/bin/false"
    chosen.ui.testButton.click()
    until(lambda: chosen.task is None)
    assert chosen.ui.verdictLabel.text().startswith("\u2717 This is no working itk_infer")


def test_making_an_environment_that_fails_removes_it_and_says_why(chosen, until, tmp_path):
    ui, folder = chosen.ui, tmp_path / "env"
    ui.makeButton.click()
    assert "Choose a folder for the new environment" in ui.verdictLabel.text()
    ui.pythonPath.currentPath, ui.placePath.currentPath = sys.executable, str(folder)
    ui.packageBox.setCurrentText(str(tmp_path / "no_such-1-py3-none-any.whl"))
    ui.makeButton.click()
    until(lambda: chosen.task is None)
    assert "no_such" in said(chosen)
    assert "no_such" in log(chosen)
    assert not folder.exists()


def test_closing_ends_the_program(slow, until):
    until(lambda: slow.task is None)
    slow.ui.runButton.click()
    until(lambda: slow.task.run_state.fraction is not None)
    job, folder = slow.task.job, slow.scene.folders[-1]
    slow.close()
    end = time.monotonic() + 60
    while job.exit_code is None:
        assert time.monotonic() < end
        job.poll()
    assert not Path(folder).exists()


@pytest.mark.parametrize(
    ("side", "counts"), [("right", {1: 2176, 2: 1923}), ("left", {1: 2078, 2: 1966})]
)  # fmt: skip
def test_from_a_volume_in_a_scene_to_named_coloured_segments(side, counts, chosen, until, mrml, node_of, demo):
    """The whole way: real MRML, the real program through `job.py`, live progress, and what is in the scene then."""
    import SimpleITK as sitk
    import slicer
    from ItkInferLib.scene import Scene
    from vtk.util.numpy_support import vtk_to_numpy

    scene = Scene()
    scene.environment, scene.home = chosen.scene.environment, chosen.scene.home
    chosen.scene = scene
    volume = node_of(sitk.ReadImage(demo / f"mni152_hippocampus_{side}.nii.gz"), "T1")
    chosen.ui.volumeSelector.setCurrentNode(volume)
    # Smaller steps, so that there is progress to see; their weights hardly move the borders.
    chosen.ui.patchEdit.setText("40 56 40")
    chosen.ui.strideEdit.setText("20 28 20")
    chosen.ui.runButton.click()
    seen = []

    def ended() -> bool:
        if chosen.task is not None:
            seen.append((chosen.ui.headlineLabel.text(), chosen.ui.progressBar.maximum()))
        return chosen.task is None

    until(ended)
    assert ("Segmenting T1\u2026", 0) in seen
    assert "Done in" in said(chosen), log(chosen)
    node = slicer.mrmlScene.GetFirstNodeByName("T1 segmentation")
    segmentation = node.GetSegmentation()
    found = {}
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        image = node.GetBinaryLabelmapInternalRepresentation(segmentation.GetNthSegmentID(index))
        voxels = vtk_to_numpy(image.GetPointData().GetScalars()) == segment.GetLabelValue()
        color = bytes(round(255 * part) for part in segment.GetColor()).hex()
        found[segment.GetLabelValue()] = (segment.GetName(), color, int(voxels.sum()))
    assert {value: entry[:2] for value, entry in found.items()} == {
        1: ("anterior hippocampus", "e6194b"),
        2: ("posterior hippocampus", "ffe119"),
    }
    assert {value: entry[2] for value, entry in found.items()} == pytest.approx(counts, rel=0.02)
    assert node.GetNodeReference("referenceImageGeometryRef") is volume
    table = slicer.mrmlScene.GetFirstNodeByName("T1 volumes")
    assert table.GetCellText(1, 0) == "posterior hippocampus"
    assert float(table.GetCellText(1, 1)) == pytest.approx(counts[2] / 1000, rel=0.02)
