"""Make a model folder of nnU-Net with a network of usual size and random weights, and an image for it.

    python -m contenders.nnunet_workload WORK

Runs where nnunetv2 is installed. Random weights take as long as trained ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

PATCH = (64, 96, 96)
IMAGE = (96, 144, 144)  # 8 windows at half overlap
FEATURES = (32, 64, 128, 256, 320)
LABELS = 4


def main() -> None:
    work = Path(sys.argv[1])
    model = work / "model"
    if (model / "fold_0" / "checkpoint_final.pth").exists():
        print(json.dumps({"made": False}))
        return
    (model / "fold_0").mkdir(parents=True, exist_ok=True)
    plans, dataset = documents()
    (model / "plans.json").write_text(json.dumps(plans, indent=1))
    (model / "dataset.json").write_text(json.dumps(dataset, indent=1))
    weights(plans, dataset, model / "fold_0" / "checkpoint_final.pth")
    image(work / "images")
    print(json.dumps({"made": True}))


def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """plans.json and dataset.json."""
    stages = len(FEATURES)
    settings = {"order": 3, "order_z": 0, "force_separate_z": None}
    resampling: dict[str, Any] = {}
    for name, order, seg in (("data", 3, False), ("seg", 1, True), ("probabilities", 1, False)):
        resampling[f"resampling_fn_{name}"] = "resample_data_or_seg_to_shape"
        resampling[f"resampling_fn_{name}_kwargs"] = {"is_seg": seg, **settings, "order": order}
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(FEATURES),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1], *([[2, 2, 2]] * (stages - 1))],
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
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(PATCH),
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        **resampling,
        "architecture": architecture,
        "batch_dice": False,
    }
    plans = {
        "dataset_name": "Dataset998_UsualSize",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},  # read, and not used
        "configurations": {"3d_fullres": configuration},
    }
    labels = {"background": 0, **{f"label {n}": n for n in range(1, LABELS + 1)}}
    return plans, {"channel_names": {"0": "MR"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}


def weights(plans: dict[str, Any], dataset: dict[str, Any], path: Path) -> None:
    """A checkpoint as nnU-Net saves it."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(0)
    about = plans["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        about["network_class_name"], about["arch_kwargs"], about["_kw_requires_import"], 1, LABELS + 1
    )
    init = {"plans": plans, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset}
    saved = {
        "network_weights": network.state_dict(),
        "optimizer_state": None,
        "init_args": init,
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(saved, path)


def image(folder: Path) -> None:
    """Blurred noise."""
    import SimpleITK as sitk

    noise = np.random.default_rng(0).normal(100, 40, IMAGE).astype(np.float32)
    blurred = sitk.DiscreteGaussian(sitk.GetImageFromArray(noise), 4.0)
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.Cast(blurred, sitk.sitkInt16), str(folder / "usual_0000.nii.gz"))


if __name__ == "__main__":
    main()
