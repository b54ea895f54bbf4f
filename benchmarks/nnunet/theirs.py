"""What nnU-Net's own functions make of a plan."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from made_up_plans import NAME, Made
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray


class Theirs:
    """One case, prepared.

    Attributes:
        data: What its predictor gets, (C, Z, Y, X).
        padded: What windows are cut from.
        starts: First voxels of windows along the axes of the patch.
        gaussian: Their weights, in float64.
        channels: Output channels of the network.
    """

    def __init__(self, made: Made) -> None:
        self._plans = PlansManager(copy.deepcopy(made.plans))
        self._configuration = self._plans.get_configuration(NAME)
        self._labels = self._plans.get_label_manager(made.dataset)
        self.channels: int = self._labels.num_segmentation_heads
        properties: dict[str, Any] = {"spacing": list(made.spacing)}
        seg = None if made.previous is None else made.previous[None].astype(np.int16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # means of nothing, divisions by zero
            data, seg, self._properties = DefaultPreprocessor(verbose=False).run_case_npy(
                made.image, seg, properties, self._plans, self._configuration, made.dataset
            )
        if made.previous is not None:
            one_hot = convert_labelmap_to_one_hot(seg[0], self._labels.foreground_labels, data.dtype)
            data = np.vstack((data, one_hot))
        self.data: NDArray[np.float32] = data
        patch = self._configuration.patch_size
        self.padded: NDArray[np.float32] = pad_nd_image(data, patch, "constant", {"constant_values": 0})
        shape = self.padded.shape[-len(patch) :]
        self.starts: list[list[int]] = compute_steps_for_sliding_window(shape, patch, made.step)
        self.gaussian: NDArray[np.float64] = compute_gaussian(
            tuple(patch), value_scaling_factor=10, dtype=torch.float64, device=torch.device("cpu")
        ).numpy()

    def shares(self, made: Made) -> NDArray[np.float32]:
        """Share of each value of the previous stage's label map on the network's grid, the largest first."""
        order = self._plans.transpose_forward
        image = made.image.astype(np.float32).transpose(0, *(axis + 1 for axis in order))
        previous = np.asarray(made.previous, np.int16)
        _, seg, _ = crop_to_nonzero(image, previous.transpose(order)[None])
        each = np.stack([seg[0] == value for value in np.unique(seg)]).astype(np.float32)
        spacing = [made.spacing[axis] for axis in order]
        found = self._configuration.resampling_fn_probabilities(
            each, self.data.shape[1:], spacing, self._configuration.spacing
        )
        return -np.sort(-np.asarray(found), axis=0)

    def label_map(self, logits: NDArray[np.float32]) -> NDArray[np.integer]:
        """The label map of logits on the network's grid."""
        found: NDArray[np.integer] = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, self._plans, self._configuration, self._labels, self._properties, num_threads_torch=1
        )
        return found

    def midway(self, axis: int | None) -> NDArray[np.bool_]:
        """Voxels of the stored image that lie midway between two planes of the network's grid along its `axis`."""
        found = np.zeros(self._properties["shape_before_cropping"], np.bool_)
        if axis is not None:
            begin, end = self._properties["bbox_used_for_cropping"][axis]
            positions = (np.arange(end - begin) + 0.5) * self.data.shape[axis + 1] / (end - begin)
            np.moveaxis(found, axis, 0)[begin:end][np.abs(positions - np.rint(positions)) < 1e-5] = True
        return found.transpose(self._plans.transpose_backward)

    def native_logits(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The logits from which it decides, in the axes of the stored image; not a number outside the crop."""
        spacing = [self._properties["spacing"][axis] for axis in self._plans.transpose_forward]
        own = self._configuration.spacing
        inside = self._configuration.resampling_fn_probabilities(
            logits.astype(np.float64),
            self._properties["shape_after_cropping_and_before_resampling"],
            own if len(own) == 3 else [spacing[0], *own],
            spacing,
        )
        whole = np.full((len(logits), *self._properties["shape_before_cropping"]), np.nan)
        whole[(slice(None), *(slice(*pair) for pair in self._properties["bbox_used_for_cropping"]))] = inside
        return whole.transpose(0, *(axis + 1 for axis in self._plans.transpose_backward))
