from __future__ import annotations

import math
import subprocess

import numpy as np
import pytest
from ItkInferLib.measurements import Measurement


@pytest.fixture
def scene(mrml):
    from ItkInferLib.scene import Scene

    return Scene()


@pytest.fixture
def scan(demo):
    import SimpleITK as sitk

    return sitk.ReadImage(demo / "mni152_hippocampus_right.nii.gz")


def oblique(shape=(12, 10, 8), dtype=np.int16):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.arange(math.prod(shape)).reshape(shape).astype(dtype))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-11.5, 20.25, 3.0))
    a, b = 0.3, -0.2
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    image.SetDirection((turn @ tilt).ravel().tolist())
    return image


def labelmap(node, segment):
    """The voxels of a segment, and the (z, y, x) where they begin."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = node.GetBinaryLabelmapInternalRepresentation(segment)
    x0, _, y0, _, z0, _ = image.GetExtent()
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return array, (z0, y0, x0)


def matrix_of(vtk_matrix):
    return np.array([[vtk_matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_an_oblique_volume_is_written_where_it_lies(scene, mrml, tmp_path, dtype, node_of):
    import SimpleITK as sitk

    image = oblique(dtype=dtype)
    exported = scene.export(node_of(image), str(tmp_path))
    written = sitk.ReadImage(exported.path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(written.GetDirection(), image.GetDirection(), atol=1e-9)
    np.testing.assert_allclose(written.GetOrigin(), image.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(written.GetSpacing(), image.GetSpacing(), atol=1e-6)
    assert exported.note == ""


def test_a_volume_under_a_transform_is_hardened_into_a_copy(scene, mrml, tmp_path, node_of):
    import SimpleITK as sitk
    import slicer
    import vtk

    image = oblique()
    volume = node_of(image)
    before = matrix_of_node(volume)
    transform = mrml.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 10.0)  # 10 mm to the right, which is -x in LPS
    transform.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    exported = scene.export(volume, str(tmp_path))
    assert exported.volume.GetName() == "T1 hardened"
    assert exported.volume.GetParentTransformNode() is None
    assert "T1 hardened" in exported.note
    np.testing.assert_allclose(
        np.array(sitk.ReadImage(exported.path).GetOrigin()) - image.GetOrigin(), (-10, 0, 0), atol=1e-6
    )
    # The volume itself is as it was.
    np.testing.assert_array_equal(matrix_of_node(volume), before)
    assert volume.GetParentTransformNode() is transform
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), sitk.GetArrayFromImage(image))


def matrix_of_node(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix_of(matrix)


def test_a_warped_volume_and_an_empty_one_are_refused_with_the_reason(scene, mrml, tmp_path, node_of):
    import vtk
    from ItkInferLib.command import InvalidChoice

    volume = node_of(oblique())
    warp = mrml.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    spline = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for point in ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (5, 5, 5)):
        points.InsertNextPoint(point)
    moved = vtk.vtkPoints()
    moved.DeepCopy(points)
    moved.SetPoint(4, 7, 5, 5)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    warp.SetAndObserveTransformToParent(spline)
    volume.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InvalidChoice, match="T1 is warped by warp"):
        scene.export(volume, str(tmp_path))
    with pytest.raises(InvalidChoice, match="holds no voxels"):
        scene.export(mrml.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_level_and_width_are_those_of_the_display(scene, mrml, node_of):
    volume = node_of(oblique())
    volume.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
    volume.GetScalarVolumeDisplayNode().SetWindowLevel(400, 50)
    assert scene.display_window(volume) == (50, 400)
    assert scene.display_window(None) is None


def run(itk_infer, source, output, model, *words):
    command = [*itk_infer, "-i", source, "-o", output, "--onnx", model, "--device", "cpu", "--quiet"]
    subprocess.run([*command, "--format", "seg.nrrd", "--orientation", "input", *words], check=True)


def threshold_model(path, labels, decision="argmax"):
    """A network without weights: class k where the intensity is 10 k or above, on any grid."""
    import json

    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    first = 0 if decision == "argmax" else 1  # class 0 is the background, which a threshold does not need
    # The logit of class k is k where its bound is reached, else below that of the background.
    order = np.arange(first, len(labels) + 1, dtype=np.float32).reshape(1, -1, 1, 1, 1)
    bounds = 10 * order
    nodes = [
        helper.make_node("GreaterOrEqual", ["x", "bounds"], ["above"]),
        helper.make_node("Where", ["above", "order", "low"], ["y"]),
    ]
    constants = [("bounds", bounds), ("order", order), ("low", np.float32(-1).reshape(1, 1, 1, 1, 1))]
    graph = helper.make_graph(
        nodes, "threshold",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "z", "y", "x_"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, order.size, "z", "y", "x_"])],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = {
        "spec": 1, "name": "threshold",
        "input": {"orientation": None, "intensity": []},
        "window": {"patch_size": [8, 8, 8], "blend": "constant"},
        "output": {"decision": decision, "labels": [
            {"channel": k, "value": value, "name": name, "color": color}
            for k, (value, name, color) in enumerate(labels, 1 - first)
        ]},
    }  # fmt: skip
    helper.set_model_props(model, {"itk_infer": json.dumps(spec)})
    onnx.save(model, path)


def test_an_oblique_result_with_values_above_255_and_an_absent_class(scene, mrml, tmp_path, itk_infer, node_of):
    import SimpleITK as sitk
    import vtk

    labels = [(1, "liver", "#ff0000"), (300, "Milz \u00e9", "#0080ff"), (5, "never", "#00ff00")]
    threshold_model(tmp_path / "m.onnx", labels)
    image = oblique()
    voxels = np.zeros((12, 10, 8), np.int16)
    voxels[2:5, 3:7, 1:6] = 12
    voxels[6:11, 2:9, 2:4] = 25
    moved = sitk.GetImageFromArray(voxels)
    moved.CopyInformation(image)
    volume = node_of(moved)
    exported = scene.export(volume, str(tmp_path))
    run(itk_infer, exported.path, tmp_path / "out", tmp_path / "m.onnx")
    node = scene.show_result(str(tmp_path / "out" / "volume.seg.nrrd"), volume, "T1 segmentation")
    segments = [node.GetSegmentation().GetNthSegment(k) for k in range(3)]
    assert [segment.GetName() for segment in segments] == ["liver", "Milz \u00e9", "never"]
    assert [segment.GetLabelValue() for segment in segments] == [1, 300, 5]
    np.testing.assert_allclose(segments[1].GetColor(), (0, 128 / 255, 1), atol=1e-5)
    entry = vtk.reference("")
    segments[0].GetTag(segments[0].GetTerminologyEntryTagName(), entry)
    assert "SCT^85756007^Tissue" in str(entry)
    for name, segment, value, wanted in (
        ("Segment_1", segments[0], 1, voxels == 12),
        ("Segment_300", segments[1], 300, voxels == 25),
    ):
        array, begin = labelmap(node, name)
        where = np.argwhere(array == value) + begin
        np.testing.assert_array_equal(where, np.argwhere(wanted), err_msg=segment.GetName())
    matrix = vtk.vtkMatrix4x4()
    node.GetBinaryLabelmapInternalRepresentation("Segment_1").GetImageToWorldMatrix(matrix)
    np.testing.assert_allclose(matrix_of(matrix), matrix_of_node(volume), atol=1e-5)


def test_overlapping_segments_stay_whole(scene, mrml, tmp_path, itk_infer, node_of):
    import SimpleITK as sitk

    labels = [(1, "organ", "#ff0000"), (2, "tumour", "#00ff00")]
    threshold_model(tmp_path / "m.onnx", labels, "threshold")
    voxels = np.zeros((12, 10, 8), np.int16)
    voxels[2:9, 2:8, 1:7] = 12
    voxels[4:6, 4:6, 3:5] = 25  # above the bounds of both
    image = sitk.GetImageFromArray(voxels)
    image.CopyInformation(oblique())
    volume = node_of(image)
    exported = scene.export(volume, str(tmp_path))
    run(itk_infer, exported.path, tmp_path / "out", tmp_path / "m.onnx")
    node = scene.show_result(str(tmp_path / "out" / "volume.seg.nrrd"), volume, "T1 segmentation")
    for index, wanted in enumerate((voxels > 0, voxels == 25)):
        segment = node.GetSegmentation().GetNthSegment(index)
        array, begin = labelmap(node, node.GetSegmentation().GetNthSegmentID(index))
        where = np.argwhere(array == segment.GetLabelValue()) + begin
        np.testing.assert_array_equal(where, np.argwhere(wanted), err_msg=segment.GetName())


def test_the_result_stands_beside_its_volume_and_is_linked_to_it(
    scene, mrml, tmp_path, scan, demo, itk_infer, node_of
):
    import slicer

    volume = node_of(scan)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(mrml)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "Study")
    tree.CreateItem(study, volume)
    exported = scene.export(volume, str(tmp_path))
    run(itk_infer, exported.path, tmp_path / "out", demo / "hippocampus_unet.onnx")
    path = str(tmp_path / "out" / "volume.seg.nrrd")
    first, second = (scene.show_result(path, volume, "T1 segmentation") for _ in range(2))
    # A second run never mixes with the first.
    assert first.GetName() == "T1 segmentation" != second.GetName()
    assert second.GetSegmentation().GetNumberOfSegments() == 2
    table = scene.show_table([Measurement("a", 1.5, 0.9), Measurement("b", 2.0)], volume, "T1 volumes")
    for node in (first, second, table):
        assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study
    assert first.GetNodeReference("referenceImageGeometryRef") is volume
    assert first.GetDisplayNode() is not None
    # Not stored under a temporary name: Slicer offers to save it.
    assert first.GetStorageNode() is None
    titles = [table.GetColumnName(column) for column in range(3)]
    assert titles == ["Segment", "Volume (ml)", "Confidence"]
    assert table.GetCellText(0, 0) == "a"
    assert float(table.GetCellText(0, 1)) == 1.5
    assert math.isnan(float(table.GetCellText(1, 2)))


def test_a_volume_that_was_removed_meanwhile(scene, mrml, tmp_path, scan, demo, itk_infer, node_of):
    volume = node_of(scan)
    exported = scene.export(volume, str(tmp_path))
    mrml.RemoveNode(volume)
    run(itk_infer, exported.path, tmp_path / "out", demo / "hippocampus_unet.onnx")
    node = scene.show_result(str(tmp_path / "out" / "volume.seg.nrrd"), volume, "T1 segmentation")
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    assert scene.show_table([], volume, "T1 volumes").GetNumberOfColumns() == 3


def test_what_cannot_be_read_leaves_nothing_in_the_scene(scene, mrml, tmp_path, scan, node_of):
    from ItkInferLib.command import InvalidChoice

    volume = node_of(scan)
    before = mrml.GetNumberOfNodes()
    for show in (scene.show_result, scene.show_map):
        with pytest.raises(InvalidChoice, match="cannot be read"):
            show(str(tmp_path / "gone.nrrd"), volume, "x")
    assert mrml.GetNumberOfNodes() == before


def test_a_case_of_a_folder_is_opened(scene, mrml, scan, monkeypatch, tmp_path, node_of):
    import slicer
    from ItkInferLib.command import InvalidChoice

    opened = []
    monkeypatch.setattr(slicer.util, "loadVolume", lambda path: opened.append(path) or node_of(scan))
    scene.open_case("scan.nii.gz", str(tmp_path / "not_yet.seg.nrrd"))
    assert opened == ["scan.nii.gz"]
    monkeypatch.setattr(slicer.util, "loadVolume", lambda path: exec("raise RuntimeError('no reader')"))
    with pytest.raises(InvalidChoice, match=r"a\.nii cannot be loaded: no reader"):
        scene.open_case("a.nii", "")
