"""Frames of DICOM files as pictures: known encodings, damaged files, and every step against its formula."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.dicom_files import save, slice_of

from itk_infer.errors import InputError
from itk_infer.spec.classify_spec import PictureChannel, PictureInput, SelectRule
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture

GREY, VOI = PictureChannel(), PictureInput()
STORED = np.arange(64, dtype=np.uint16).reshape(8, 8) * 16
pydicom = pytest.importorskip("pydicom", reason="pydicom writes the files")


def seen(path: Path, wanted: PictureInput = VOI, channel: PictureChannel = GREY, frame: int = 0) -> Any:
    return open_pictures(path).picture(frame).rows(channel, wanted)[:]


def made(tmp_path: Path, stored: np.ndarray = STORED, **attributes: Any) -> Path:
    return save(slice_of(0, stored, **attributes), tmp_path / "a.dcm")


def table(first: int, bits: int, entries: np.ndarray, *, signed: bool = False) -> Any:
    item = pydicom.Dataset()
    item.add_new(0x00283002, "SS" if signed else "US", [len(entries), first, bits])
    item.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return pydicom.Sequence([item])


def test_every_encoding_of_one_radiograph(shared: Path) -> None:
    """44 encodings: syntaxes, tables, windows, polarity, padding, colours, frames; each within its own tolerance."""
    pytest.importorskip("imagecodecs", reason="the decoders are not installed")
    zoo = shared / "classify" / "zoo"
    base, own = np.load(zoo / "base_picture.npz")["picture"], np.load(zoo / "own_pictures.npz")
    files = json.loads((zoo / "zoo.json").read_text("utf-8"))["files"]
    wrong = {}
    for name, about in files.items():
        pictures = open_pictures(zoo / name)
        assert pictures.facts.frames == about["frames"], name
        for frame in range(about["frames"]):
            rolled = np.roll(base, 3 * frame, 1)
            wanted = {"same": base, "colour": base, "frames": rolled, "padded": np.pad(base, 12)}.get(
                about["group"]
            )
            wanted = own[name] if wanted is None else wanted
            error = np.abs(pictures.picture(frame).rows(GREY, PictureInput())[:] - wanted).max()
            if not error <= about["tolerance"]:
                wrong[name, frame] = error
    assert len(files) == 44
    assert not wrong


def test_every_broken_file_ends_as_it_should(shared: Path) -> None:
    pytest.importorskip("imagecodecs", reason="the decoders are not installed")
    folder = shared / "classify" / "broken"
    states, reasons = {}, {}
    for name in json.loads((folder / "broken.json").read_text("utf-8")):
        try:
            pictures = open_pictures(folder / name)
            pictures.check()
            for frame in range(pictures.facts.frames):
                pictures.picture(frame).rows(GREY, PictureInput())[:]
            states[name] = "done"
        except NotAPicture:
            states[name] = "skipped"
        except InputError as error:
            states[name], reasons[name] = "failed", str(error)
    wanted = json.loads((folder / "broken.json").read_text("utf-8"))
    assert len(wanted) == 26
    assert all(reason.startswith(f"{name}: ") for name, reason in reasons.items())
    assert states == {name: about["state"] for name, about in wanted.items()}


def test_three_windows_of_a_head(shared: Path) -> None:
    expected = json.loads((shared / "classify/expected/ct_three_windows.json").read_text("utf-8"))
    wanted = PictureInput(values="modality")
    for name, about in expected["files"].items():
        path = shared / "ct" / "example_ct_dicom" / name
        hounsfield = seen(path, wanted)
        assert hounsfield.min() == about["hu_min"]
        assert hounsfield.mean() == pytest.approx(about["hu_mean"], abs=1e-3)
        for which, window in expected["windows"].items():
            picture = seen(path, wanted, PictureChannel(window=tuple(window)))
            assert picture.mean() == pytest.approx(about[which]["mean"], abs=1e-5)
            assert picture.std() == pytest.approx(about[which]["std"], abs=1e-5)


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        ("LINEAR", lambda v: np.clip((v - 499.5) / 399 + 0.5, 0, 1)),
        ("LINEAR_EXACT", lambda v: np.clip((v - 500) / 400 + 0.5, 0, 1)),
        ("SIGMOID", lambda v: 1 / (1 + np.exp(-4 * (v - 500) / 400))),
    ],
    ids=["linear", "exact", "sigmoid"],
)
def test_windows_follow_the_standard(tmp_path: Path, function: str, formula: Any) -> None:
    path = made(tmp_path, WindowCenter="500", WindowWidth="400", VOILUTFunction=function)
    np.testing.assert_allclose(seen(path), formula(STORED.astype(float)), atol=1e-6)


def test_stored_values_and_those_of_the_modality(tmp_path: Path) -> None:
    path = made(tmp_path, RescaleSlope="2", RescaleIntercept="-100", WindowCenter="0", WindowWidth="10")
    np.testing.assert_array_equal(seen(path, PictureInput(values="stored")), STORED)
    np.testing.assert_array_equal(seen(path, PictureInput(values="modality")), STORED * 2.0 - 100)


def test_without_a_window(tmp_path: Path) -> None:
    path = made(tmp_path)
    np.testing.assert_allclose(seen(path), STORED / STORED.max(), atol=1e-6)
    np.testing.assert_allclose(seen(path, PictureInput(missing_voi="range")), STORED / 65535, atol=1e-7)
    with pytest.raises(InputError, match="has no window and no table"):
        seen(path, PictureInput(missing_voi="refuse"))


def wrapped(tmp_path: Path, **attributes: Any) -> tuple[Path, NDArray[np.float64]]:
    """A head whose HU were kept as unsigned values of 12 bits, without an intercept; and the HU."""
    hounsfield = np.linspace(-1000, 3095, 12).round().reshape(3, 4)
    stored = (hounsfield.astype(np.int64) % 4096).astype(np.uint16)
    words = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": "1", "RescaleIntercept": "0", **attributes}
    return made(tmp_path, stored, **words), hounsfield


def test_values_that_were_wrapped_round(tmp_path: Path) -> None:
    path, hounsfield = wrapped(tmp_path)
    repaired = PictureInput(values="modality", repair="wrapped_12_bit")
    np.testing.assert_array_equal(seen(path, repaired), hounsfield)
    assert seen(path, PictureInput(values="modality"))[0, 0] == 3096, "air looks like metal"
    brain = PictureChannel(window=(40, 80))
    np.testing.assert_allclose(seen(path, repaired, brain), np.clip(hounsfield / 80, 0, 1), atol=1e-6)
    for missing in ("minmax", "range"):  # from air to the largest value, which it is of all values, too
        shown = seen(path, PictureInput(repair="wrapped_12_bit", missing_voi=missing))
        np.testing.assert_allclose(shown, (hounsfield + 1000) / 4095, atol=1e-6)


@pytest.mark.parametrize(
    "other", [{"RescaleIntercept": "-1024"}, {"RescaleSlope": "2"}, {"BitsStored": 16, "HighBit": 15}]
)
def test_what_was_not_wrapped_stays(tmp_path: Path, other: dict[str, Any]) -> None:
    path, _ = wrapped(tmp_path, **other)
    repaired = PictureInput(values="modality", repair="wrapped_12_bit")
    np.testing.assert_array_equal(seen(path, repaired), seen(path, PictureInput(values="modality")))


def test_a_view_that_is_not_there(tmp_path: Path) -> None:
    path = made(tmp_path, WindowCenter=["100", "500"], WindowWidth=["50", "400"])
    np.testing.assert_allclose(
        seen(path, PictureInput(view=1)), np.clip((STORED - 499.5) / 399 + 0.5, 0, 1), atol=1e-6
    )
    with pytest.raises(InputError, match="2 windows, and view 2"):
        seen(path, PictureInput(view=2))
    ramp = np.arange(1024)
    tables = made(tmp_path, VOILUTSequence=table(0, 10, ramp))
    with pytest.raises(InputError, match="1 tables, and view 1"):
        seen(tables, PictureInput(view=1))


def test_a_table_of_values_below_zero(tmp_path: Path) -> None:
    """Its first value is read as signed where values of the modality can be negative."""
    entries = np.arange(1024)
    path = made(
        tmp_path, RescaleSlope="1", RescaleIntercept="-200", VOILUTSequence=table(-200, 10, entries, signed=True)
    )
    np.testing.assert_allclose(seen(path), STORED / 1023, atol=1e-6)


def test_a_table_whose_bits_are_misstated(tmp_path: Path) -> None:
    """Some makers write 8 where entries have 10 bits: the largest entry decides."""
    path = made(tmp_path, VOILUTSequence=table(0, 9, np.arange(1024)))
    np.testing.assert_allclose(seen(path), STORED / 1023, atol=1e-6)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param({0x00283002: ("US", [4, 0])}, id="descriptor"),
        pytest.param({0x00283002: ("US", [4, 0, 16])}, id="entries"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, item: dict[int, Any]) -> None:
    ds = pydicom.Dataset()
    for tag, (vr, value) in item.items():
        ds.add_new(tag, vr, value)
    path = made(tmp_path, VOILUTSequence=pydicom.Sequence([ds]))
    with pytest.raises(InputError, match="table of its values"):
        seen(path)


def test_all_of_it_is_padding(tmp_path: Path) -> None:
    path = made(tmp_path, PixelPaddingValue=0, PixelPaddingRangeLimit=2000)
    assert not seen(path).any()


def test_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    ds = slice_of(0, colours[..., 0])
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.PixelData = colours.tobytes()
    path = save(ds, tmp_path / "rgb.dcm")
    np.testing.assert_allclose(seen(path, channel=PictureChannel("green")), colours[..., 1] / 255, atol=1e-6)
    luma = colours @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(seen(path), luma, atol=1e-6)
    np.testing.assert_allclose(seen(path, PictureInput(values="stored")), luma * 255, atol=1e-4)
    with pytest.raises(InputError, match="is grey, and the model wants colours"):
        seen(made(tmp_path), channel=PictureChannel("red"))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"SamplesPerPixel": 3}, "3 samples of a kind"),
        ({"PhotometricInterpretation": "YBR_FULL_422", "SamplesPerPixel": 3}, "half the resolution"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "table of its values is damaged"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "RescaleSlope is 0"),
    ],
    ids=["samples", "half", "palette", "slope"],
)
def test_what_is_refused(tmp_path: Path, attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        seen(made(tmp_path, **attributes))


def test_what_a_header_says(tmp_path: Path) -> None:
    path = made(
        tmp_path,
        position=(0.0, 0.0, 7.5),
        PresentationIntentType="FOR PROCESSING",
        LossyImageCompression="01",
        BitsStored=12,
        HighBit=11,
        RescaleIntercept="0",
        RescaleSlope="1",
    )
    facts = open_pictures(path).facts
    assert facts.positions == (7.5,)
    assert facts.patient == "P1"
    for words in ("with losses", "FOR PROCESSING", "wrapped around"):
        assert words in facts.note


def test_rules_of_the_model(tmp_path: Path) -> None:
    path = made(tmp_path)
    open_pictures(path).check([SelectRule("Modality", ("CT", "MR"))])
    with pytest.raises(NotAPicture, match="Modality is not DX, which the model is for"):
        open_pictures(path).check([SelectRule("Modality", ("DX",))])
    with pytest.raises(NotAPicture, match="ImageType is PRIMARY, which the model is not for"):
        open_pictures(path).check([SelectRule("ImageType", ("PRIMARY",), exclude=True)])


def test_an_index_of_files_is_no_picture(tmp_path: Path) -> None:
    path = made(tmp_path, SOPClassUID="1.2.840.10008.1.3.10")
    with pytest.raises(NotAPicture, match="DICOMDIR"):
        open_pictures(path).check()


def test_equal_pixels_have_equal_digests(tmp_path: Path) -> None:
    first = open_pictures(made(tmp_path)).picture(0).sha256
    second = open_pictures(made(tmp_path, series="another", WindowCenter="1", WindowWidth="9")).picture(0).sha256
    assert first == second
    assert open_pictures(made(tmp_path, STORED + 1)).picture(0).sha256 != first


def test_luma_and_differences(tmp_path: Path) -> None:
    """YBR_FULL of white, black and red; PS3.3, C.7.6.3.1.2."""
    stored = np.array([[[255, 128, 128], [0, 128, 128], [76, 85, 255]]], np.uint8)
    ds = slice_of(0, stored[..., 0])
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL", 1
    ds.PixelData = np.moveaxis(stored, -1, 0).tobytes() + bytes(1)
    path = save(ds, tmp_path / "ybr.dcm")
    red, green = (seen(path, channel=PictureChannel(name))[0] for name in ("red", "green"))
    np.testing.assert_allclose(red, [1, 0, 254 / 255], atol=1.5 / 255)
    np.testing.assert_allclose(green, [1, 0, 0], atol=1.5 / 255)


def test_a_window_without_a_width(tmp_path: Path) -> None:
    path = made(tmp_path, WindowCenter="500", WindowWidth="0.5")
    np.testing.assert_allclose(seen(path), STORED / STORED.max(), atol=1e-6)
