"""Tests that every backend must pass."""

from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from itk_infer.arrays import to_host
from itk_infer.model.backend import Backend, NetworkShape, Windows
from itk_infer.model.runtimes.precision import Precision
from itk_infer.model.window import fit_window
from itk_infer.predictor import Predictor
from itk_infer.spec import ModelSpec


class BackendTests:
    """Tests of a backend: subclass this class and provide the backend by a fixture named `backend`.

    Attributes:
        window: Size Z, Y, X of the windows, along axes that neither spec nor network fix.
        tolerance: Largest difference of two outputs for one window, relative to their largest value.
    """

    window = (8, 8, 8)
    tolerance = 1e-4

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test."""
        raise NotImplementedError("override the fixture `backend`")

    def size(self, backend: Backend) -> tuple[int, ...]:
        """Size of a window, Z Y X."""
        patch = fit_window(backend.spec, backend.shape).patch
        return tuple(fixed or free for fixed, free in zip(patch, self.window, strict=True))

    def windows(self, backend: Backend, count: int, seed: int = 0) -> Windows:
        """Noise, (N, C, Z, Y, X) float32, as an array, or as a tensor if the backend takes tensors."""
        shape = (count, len(backend.spec.input.channels), *self.size(backend))
        values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        if backend.tensor_device is None:
            return values
        import torch

        return torch.from_numpy(values).to(backend.tensor_device)

    def answer(self, backend: Backend, windows: Windows) -> NDArray[Any]:
        """The logits in host memory, as float32; a copy, because a backend may reuse its memory."""
        return to_host(backend.forward(windows)).astype(np.float32)

    def assert_close(self, found: NDArray[Any], expected: NDArray[Any], tolerance: float | None = None) -> None:
        """Raise an AssertionError if two outputs differ by more than `tolerance`."""
        largest = float(np.abs(expected).max())
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=(tolerance or self.tolerance) * max(largest, 1e-6)
        )

    def test_it_says_what_it_is(self, backend: Backend) -> None:
        """Every attribute of the protocol exists, with its type."""
        assert isinstance(backend.spec, ModelSpec)
        assert isinstance(backend.shape, NetworkShape)
        assert re.fullmatch(r"cpu|cuda:\d+", backend.device)
        assert backend.tensor_device is None or isinstance(backend.tensor_device, str)
        assert isinstance(backend.provider, str)
        assert backend.provider
        assert backend.precision in get_args(Precision)
        assert isinstance(backend.digest, str)
        assert backend.digest  # without it, the ledger could not distinguish models
        assert isinstance(backend.notes, tuple)
        assert all(isinstance(note, str) for note in backend.notes)

    def test_spec_and_network_agree(self, backend: Backend) -> None:
        """They agree on input channels, window and labels."""
        fit_window(backend.spec, backend.shape)
        assert backend.shape.channels_in in (None, len(backend.spec.input.channels))
        if backend.shape.channels_out is not None:
            backend.spec.output.label_table(backend.shape.channels_out)

    @pytest.mark.parametrize("count", [1, 2, 3, 5])
    def test_any_number_of_windows_is_answered(self, backend: Backend, count: int) -> None:
        """Also a number that a network with a fixed batch size does not accept."""
        windows = self.windows(backend, count)
        logits = backend.forward(windows)
        assert type(logits) is type(windows)
        assert logits.ndim == 5
        assert tuple(logits.shape[2:]) == tuple(windows.shape[2:])
        assert logits.shape[0] == count
        assert backend.shape.channels_out in (None, logits.shape[1])
        values = to_host(logits)
        assert np.issubdtype(values.dtype, np.floating)
        assert np.isfinite(values).all()

    def test_a_window_is_answered_by_itself(self, backend: Backend) -> None:
        """Other windows in the call do not affect it."""
        windows = self.windows(backend, 3)
        together = self.answer(backend, windows)
        for index in range(3):
            self.assert_close(self.answer(backend, windows[index : index + 1]), together[index : index + 1])

    def test_the_same_windows_get_the_same_answer(self, backend: Backend) -> None:
        """Other calls in between do not affect it."""
        windows = self.windows(backend, 2)
        first = self.answer(backend, windows)
        self.answer(backend, self.windows(backend, 2, seed=1))
        self.assert_close(self.answer(backend, windows), first)

    def test_windows_are_left_as_they_are(self, backend: Backend) -> None:
        """They may be views of the volume, so the backend must not change them."""
        windows = self.windows(backend, 2)
        before = to_host(windows).copy()
        backend.forward(windows)
        np.testing.assert_array_equal(to_host(windows), before)

    def test_full_precision_is_the_same_model(self, backend: Backend) -> None:
        """Its outputs are nearly the same."""
        full = backend.in_full_precision()
        assert full is backend or full.precision == "fp32"
        assert (full.spec, full.shape) == (backend.spec, backend.shape)
        windows = self.windows(backend, 1)
        self.assert_close(self.answer(backend, windows), self.answer(full, windows), 0.05)

    def test_a_whole_image_is_segmented(self, backend: Backend) -> None:
        """Segmented by a `Predictor`, in several windows if the window is smaller than the image."""
        size = tuple(side + 3 for side in self.size(backend))
        noise = np.random.default_rng(2).normal(0, 100, (len(backend.spec.input.channels), *size))
        predictor = Predictor(backend, orientation="input")
        result = predictor([sitk.GetImageFromArray(channel.astype(np.int16)) for channel in noise])
        labels = sitk.GetArrayFromImage(result.labels)
        assert labels.shape == size
        table = {finding.label.value for finding in result.measurements.labels}
        assert set(np.unique(labels).tolist()) <= {0, *table}
