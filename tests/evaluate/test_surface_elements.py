"""The derived table of areas equals the one that other programs store."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.evaluate.surface_elements import CORNERS, WEIGHTS, area_table


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.5), (0.7, 1.9, 1.3)])
def test_all_256_areas_are_those_of_monai(spacing):
    metrics = pytest.importorskip("monai.metrics.utils")
    theirs = metrics.create_table_neighbour_code_to_surface_area(spacing)[0].numpy()
    ours = area_table(spacing)
    for code in range(256):
        # Theirs counts corners from the other end.
        other = sum(128 >> place for place, corner in enumerate(CORNERS) if code & WEIGHTS[corner])
        assert ours[code] == pytest.approx(theirs[other], abs=1e-5), code


def test_areas_by_hand():
    areas = area_table((3.0, 1.0, 0.5))
    assert areas[0] == areas[255] == 0
    assert areas[sum(WEIGHTS[corner] for corner in CORNERS if corner[0])] == pytest.approx(0.5)  # a face across Z
    assert areas[sum(WEIGHTS[corner] for corner in CORNERS if corner[2])] == pytest.approx(3.0)
    # One corner: a triangle through the middles of three edges, half the area of the face of a parallelepiped.
    normal = np.array((1 * 0.5, 3 * 0.5, 3 * 1)) / 8
    assert areas[WEIGHTS[0, 0, 0]] == pytest.approx(np.linalg.norm(normal))


def test_a_neighbourhood_and_its_opposite_have_the_same_area():
    areas = area_table((2.0, 1.0, 0.8))
    same = [code for code in range(256) if bin(code).count("1") != 4]
    np.testing.assert_allclose(areas[same], areas[[255 - code for code in same]])
