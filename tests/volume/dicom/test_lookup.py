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
    np.testing.assert_allclose(found, 1 - shown, atol=1e-6)
