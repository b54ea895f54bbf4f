"""A folder of one CT, and one model as every tool wants it.

    python -m contenders.folder_workload FOLDER CT_FOLDER fine            # and its reference
    python -m contenders.folder_workload FOLDER CT_FOLDER deep DEPTH...   # one subfolder for each depth

Writes ``images/case_0000.nii.gz``, ``network.pth`` (for MONAI with the axes of its arrays, X Y Z),
``network.onnx`` with ``network.spec.json``, ``fixed.onnx`` for itkit, ``nnunet/`` (a trained model's
folder), ``work.json``, and for `fine` ``reference_*.npy``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from contenders.train import CLIP, MEAN, STD, trained
from contenders.workload import FEATURES, PATCH, blended, export_onnx, network

CLASSES = 14
FINE = (320, 384, 384)
PLANE = (256, 256)
SMALL = (8, 16)


def image(source: Path, size: tuple[int, int, int], path: Path) -> tuple[float, ...]:
    """The CT over the same field of view with `size` voxels, int16; returns its spacing, Z Y X."""
    import SimpleITK as sitk
    from scipy.ndimage import zoom

    stored = sitk.ReadImage(str(source))
    array = sitk.GetArrayFromImage(stored).astype(np.float32)
    factors = [n / o for n, o in zip(size, array.shape, strict=True)]
    fine = zoom(array, factors, order=1, mode="nearest", grid_mode=True)
    made = sitk.GetImageFromArray(np.rint(fine).astype(np.int16))
    spacing = tuple(s / f for s, f in zip(stored.GetSpacing()[::-1], factors, strict=True))
    made.SetSpacing(spacing[::-1])
    made.SetDirection(stored.GetDirection())
    made.SetOrigin(stored.GetOrigin())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(made, str(path))
    return spacing


def write_model(folder: Path, net, features: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    """One network, as every tool wants it."""
    import torch

    state = net.state_dict()
    # MONAI's arrays are (X, Y, Z): the same network with the axes of its kernels turned round.
    turned = {key: value.permute(0, 1, 4, 3, 2) if value.ndim == 5 else value for key, value in state.items()}
    torch.save(turned, folder / "network_xyz.pth")
    export_onnx(net, folder / "network.onnx")
    (folder / "network.spec.json").write_text(json.dumps(spec(spacing), indent=1))
    fixed_onnx(folder)
    write_nnunet(folder / "nnunet", state, features, spacing)
    work = {"features": features, "classes": CLASSES, "patch": PATCH, "spacing_xyz": spacing[::-1]}
    work |= {"clip": CLIP, "mean": MEAN, "std": STD}
    (folder / "work.json").write_text(json.dumps(work))


def spec(spacing: tuple[float, ...]) -> dict:
    return {
        "spec": 1,
        "input": {
            "orientation": None,
            "spacing": spacing,
            "resampling": {"interpolation": "linear", "alignment": "edge", "order": "after_intensity"},
            "intensity": [
                {"op": "clip", "lower": CLIP[0], "upper": CLIP[1]},
                {"op": "standardize", "mean": MEAN, "std": STD},
            ],
        },
        "window": {"patch_size": PATCH, "patch_stride": [p // 2 for p in PATCH]},
        "output": {"labels": [{"value": k, "name": f"organ {k}"} for k in range(1, CLASSES)]},
    }


def fixed_onnx(folder: Path) -> None:
    """itkit takes networks of fixed size only, with a window of intensities in the metadata."""
    import onnx

    model = onnx.load(folder / "network.onnx")
    for item in (model.graph.input[0], model.graph.output[0]):
        item.type.tensor_type.shape.dim[0].dim_value = 1
    for key, value in (("window_level", (CLIP[0] + CLIP[1]) / 2), ("window_width", CLIP[1] - CLIP[0])):
        model.metadata_props.add(key=key, value=str(int(value)))
    onnx.save(model, folder / "fixed.onnx")


def write_nnunet(folder: Path, state: dict, features: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    """Folder of a trained nnU-Net, as its training leaves it."""
    import torch

    stages = len(features)
    resample = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": PATCH,
        "median_image_size_in_voxels": PATCH,
        "spacing": spacing,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resample,
        "resampling_fn_seg_kwargs": {**resample, "is_seg": True},
        "resampling_fn_probabilities_kwargs": resample,
        "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": stages,
                "features_per_stage": features,
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3]] * stages,
                "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
                "n_conv_per_stage": [2] * stages,
                "n_conv_per_stage_decoder": [2] * (stages - 1),
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    statistics = {"mean": MEAN, "std": STD, "percentile_00_5": CLIP[0], "percentile_99_5": CLIP[1]}
    plans = {
        "dataset_name": "Dataset001_Bench",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": PATCH,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": statistics},
    }
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{f"organ {k}": k for k in range(1, CLASSES)}},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans, indent=1))
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1))
    checkpoint = {
        "network_weights": state,
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def references(net, path: Path) -> dict[str, np.ndarray]:
    """Labels by torch windows in fp32 and everything else in float64, with scipy; (Z, Y, X) uint8.

    By the weights of nnU-Net, and by those of the others.
    """
    import SimpleITK as sitk
    from scipy.ndimage import zoom

    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    clean = (np.clip(array.astype(np.float64), *CLIP) - MEAN) / STD
    coarse = zoom(clean, 0.5, order=1, mode="nearest", grid_mode=True).astype(np.float32)
    found = {}
    for kind, logits in blended(net, coarse, CLASSES, ("exact", "nnunet")).items():
        best, labels = np.full(array.shape, -np.inf), np.zeros(array.shape, np.uint8)
        for channel in range(CLASSES):
            fine = zoom(logits[channel], 2, order=1, mode="nearest", grid_mode=True)
            labels[fine > best] = channel
            np.maximum(best, fine, out=best)
        found[kind] = labels
    return found


def make_fine(folder: Path, ct: Path) -> None:
    import torch

    path = folder / "images" / "case_0000.nii.gz"
    spacing = tuple(2 * s for s in image(ct / "example_ct.nii.gz", FINE, path))
    weights = folder / "network.pth"
    if weights.exists():
        net = network(CLASSES)
        net.load_state_dict(torch.load(weights))
    else:
        net = trained(ct / "example_ct_sm.nii.gz", ct / "example_seg.nii.gz", CLASSES, spacing)
        torch.save(net.state_dict(), weights)
    write_model(folder, net, FEATURES, spacing)
    for kind, labels in references(net, path).items():
        np.save(folder / f"reference_{kind}.npy", labels)


def make_deep(folder: Path, ct: Path, depths: list[int]) -> None:
    net = network(CLASSES, SMALL)
    for depth in depths:
        here = folder / str(depth)
        spacing = image(ct / "example_ct.nii.gz", (depth, *PLANE), here / "images" / "case_0000.nii.gz")
        write_model(here, net, SMALL, spacing)


def main() -> None:
    folder, ct, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "fine":
        make_fine(folder, ct)
    else:
        make_deep(folder, ct, [int(word) for word in sys.argv[4:]])
    print("{}")


if __name__ == "__main__":
    main()
