"""The Python API: no files needed, one answer an image."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError, InputError, OutputError
from itk_infer.model.backend import NetworkShape
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.logits import LogitsSink, read_logits
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec
from itk_infer.volume.volume import volume_of

ARRAY = np.random.default_rng(0).normal(0, 50, (6, 7, 8)).astype(np.float32)


def image(array=ARRAY):
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((0.5, 1.0, 2.0))
    made.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    return made


def test_an_image_in_and_a_result_out():
    predictor = Predictor(FakeBackend(), orientation="input")
    result = predictor(image())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), ARRAY > 0)
    assert result.labels.GetDirection() == image().GetDirection()
    assert result.volumes_ml == {"label 1": pytest.approx(np.count_nonzero(ARRAY > 0) / 1000)}
    assert 0 < result.confidence <= 1
    assert result.measurements.labels[0].voxels == np.count_nonzero(ARRAY > 0)


def test_the_default_orientation_is_lpi_on_the_same_anatomy():
    result = Predictor(FakeBackend())(image())
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(result.labels.GetDirection())
    assert code == "LPI"
    back = sitk.Resample(result.labels, image(), sitk.Transform(), sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), ARRAY > 0)


def test_a_path_or_a_string(tmp_path):
    sitk.WriteImage(image(), str(tmp_path / "a.nii.gz"))
    predictor = Predictor(FakeBackend(), orientation="input")
    for path in (tmp_path / "a.nii.gz", str(tmp_path / "a.nii.gz")):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(predictor(path).labels), ARRAY > 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_one_image_a_channel():
    spec = parse_spec({"input": {"channels": ["T1", "T2"], "orientation": None}}, "t")
    predictor = Predictor(FakeBackend(lambda w: w, spec), orientation="input")
    result = predictor([image(), image(-ARRAY)])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), ARRAY < 0)
    with pytest.raises(InputError, match="has 1 channels; the model takes 2"):
        predictor(image())


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (sitk.Image([4, 4], sitk.sitkInt16), "2 dimensions"),
        (sitk.Image([4, 4, 4, 2], sitk.sitkInt16), "4 dimensions"),
        (sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3), "one plain number"),
        (sitk.Image([4, 4, 4], sitk.sitkComplexFloat32), "one plain number"),
        (sitk.GetImageFromArray(np.full((2, 2, 2), np.nan, np.float32)), "8 voxels that are NaN"),
    ],
    ids=["2D", "4D", "colours", "complex", "NaN"],
)
def test_images_that_cannot_be_used(bad, words):
    with pytest.raises(InputError, match=words):
        Predictor(FakeBackend())(bad)


def test_resampling_to_spacing_and_back():
    spec = parse_spec({"input": {"spacing": [1, 1, 1], "orientation": None}}, "t")
    smooth = np.fromfunction(lambda z, y, x: x - 3.5 + 0 * y * z, (6, 7, 8)).astype(np.float32)
    seen = []

    def watch(windows):
        seen.append(windows.shape)
        return np.concatenate([-windows, windows], axis=1)

    result = Predictor(FakeBackend(watch, spec), orientation="input")(image(smooth))
    assert seen == [(1, 1, 12, 7, 4)]
    # Linear there and back leaves a plane where it was.
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), smooth > 0)


def test_many_labels_need_sixteen_bits():
    spec = parse_spec({"output": {"labels": [{"value": 300, "channel": 1, "name": "far"}]}}, "t")
    result = Predictor(FakeBackend(spec=spec))(image())
    assert result.labels.GetPixelID() == sitk.sitkUInt16
    assert set(np.unique(sitk.GetArrayFromImage(result.labels))) == {0, 300}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "gpu"}, "device 'gpu': give auto, cpu"),
        ({"device": "CUDA"}, "device 'CUDA'"),
        ({"blend": "gausian"}, "give gaussian or constant"),
        ({"provider": "tpu"}, "provider 'tpu'"),
        ({"precision": "int8"}, "precision 'int8'"),
        ({"patch_size": (32, 32)}, "three whole numbers"),
        ({"patch_stride": (-1, 8, 8)}, "at least 1"),
        ({"patch_size": (0, 8, 8)}, "at least 1"),
        ({"window_level": "40"}, "give a number"),
        ({"window_level": float("nan"), "window_width": 1}, "window_level nan: give a number"),
        ({"window_level": 0, "window_width": float("inf")}, "window_width inf: give a number"),
        ({"orientation": None}, "orientation None"),
        ({"batch": "much"}, "batch 'much': at least one window"),
        ({"batch_cache": 3}, "batch_cache 3: give True, False or a folder"),
    ],
)
def test_options_of_the_wrong_kind(options, words):
    from importlib import resources

    with pytest.raises(ConfigError, match=words):
        Predictor.from_onnx(resources.files("itk_infer") / "demo" / "hippocampus_unet.onnx", **options)


def test_unknown_options_and_things_that_are_no_image():
    with pytest.raises(TypeError, match="unknown option 'devise'"):
        Predictor.from_onnx("model.onnx", devise="cuda")
    predictor = Predictor(FakeBackend())
    with pytest.raises(InputError, match="no image was given"):
        predictor([])
    with pytest.raises(InputError, match="is no picture: give"):
        predictor(ARRAY)
    with pytest.raises(InputError, match="a dict is not an image"):
        predictor({})
    sheared = image()
    sheared.SetDirection((1, 0.3, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(InputError, match="right angles"):
        predictor(sheared)


def test_what_reading_noticed_is_passed_on(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n\n" + bytes(16)
    )
    warnings = Predictor(FakeBackend())(tmp_path / "a.nrrd").measurements.warnings
    assert any("orientation" in warning for warning in warnings)


def test_what_is_odd_about_the_geometry_is_passed_on():
    spec = parse_spec({"input": {"spacing": [1, 1, 1]}, "window": {"patch_size": [8, 8, 8]}}, "t")
    rounded = sitk.GetImageFromArray(np.zeros((20, 20, 20), np.int16))
    rounded.SetSpacing((0.1, 0.1, 0.1))
    rounded.SetDirection((1, 0, 0, 0, 1, 0.01, 0, 0, 1))
    result = Predictor(FakeBackend(spec=spec), orientation="input")(rounded)
    assert [
        word in " ".join(result.measurements.warnings) for word in ("straightened", "fewer than one window")
    ] == [
        True,
        True,
    ]
    axes = np.reshape(result.labels.GetDirection(), (3, 3))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    rounded.SetSpacing((0.001, 0.001, 0.001))
    with pytest.raises(InputError, match="check the header"):
        Predictor(FakeBackend(spec=spec))(rounded)


def test_options_are_checked_before_any_image():
    with pytest.raises(ConfigError, match="orientation 'up'"):
        Predictor(FakeBackend(), orientation="up")
    with pytest.raises(ConfigError, match="at least one window"):
        Predictor(FakeBackend(), batch=0)
    spec = parse_spec({"window": {"patch_size": [4, 4, 4]}}, "t")
    with pytest.raises(ConfigError, match="takes only 8"):
        Predictor(FakeBackend(spec=spec, shape=NetworkShape(size=(8, 8, 8))))


def test_batches_of_windows_change_nothing():
    spec = parse_spec({"window": {"patch_size": [4, 4, 4]}}, "t")
    sizes = []

    def watch(windows):
        sizes.append(len(windows))
        return np.concatenate([-windows, windows], axis=1)

    one = Predictor(FakeBackend(watch, spec))(image())
    many = Predictor(FakeBackend(watch, spec), batch=5)(image())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(one.labels), sitk.GetArrayFromImage(many.labels))
    assert set(sizes) == {1, 5, 3}  # 2 x 3 x 3 windows: 5, 5, 5, 3


def test_resampling_after_intensity_is_the_other_order():
    """Clipping and averaging do not commute: two voxels of 0 and 1000 are 500 before, 50 after a clip at 100."""
    stripes = np.zeros((4, 4, 8), np.float32)
    stripes[:, :, 1::2] = 1000
    seen = {}
    for order in ("before_intensity", "after_intensity"):

        def watch(windows, order=order):
            seen[order] = float(windows.max())
            return np.concatenate([-windows, windows], axis=1)

        spec = {
            "input": {
                "orientation": None,
                "spacing": [None, None, 2.0],
                "resampling": {"order": order, "alignment": "edge"},
                "intensity": [{"op": "clip", "lower": 0, "upper": 100}],
            }
        }
        striped = sitk.GetImageFromArray(stripes)
        Predictor(FakeBackend(watch, parse_spec(spec, "t")))(striped)
    assert seen == {"before_intensity": 100, "after_intensity": 50}


def test_no_process_is_started(monkeypatch):
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *words, **kw: pytest.fail("a process was started"))
    Predictor(FakeBackend())(image())


@pytest.mark.parametrize("commits", [True, False])
def test_computing_and_committing_are_two_steps(tmp_path, commits):
    path = tmp_path / "a.zarr"
    predictor = Predictor(FakeBackend(), orientation="input")
    computed = predictor.compute(volume_of([image()], "a"), lambda frame: [LogitsSink(path, frame)])
    assert not path.exists()
    if not commits:
        computed.abort()
        assert not list(tmp_path.iterdir())
        return
    found = computed.commit()
    assert found.paths == (path,)
    assert list(found.seconds)[-1] == "write"
    np.testing.assert_allclose(read_logits(path)[0][1], ARRAY, rtol=1e-3)


def test_a_commit_that_fails_takes_back_the_other_sinks(tmp_path):
    class Failing(LabelMapSink):
        def commit(self):
            raise OutputError("the disk is full")

    predictor = Predictor(FakeBackend(), orientation="input")
    computed = predictor.compute(
        volume_of([image()], "a"),
        lambda frame: [Failing(None, frame), LogitsSink(tmp_path / "a.zarr", frame)],
    )
    with pytest.raises(OutputError, match="full"):
        computed.commit()
    assert not list(tmp_path.iterdir())
