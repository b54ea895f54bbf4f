"""Post-processing in a run: files, counts, ledger, identity, warnings."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from scipy import ndimage
from scipy.special import expit

from itk_infer.events import CaseDone, Warned
from itk_infer.run.ledger import Ledger
from itk_infer.spec import parse_spec

RULES = [{"op": "keep_largest", "connectivity": 6}]


def spec(*rules, **output):
    return parse_spec({"name": "fake", "output": {"postprocessing": list(rules), **output}}, "spec")


def results(folder, name="a.mha"):
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        return ledger.cases()[name].results


def largest(mask):
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())[1:]
    return np.isin(parts, 1 + np.flatnonzero(sizes == sizes.max()))


def test_files_and_counts_are_those_of_the_result_and_logits_stay(folder):
    array = folder.scan("a.mha")
    assert folder.run(spec=spec(*RULES), save_logits=True).done == ["a.mha"]
    mask, kept = array > 0, largest(array > 0)
    assert kept.sum() < mask.sum()
    np.testing.assert_array_equal(folder.labels("a.mha") > 0, kept)
    np.testing.assert_array_equal(zarr.open_array(folder.output / "a.zarr", mode="r")[1] > 0, mask)
    found = results(folder)
    (finding,) = found["findings"]
    assert (finding["voxels"], finding["components"]) == (kept.sum(), ndimage.label(kept, np.ones((3, 3, 3)))[1])
    assert finding["volume_ml"] == pytest.approx(kept.sum() / 1000)
    (done,) = folder.of(CaseDone)
    assert done.volumes_ml == {"label 1": pytest.approx(kept.sum() / 1000)}
    assert (done.soft_dice, done.worst_label) == (found["soft_dice"], "label 1")
    (effect,) = found["postprocessing"]
    assert effect == {
        "rule": 1,
        "op": "keep_largest",
        "label": "label 1",
        "before": mask.sum(),
        "after": kept.sum(),
    }
    assert "postprocess" in found["seconds"]


def test_statistics_without_rules(folder):
    array = folder.scan("a.mha").astype(np.float64)
    folder.run()
    found = results(folder)
    (finding,) = found["findings"]
    p, m = expit(2 * array), array > 0
    assert finding["soft_dice"] == pytest.approx(2 * p[m].sum() / (p.sum() + m.sum()), abs=1e-5)
    assert finding["expected_ml"] == pytest.approx(p.sum() / 1000, rel=1e-5)
    parts, count = ndimage.label(m, np.ones((3, 3, 3)))
    assert finding["components"] == count
    assert finding["outside_largest"] == pytest.approx(1 - np.bincount(parts.ravel())[1:].max() / m.sum())
    assert found["soft_dice"] == finding["soft_dice"]
    assert found["worst_label"] == "label 1"
    assert found["postprocessing"] == []
    assert "postprocess" not in found["seconds"]


def test_expected_volume_on_another_grid(folder):
    """Of a network that is nowhere sure: half of the field of view, whatever the spacing of its grid."""
    folder.scan("a.mha", size=(8, 9, 10))
    wanted = parse_spec({"input": {"spacing": [2.0, 1.5, 0.5]}}, "spec")
    folder.run(lambda windows: np.zeros((len(windows), 2, *windows.shape[2:]), np.float32), spec=wanted)
    (finding,) = results(folder)["findings"]
    assert finding["expected_ml"] == pytest.approx(8 * 9 * 10 / 2000, rel=0.1)
    assert finding["soft_dice"] is None
    assert results(folder)["soft_dice"] == 0.0
    assert results(folder)["worst_label"] is None


def test_other_rules_compute_again(folder):
    folder.scan("a.mha")
    folder.run()
    assert folder.run().skipped == {"a.mha": "already done"}
    assert folder.run(spec=spec(*RULES)).done == ["a.mha"]
    reason = "a.mha: computed again: was made with other post-processing rules"
    assert reason in [event.message for event in folder.of(Warned)]
    assert folder.run(spec=spec(*RULES)).skipped == {"a.mha": "already done"}


def test_a_label_that_vanishes_is_reported(folder):
    folder.scan("a.mha")
    folder.run(spec=spec({"op": "min_size", "ml": 100}))
    assert not folder.labels("a.mha").any()
    (message,) = [event.message for event in folder.of(Warned)]
    assert message.startswith("a.mha: post-processing rule 1 (min_size) removed all ")
    assert results(folder)["findings"][0]["outside_largest"] is None


def test_missing_logits_leave_the_numbers_of_the_result(folder):
    folder.scan("a.mha")
    folder.run(spec=spec(*RULES))
    before = results(folder)["findings"]
    folder.run(spec=spec(*RULES), save_logits=True)
    assert results(folder)["findings"] == before


def test_rules_that_name_no_label_fail_the_case(folder):
    folder.scan("a.mha")
    summary = folder.run(spec=spec({"op": "open", "mm": 1, "labels": ["liver"]}))
    assert summary.failed["a.mha"].startswith("post-processing rule 1 (open): there is no label 'liver'")


def test_parts_of_noise_are_not_counted_and_that_is_said(folder, monkeypatch):
    monkeypatch.setattr("itk_infer.case.finish.most_runs", lambda voxels: 10)
    folder.scan("a.mha")
    folder.run()
    assert results(folder)["findings"][0]["components"] is None
    (message,) = [event.message for event in folder.of(Warned)]
    assert message.endswith("their parts were not counted")


LAYERED = {
    "decision": "threshold",
    "labels": [{"value": 1, "name": "low", "channel": 0}, {"value": 4, "name": 'high, "core"', "channel": 1}],
}


def two_layers(windows):
    """Two channels whose masks overlap: above -30, and above 20."""
    first = windows[:, :1]
    return np.concatenate([first + 30, first - 20], axis=1)


def layers_of(path):
    """Masks by segment, as Slicer finds them."""
    image = sitk.ReadImage(str(path))
    array = np.atleast_3d(sitk.GetArrayFromImage(image))
    array = array if array.ndim == 4 else array[..., None]
    return [
        array[..., int(image.GetMetaData(f"Segment{n}_Layer"))] == int(image.GetMetaData(f"Segment{n}_LabelValue"))
        for n in range(2)
    ]


@pytest.mark.parametrize("label_format", ["seg.nrrd", "nii.gz"])
def test_labels_that_overlap_are_layers(folder, label_format):
    """Each mask by itself; counts, label map, layers, channel masks and pictures are of the result."""
    array = folder.scan("a.mha")
    rules = [{"op": "keep_largest", "connectivity": 6}, {"op": "min_size", "ml": 100, "labels": ['high, "core"']}]
    wanted = spec(rules[0], **LAYERED)
    asked = {"format": label_format, "save": ("channel_masks",)}
    assert folder.run(two_layers, spec=wanted, **asked).done == ["a.mha"]
    decided = np.stack([array > -30, array > 20])
    masks = [largest(mask) for mask in decided]
    assert all(kept.sum() < mask.sum() for kept, mask in zip(masks, decided, strict=True))
    found = results(folder)
    whole = np.ones((3, 3, 3))
    for finding, mask in zip(found["findings"], masks, strict=True):
        assert finding["voxels"] == mask.sum()
        assert finding["volume_ml"] == pytest.approx(mask.sum() / 1000)
        assert finding["components"] == ndimage.label(mask, whole)[1]
    assert [(e["label"], e["before"], e["after"]) for e in found["postprocessing"]] == [
        ("low", decided[0].sum(), masks[0].sum()),
        ('high, "core"', decided[1].sum(), masks[1].sum()),
    ]
    channels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder.output / "a_channels.nii.gz")))
    np.testing.assert_array_equal(channels, np.stack(masks))
    if label_format == "nii.gz":
        np.testing.assert_array_equal(folder.labels("a.nii.gz"), np.where(masks[1], 4, masks[0]))
    else:
        np.testing.assert_array_equal(layers_of(folder.output / "a.seg.nrrd"), masks)
    # The rules are in the identity; a label that vanishes is reported.
    assert folder.run(two_layers, spec=wanted, **asked).done == []
    assert folder.run(two_layers, spec=spec(*rules, **LAYERED), **asked).done == ["a.mha"]
    assert results(folder)["findings"][1]["voxels"] == 0
    assert any("removed all" in event.message for event in folder.of(Warned))


def test_painted_labels_that_overlap(folder):
    """As nnU-Net does: parts are those of the painted label map, and what is removed has no label any more."""
    array = folder.scan("a.mha")
    rule = {"op": "keep_largest", "connectivity": 6, "labels": ['high, "core"'], "painted": True}
    asked = {"format": "seg.nrrd", "save": ("channel_masks",)}
    assert folder.run(two_layers, spec=spec(rule, **LAYERED), **asked).done == ["a.mha"]
    low, high = array > -30, array > 20
    removed = high & ~largest(high)
    assert removed.any()
    np.testing.assert_array_equal(layers_of(folder.output / "a.seg.nrrd"), [low & ~removed, high & ~removed])
    assert [found["voxels"] for found in results(folder)["findings"]] == [
        (low & ~removed).sum(),
        largest(high).sum(),
    ]
    (effect,) = results(folder)["postprocessing"]
    assert (effect["before"], effect["after"]) == (high.sum(), largest(high).sum())
    assert folder.run(two_layers, spec=spec(rule, **LAYERED), format="nii.gz", overwrite=True).done == ["a.mha"]
    painted = np.where(high, 4, low)
    np.testing.assert_array_equal(folder.labels("a.nii.gz"), np.where(removed, 0, painted))


def test_channel_masks_of_plain_labels_are_post_processed_too(folder):
    array = folder.scan("a.mha")
    assert folder.run(spec=spec(*RULES), save=("channel_masks",)).failed == {}
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder.output / "a_channels.nii.gz")))  # of one label: 3D
    np.testing.assert_array_equal(mask, largest(array > 0))


def test_layers_without_rules(folder):
    array = folder.scan("a.mha")
    assert folder.run(two_layers, spec=spec(**LAYERED), format="seg.nrrd").done == ["a.mha"]
    expected = [ndimage.label(mask, np.ones((3, 3, 3)))[1] for mask in (array > -30, array > 20)]
    assert [finding["components"] for finding in results(folder)["findings"]] == expected
