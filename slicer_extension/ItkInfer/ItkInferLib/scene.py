"""Exports volumes from the MRML scene and loads results into it. The only file that imports slicer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

import slicer
import vtk

from .command import InvalidChoice
from .measurements import Measurement


@dataclass(frozen=True)
class Exported:
    """A volume on disk.

    Attributes:
        path: The file.
        volume: The node with the geometry of the file: the volume, or its hardened copy.
        note: A note for the user; may be empty.
    """

    path: str
    volume: Any
    note: str = ""


class Scene:
    """The functions of Slicer that the panel uses."""

    def environment(self) -> Dict[str, str]:
        """The environment variables Slicer was started with."""
        return dict(slicer.util.startupEnvironment())

    def home(self) -> str:
        """Slicer's own folder."""
        return str(slicer.app.slicerHome)

    def display_window(self, volume: Any) -> Optional[Tuple[float, float]]:
        """Window level and width of a volume's display; None without a display."""
        display = volume.GetScalarVolumeDisplayNode() if volume is not None else None
        return (display.GetLevel(), display.GetWindow()) if display is not None else None

    def export(self, volume: Any, folder: str) -> Exported:
        """Write a volume to a file for the program.

        A volume under a linear transform is copied and the transform hardened first, so that the file has the
        geometry in which the volume is displayed.

        Raises:
            InvalidChoice: the volume has no voxels, is under a non-linear transform, or cannot be written.
        """
        if volume.GetImageData() is None or volume.GetImageData().GetNumberOfPoints() == 0:
            raise InvalidChoice("%s holds no voxels." % volume.GetName())
        note = ""
        transform = volume.GetParentTransformNode()
        if transform is not None:
            if not transform.IsTransformToWorldLinear():
                raise InvalidChoice(
                    "%s is warped by %s. Harden the transform on a copy of the volume, and choose the copy."
                    % (volume.GetName(), transform.GetName())
                )
            volume = self._hardened(volume)
            note = "It lay under a transform: the result belongs to its hardened copy, %s." % volume.GetName()
        path = os.path.join(folder, "volume.nrrd")
        storage = slicer.vtkMRMLNRRDStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(0)
        # Without its transform: the copy is hardened, or there was none.
        if not storage.WriteData(volume) or not os.path.isfile(path):
            raise InvalidChoice("%s cannot be written to %s." % (volume.GetName(), folder))
        return Exported(path, volume, note)

    def show_result(self, path: str, volume: Any, name: str) -> Any:
        """Load a segmentation, link it to its volume, and put it into the same study.

        Raises:
            InvalidChoice: the file cannot be read.
        """
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", self._unique(name))
        if not self._read(slicer.vtkMRMLSegmentationStorageNode(), path, node):
            slicer.mrmlScene.RemoveNode(node)
            raise InvalidChoice("The result %s cannot be read." % path)
        node.CreateDefaultDisplayNodes()
        if volume.GetScene() is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        self._place_beside(node, volume)
        return node

    def show_map(self, path: str, volume: Any, name: str) -> Any:
        """Load a map on the grid of a volume, and put it into the same study.

        Raises:
            InvalidChoice: the file cannot be read.
        """
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", self._unique(name))
        if not self._read(slicer.vtkMRMLNRRDStorageNode(), path, node):
            slicer.mrmlScene.RemoveNode(node)
            raise InvalidChoice("The map %s cannot be read." % path)
        node.CreateDefaultDisplayNodes()
        self._place_beside(node, volume)
        return node

    def show_table(self, rows: Sequence[Measurement], volume: Any, name: str) -> Any:
        """Add a table node with volumes and confidences."""
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", self._unique(name))
        names, volumes, confidences = vtk.vtkStringArray(), vtk.vtkDoubleArray(), vtk.vtkDoubleArray()
        titles = ("Segment", "Volume (ml)", "Confidence")
        for column, title in zip((names, volumes, confidences), titles):
            column.SetName(title)
        for row in rows:
            names.InsertNextValue(row.name)
            volumes.InsertNextValue(row.volume_ml)
            confidences.InsertNextValue(float("nan") if row.confidence is None else row.confidence)
        for column in (names, volumes, confidences):
            table.AddColumn(column)
        table.SetUseColumnTitleAsColumnHeader(True)
        self._place_beside(table, volume)
        return table

    def open_case(self, image: str, result: str) -> None:
        """Load an image of a folder and, if there is one, its result.

        Raises:
            InvalidChoice: one of them cannot be read.
        """
        try:
            volume = slicer.util.loadVolume(image)
        except Exception as error:  # Slicer raises RuntimeError, its plugins' readers any exception
            raise InvalidChoice("%s cannot be loaded: %s" % (image, error)) from error
        if os.path.isfile(result):
            self.show_result(result, volume, "%s segmentation" % volume.GetName())

    def _hardened(self, volume: Any) -> Any:
        """A copy of a volume with its transform hardened into its geometry."""
        copy = slicer.mrmlScene.AddNewNodeByClass(
            volume.GetClassName(), self._unique(volume.GetName() + " hardened")
        )
        name = copy.GetName()
        copy.CopyContent(volume, True)
        copy.SetName(name)
        copy.CreateDefaultDisplayNodes()
        original, display = volume.GetScalarVolumeDisplayNode(), copy.GetScalarVolumeDisplayNode()
        if original is not None and display is not None:
            display.CopyContent(original)
        copy.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        copy.HardenTransform()
        self._place_beside(copy, volume)
        return copy

    def _unique(self, name: str) -> str:
        return slicer.mrmlScene.GenerateUniqueName(name) if slicer.mrmlScene.GetFirstNodeByName(name) else name

    def _read(self, storage: Any, path: str, node: Any) -> bool:
        """Read a temporary file, and remove its storage node, so that Slicer offers to save the node."""
        slicer.mrmlScene.AddNode(storage)
        storage.SetFileName(path)
        read = bool(storage.ReadData(node))
        slicer.mrmlScene.RemoveNode(storage)
        return read

    def _place_beside(self, node: Any, volume: Any) -> None:
        """Put a node into the study of a volume, unless the user has removed the volume."""
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        if tree is None or volume.GetScene() is None:
            return
        beside, item = tree.GetItemByDataNode(volume), tree.GetItemByDataNode(node)
        if not beside:
            return
        if item:
            tree.SetItemParent(item, tree.GetItemParent(beside))
        else:
            tree.CreateItem(tree.GetItemParent(beside), node)
