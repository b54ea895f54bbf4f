"""What a plan tells of an image that is smaller than the model expects."""

from __future__ import annotations

import pytest

from itk_infer.case.plan import CasePlan, plan_case
from itk_infer.errors import InputError
from itk_infer.model.window import ModelWindow
from itk_infer.spec import parse_spec
from itk_infer.volume.grid import Grid


def plan(size, spacing, patch=(16, 16, 16), wanted=(1.0, 1.0, 1.0)) -> CasePlan:
    spec = parse_spec({"input": {"spacing": wanted and list(wanted)}}, "t")
    grid = Grid(size, spacing)
    window = ModelWindow(patch, (None, None, None))
    return plan_case(grid, 2, spec, window, channels_out=2, batch=1, want_logits=False)


@pytest.mark.parametrize(
    ("size", "spacing", "patch", "wanted"),
    [
        ((32, 32, 32), (0.5, 0.5, 0.5), (16, 16, 16), (1.0, 1.0, 1.0)),  # exactly one window
        ((8, 64, 64), (0.5, 0.5, 0.5), (16, 16, 16), (1.0, 1.0, 1.0)),  # thin, but 4 x 32 x 32 voxels
        ((8, 8, 8), (1.0, 1.0, 1.0), (16, 16, 16), (1.0, 1.0, 1.0)),  # small as it is: not the spacing's doing
        ((8, 8, 8), (0.1, 0.1, 0.1), (16, 16, 16), None),  # the model asks for no spacing
        ((8, 8, 8), (0.5, 0.5, 0.5), (None, None, None), (1.0, 1.0, 1.0)),  # the whole volume is one window
    ],
    ids=["one window", "thin", "native", "no spacing", "whole volume"],
)
def test_no_doubt(size, spacing, patch, wanted) -> None:
    assert plan(size, spacing, patch, wanted).warnings == ()


def test_less_than_one_window_is_told() -> None:
    (warning,) = plan((100, 120, 120), (0.1, 0.1, 0.1)).warnings
    assert warning == (
        "at the model's spacing it has 10 x 12 x 12 voxels (Z Y X), fewer than one window of 16 x 16 x 16; "
        "check that its spacing of 0.1 x 0.1 x 0.1 mm is right"
    )


@pytest.mark.parametrize(
    "spacing", [(0.001, 0.001, 0.001), (0.001, 1.0, 1.0), (1.0, 1.0, 0.005)], ids=["all", "Z", "X"]
)
def test_an_absurdly_small_spacing_is_refused(spacing) -> None:
    with pytest.raises(
        InputError, match=r"would have \(.*\) voxels \(Z Y X\) instead of \(40, 48, 48\).*check the header"
    ):
        plan((40, 48, 48), spacing)


def test_one_slice_may_be_of_any_thickness() -> None:
    assert plan((1, 480, 480), (0.001, 0.5, 0.5)).model.size == (1, 240, 240)
