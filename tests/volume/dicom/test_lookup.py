"""Stored values through a table, in parts: the same as the formula of the standard for each pixel."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.volume.dicom import lookup
from itk_infer.volume.dicom.pixels import PixelForm

CENTER, WIDTH = 40.0, 400.0


@pytest.mark.parametrize("kind", ["<u1", "<i1", "<u2", ">u2", "<i2", ">i2"])
@pytest.mark.parametrize("at_a_time", [100, 37 * 41, 1 << 17])  # with a rest, exactly, all at once
def test_pixels_are_looked_up_in_parts(monkeypatch, kind, at_a_time):
    monkeypatch.setattr(lookup, "AT_A_TIME", at_a_time)
    bits, signed = 8 * int(kind[2]), kind[1] == "i"
    raw = np.random.default_rng(0).integers(0, 1 << bits, (37, 41))
    stored = raw.astype(f"u{bits // 8}").view(f"{kind[1]}{bits // 8}").astype(kind)
    form = PixelForm(37, 41, bits, bits, bits - 1, signed, 1)
    look = lookup.Look((2.0, -100.0), lookup.Window(CENTER, WIDTH), inverted=True)
    found = lookup.LookedUp(stored, form, look)[:]
    values = 2.0 * stored.astype(np.float64) - 100
    shown = np.clip((values - (CENTER - 0.5)) / (WIDTH - 1) + 0.5, 0, 1)  # PS3.3, C.11.2.1.2.1
    assert found.dtype == np.float32
    np.testing.assert_array_equal(lookup.LookedUp(stored, form, look)[5:17], found[5:17])
    memory = np.full((40, 41), -1, np.float32)
    lookup.LookedUp(stored, form, look).write(slice(5, 17), memory[3:15])
    np.testing.assert_array_equal(memory[3:15], found[5:17])
    assert (memory[[2, 15]] == -1).all()
    np.testing.assert_allclose(found, 1 - shown, atol=1e-6)


CT, WINDOW = (1.0, -1024.0), lookup.Window(CENTER, WIDTH)
FORMULA, TABLE = lookup._Line, lookup._Lookup


@pytest.mark.parametrize(
    ("look", "way"),
    [
        pytest.param(lookup.Look(CT, WINDOW), FORMULA, id="CT"),
        pytest.param(lookup.Look(CT, lookup.Window(32.25, 77.0, "LINEAR_EXACT")), FORMULA, id="exact"),
        pytest.param(lookup.Look(CT, WINDOW, padding=(0, 100)), FORMULA, id="padding that is black in any case"),
        pytest.param(lookup.Look(CT, WINDOW, padding=(1000, 2000)), TABLE, id="padding"),
        pytest.param(lookup.Look(CT, WINDOW, inverted=True), TABLE, id="inverted"),
        pytest.param(lookup.Look(CT, WINDOW, wrapped=True), TABLE, id="wrapped"),
        pytest.param(lookup.Look((1.3, -3.0), WINDOW), TABLE, id="rounded in single precision"),
        pytest.param(lookup.Look((0.0, 40.0), WINDOW), TABLE, id="slope 0"),
        pytest.param(lookup.Look(CT, lookup.Window(CENTER, 1.0)), TABLE, id="a step"),
        pytest.param(lookup.Look(CT, lookup.Window(CENTER, 1e-38, "LINEAR_EXACT")), TABLE, id="overflow"),
        pytest.param(lookup.Look(CT, lookup.Window(1e300, 400.0)), TABLE, id="far away"),
        pytest.param(lookup.Look(CT, lookup.Window(CENTER, WIDTH, "SIGMOID")), TABLE, id="sigmoid"),
        pytest.param(lookup.Look(CT, None), TABLE, id="no window"),
        pytest.param(lookup.Look(CT, (0.0, 400.0)), TABLE, id="a range"),
    ],
)
@pytest.mark.parametrize(("bits", "signed"), [(12, False), (16, True)])
@pytest.mark.filterwarnings("error")
def test_a_formula_stands_for_the_table_where_it_gives_the_same_numbers(look, way, bits, signed):
    conversion = lookup._conversion(bits, signed, look)
    first = -(1 << (bits - 1)) if signed else 0
    stored = np.arange(first, first + (1 << bits), dtype=np.int64)
    found = np.empty(stored.size, np.float32)
    conversion(stored.astype(np.int16 if signed else np.uint16), found)
    assert isinstance(conversion, way)
    assert found.tobytes() == look(stored).tobytes()
