"""What the model spec has for MONAI's bundles, against MONAI itself, for any image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.slabs import finished_slabs
from itk_infer.engine.windows import place_windows
from itk_infer.spec import InputSpec
from itk_infer.spec.intensity import MinMax, ZScore
from itk_infer.spec.model_spec import Resampling
from itk_infer.volume.grid import Grid
from itk_infer.volume.intensity import apply_intensity
from itk_infer.volume.resample import model_grid, to_model_grid

torch = pytest.importorskip("torch", reason="torch is not installed")
monai = pytest.importorskip("monai", reason="monai is not installed")
FEW = settings(max_examples=20, deadline=None)
spacings = st.floats(0.4, 5.0).map(lambda value: round(value, 2))
sizes = st.integers(2, 14)


@FEW
@given(size=st.tuples(sizes, sizes, sizes), old=st.tuples(*[spacings] * 3), new=st.tuples(*[spacings] * 3))
def test_spacing_size_and_values(size, old, new):
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    voxels = np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)
    image = MetaTensor(torch.from_numpy(voxels), affine=torch.diag(torch.tensor([*old, 1.0], dtype=torch.float64)))
    theirs = Spacing(pixdim=new, mode="bilinear")(image).numpy()
    # Their axes are x, y, z; here the array is taken as it is, with the spacing of each axis.
    grid = model_grid(Grid(size, old), InputSpec(spacing=new, resampling=Resampling(size="centers")))
    assert grid.size == theirs.shape[1:]
    np.testing.assert_allclose(to_model_grid(voxels, grid, "linear"), theirs, atol=2e-5)


@FEW
@given(
    size=st.tuples(*[st.integers(6, 20)] * 3),
    patch=st.tuples(*[st.integers(4, 12)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.625, 0.8]),
)
def test_gaussian_windows_with_a_floor(size, patch, overlap):
    from monai.inferers import sliding_window_inference

    rng = np.random.default_rng(1)
    volume = rng.normal(size=(2, *size)).astype(np.float32)

    def network(windows):
        """Depends on where in the window a voxel is, so that the weights of windows show."""
        ramp = torch.linspace(-1, 1, patch[0])[:, None, None] * torch.linspace(1, 2, patch[2])
        return torch.cat([windows * ramp, windows + ramp], dim=1)

    expected = sliding_window_inference(
        torch.from_numpy(volume)[None], patch, 1, network, overlap=overlap, mode="gaussian"
    )[0].numpy()
    stride = tuple(max(1, int(side * (1 - overlap))) for side in patch)
    grid = place_windows(size, patch, stride, (1, 1, 1), "gaussian", floor=1e-3)
    padded = np.pad(volume, ((0, 0), *grid.pads))
    slabs = finished_slabs(
        padded, grid, lambda windows: network(torch.from_numpy(windows)).numpy(), HostWorkspace(), batch=2
    )
    found = np.concatenate([slab.logits.copy() for slab in slabs], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


@FEW
@given(channel_wise=st.booleans(), zeros=st.floats(0, 0.9), seed=st.integers(0, 1000))
def test_nonzero_voxels_are_normalised_and_zeros_stay(channel_wise, zeros, seed):
    from monai.transforms import NormalizeIntensity

    rng = np.random.default_rng(seed)
    voxels = (rng.normal(50, 20, size=(2, 5, 6, 7)) * np.array([1, 9])[:, None, None, None]).astype(np.float32)
    voxels[rng.random(voxels.shape) < zeros] = 0
    theirs = NormalizeIntensity(nonzero=True, channel_wise=channel_wise)(torch.from_numpy(voxels)).numpy()
    step = ZScore("nonzero", outside="keep", across_channels=not channel_wise)
    np.testing.assert_allclose(apply_intensity(voxels, [step]), theirs, atol=1e-4)


@FEW
@given(channel_wise=st.booleans(), seed=st.integers(0, 1000))
def test_minimum_and_maximum(channel_wise, seed):
    from monai.transforms import ScaleIntensity

    voxels = np.random.default_rng(seed).normal(size=(2, 4, 5, 6)).astype(np.float32)
    theirs = ScaleIntensity(channel_wise=channel_wise)(torch.from_numpy(voxels)).numpy()
    found = apply_intensity(voxels, [MinMax(across_channels=not channel_wise)])
    np.testing.assert_allclose(found, theirs, atol=1e-5)
