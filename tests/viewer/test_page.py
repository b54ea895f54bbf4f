"""The viewer's page in headless Chromium. Pixels are sampled: a black canvas would pass every other test."""

from __future__ import annotations

import hashlib
import io
from contextlib import closing, contextmanager
from importlib.resources import files

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from support.chromium import Page
from support.folders import Folder
from support.viewing import serving

from itk_infer.run.ledger import Ledger
from itk_infer.spec import parse_spec
from itk_infer.viewer import volumes

SIZE, CUBE, STEP = 40, 12, 20
NIIVUE = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
COLOURS = ("#ff0000", "#00ff00", "#0000ff")
RIGHT, LEFT = (
    (slice(6, 18), slice(4, 16), slice(4, 16)),
    (slice(6, 18), slice(4, 16), slice(24, 36)),
)  # of LPS arrays


def test_niivue_is_the_file_of_the_registry():
    page = files("itk_infer.viewer") / "page"
    assert hashlib.sha256((page / "niivue.umd.js").read_bytes()).hexdigest() == NIIVUE
    assert NIIVUE in (page / "THIRD_PARTY.md").read_text()


def spec_of(count):
    """A model whose label is the brightness, in steps of `STEP`."""
    labels = [
        {"name": f"label {value}", "value": value, "channel": value, "color": COLOURS[(value - 1) % 3]}
        for value in range(1, count + 1)
    ]
    return parse_spec({"output": {"labels": labels}}, "test")


def by_brightness(count):
    return lambda windows: np.concatenate([-((windows - STEP * k) ** 2) for k in range(count + 1)], axis=1)


def scan(folder, name, code, **cubes):
    """An image of cubes in front, with the same content in the patient whatever the orientation of its axes."""
    array = np.zeros((SIZE, SIZE, SIZE), np.int16)
    for side, value in cubes.items():
        array[{"right": RIGHT, "left": LEFT}[side]] = value * STEP
    image = sitk.DICOMOrient(sitk.GetImageFromArray(array), code)
    sitk.WriteImage(image, str(folder.source / name))


@contextmanager
def viewed(folder, width=900, height=700):
    with serving(folder.output) as server, Page(width, height) as page:
        page.open(server.address)
        page.wait("document.body.dataset.shown")
        yield page
        assert not page.errors
        assert all(address.startswith((server.address, "data:", "blob:")) for address in page.requests)


def set_opacity(page, percent):
    page.run(f"document.getElementById('opacity').value = {percent}")
    page.run("document.getElementById('opacity').dispatchEvent(new Event('input'))")


def pixels(page, tmp_path):
    """What the canvas shows, (Y, X, 3), after the next two frames."""
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = page.run(
        "(({x, y, width, height}) => [x, y, x + width, y + height])(document.getElementById('canvas').getBoundingClientRect())"
    )
    path = tmp_path / "page.png"
    page.screenshot(path)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return np.asarray(image.convert("RGB").crop([round(edge) for edge in box])).astype(int)


def share(colours, colour, tolerance=30):
    """The share of pixels of a colour."""
    return float((abs(colours - colour).max(axis=-1) <= tolerance).mean())


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_the_background_is_black_with_41_labels(folder, tmp_path):
    scan(folder, "a.mha", "LPS", right=1, left=41)
    folder.run(by_brightness(41), spec=spec_of(41))
    with viewed(folder) as page:
        set_opacity(page, 100)
        found = pixels(page, tmp_path)
        assert page.run("document.querySelectorAll('#legend li').length") == 41
    # Of three planes through a cube, in the quarter of each that it fills at most: the rest is nothing at all.
    assert share(found, (0, 0, 0), 3) > 0.75
    assert share(found, (255, 0, 0)) + share(found, (0, 255, 0)) > 0.02
    tinted = (found.max(axis=-1) > 3) & (found.max(axis=-1) < 60)
    assert tinted.mean() < 0.01


def test_the_mask_lies_on_its_image_whatever_their_axes(folder, tmp_path):
    """Images with other axes than their masks (LPI): the same patient, so the same picture."""
    codes = ("LPS", "RAS", "RPI", "PIR", "ASL")
    for code in codes:
        scan(folder, f"{code}.nii.gz", code, right=1, left=2)
    folder.run(by_brightness(2), spec=spec_of(2))
    seen = []
    with viewed(folder) as page:
        for _ in codes:
            set_opacity(page, 100)
            seen.append(pixels(page, tmp_path))
            page.press("n")
            page.wait("document.body.dataset.shown")
    first = seen[0]
    red, green = (abs(first - colour).max(axis=-1) <= 30 for colour in ((255, 0, 0), (0, 255, 0)))
    assert red.mean() > 0.01
    assert green.mean() > 0.01
    # The radiological view: where both are in one row of the picture, the patient's right is on the left.
    rows = red.any(axis=1) & green.any(axis=1)
    assert rows.sum() > 20
    for row in np.nonzero(rows)[0]:
        assert red[row].argmax() < green[row].argmax()
    for other in seen[1:]:
        assert (abs(other - first).max(axis=-1) > 40).mean() < 0.005


def test_image_and_mask_agree_voxel_by_voxel(folder, tmp_path):
    scan(folder, "a.nii.gz", "ASR", right=2, left=2)
    folder.run(by_brightness(2), spec=spec_of(2))
    with viewed(folder) as page:
        set_opacity(page, 0)
        image = pixels(page, tmp_path)
        set_opacity(page, 100)
        overlaid = pixels(page, tmp_path)
    lines = overlaid.min(axis=-1) > 128  # the crosshair and letters
    bright = (image.min(axis=-1) > 128) & ~lines
    green = overlaid[..., 1] - overlaid[..., 0] > 25
    assert bright.mean() > 0.02
    assert (bright & green).sum() > 0.98 * bright.sum()
    assert green.sum() < 1.25 * bright.sum()  # half a voxel around cubes of 12 voxels


def test_a_label_can_be_hidden_and_comes_back(folder, tmp_path):
    scan(folder, "a.mha", "LPS", right=1, left=2)
    folder.run(by_brightness(2), spec=spec_of(2))
    box = "document.querySelectorAll('#legend input')[0]"
    with viewed(folder) as page:
        set_opacity(page, 100)
        before = share(pixels(page, tmp_path), (255, 0, 0))
        page.run(f"{box}.click()")
        assert share(pixels(page, tmp_path), (255, 0, 0)) < before / 20
        assert share(pixels(page, tmp_path), (0, 255, 0)) > 0.01
        page.run(f"{box}.click()")
        assert share(pixels(page, tmp_path), (255, 0, 0)) == pytest.approx(before, rel=0.05)
        page.run("document.getElementById('none').click()")
        assert share(pixels(page, tmp_path), (0, 255, 0)) < 0.001
        page.run("document.getElementById('all').click()")
        assert "1.728 ml" in page.run("document.getElementById('legend').textContent")


def test_keys_move_and_decide(folder, tmp_path):
    for name in ("a.mha", '<b onclick="x">.mha'):
        scan(folder, name, "LPS", right=1)
    folder.run(by_brightness(1), spec=spec_of(1))
    with viewed(folder) as page:
        first = page.run("document.getElementById('name').textContent")
        page.run("document.getElementById('who').value = 'kim'")
        page.run("document.getElementById('note').value = 'look'")
        page.press("r")
        page.wait("document.querySelector('#list li.now').textContent.includes('review')")
        page.press("a", modifiers=2)  # Ctrl+A is the browser's
        page.press("n")
        page.wait("document.body.dataset.shown")
        second = page.run("document.getElementById('name').textContent")
        page.press("x")
        page.wait("document.querySelector('#list li.now').textContent.includes('reject')")
        assert page.run("document.querySelectorAll('#list b').length") == 0
        assert page.run("document.getElementById('count').textContent") == "2 shown, 2 of 2 decided"
        page.press("c")
        page.wait("!document.querySelector('#list li.now').textContent.includes('reject')")
        page.press("p")
        page.wait("document.body.dataset.shown")
        assert page.run("document.getElementById('note').value") == "look"
    assert {first, second} == {"a.mha", '<b onclick="x">.mha'}
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        (review,) = ledger.reviews().values()
    assert (review.case, review.verdict, review.who, review.note) == (first, "review", "kim", "look")


def test_uncertainty_is_shown_and_found(folder, tmp_path):
    scan(folder, "a.mha", "LPS", right=1)
    folder.run(by_brightness(1), spec=spec_of(1))
    doubt = np.zeros((SIZE, SIZE, SIZE), np.uint8)
    doubt[LEFT] = 200
    doubt[30, 20, 10] = 250
    sitk.WriteImage(sitk.GetImageFromArray(doubt), str(folder.output / "a.uncertainty.nii.gz"))
    with viewed(folder) as page:
        set_opacity(page, 100)
        assert share(pixels(page, tmp_path), (255, 0, 0)) > 0.01
        page.press("d")  # LPS (10, 20, 30)
        page.wait("document.getElementById('place').textContent.startsWith('L 10.0  P 20.0  S 30.0 mm')")
        page.press("o")
        assert page.run("document.getElementById('overlay').textContent").startswith("Uncertainty")
        assert share(pixels(page, tmp_path), (255, 0, 0)) < 0.001
        page.press("o")
        assert page.run("document.getElementById('overlay').textContent").startswith("Image")


def test_a_large_volume_says_that_it_is_halved(folder, tmp_path, monkeypatch):
    scan(folder, "a.mha", "LPS", right=1)
    folder.run(by_brightness(1), spec=spec_of(1))
    monkeypatch.setattr(volumes, "MAX_VOXELS", SIZE**3 // 2)
    with viewed(folder) as page:
        assert "one of 2 along each axis is shown" in page.run("document.getElementById('notes').textContent")
        set_opacity(page, 100)
        assert share(pixels(page, tmp_path), (255, 0, 0)) > 0.01


def test_a_mask_without_its_image_is_shown_alone(folder, tmp_path):
    scan(folder, "a.mha", "LPS", right=1)
    folder.run(by_brightness(1), spec=spec_of(1))
    (folder.source / "a.mha").unlink()
    with viewed(folder) as page:
        assert "only the mask is shown" in page.run("document.getElementById('notes').textContent")
        set_opacity(page, 100)
        assert share(pixels(page, tmp_path), (255, 0, 0)) > 0.01
