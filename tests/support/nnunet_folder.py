"""Small model folders of nnU-Net, in the form in which its training leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LEFT_OUT = "left out"  # in place of a value: the key is not written
DATASET = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "left": 1, "right": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
    "name": "Dataset001_Small",
}
RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def configuration(dims: int = 3, **changed: Any) -> dict[str, Any]:
    """One configuration, in the form with ``architecture``."""
    content = {
        "data_identifier": "nnUNetPlans",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8, 16, 12][-dims:],
        "median_image_size_in_voxels": [9.0, 20.0, 15.5][-dims:],
        "spacing": [2.0, 1.5, 1.25][-dims:],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
        "architecture": architecture(dims),
        "batch_dice": False,
    }
    return {key: value for key, value in {**content, **changed}.items() if value is not LEFT_OUT}


def architecture(dims: int = 3, name: str = "PlainConvUNet", **changed: Any) -> dict[str, Any]:
    arch_kwargs = {
        "n_stages": 2,
        "features_per_stage": [4, 6],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [[3] * dims] * 2,
        "strides": [[1] * dims, [2] * dims],
        ("n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"): [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": {key: value for key, value in {**arch_kwargs, **changed}.items() if value is not LEFT_OUT},
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def older_configuration(dims: int = 3, **changed: Any) -> dict[str, Any]:
    """The same network in the form without ``architecture``."""
    older = {
        "architecture": LEFT_OUT,
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 6,
        "n_conv_per_stage_encoder": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "num_pool_per_axis": [1] * dims,
        "pool_op_kernel_sizes": [[1] * dims, [2] * dims],
        "conv_kernel_sizes": [[3] * dims] * 2,
    }
    return configuration(dims, **{**older, **changed})


def plans(configurations: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    content = {
        "dataset_name": "Dataset001_Small",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": configurations or {"3d_fullres": configuration()},
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 40.0, "std": 20.0, "percentile_00_5": -30.0, "percentile_99_5": 110.0, "max": 900.0}
        },
    }
    return {key: value for key, value in {**content, **changed}.items() if value is not LEFT_OUT}


def random_state(
    about: dict[str, Any], dims: int = 3, inputs: int = 1, outputs: int = 3, seed: int = 0
) -> dict[str, Any]:
    """Weights of a network, with the second names under which nnU-Net lists its convolutions and its encoder."""
    import torch

    from itk_infer.model.kinds.nnunet.architecture import read_architecture
    from itk_infer.model.kinds.nnunet.json_block import JsonBlock
    from itk_infer.model.kinds.nnunet.networks import UNet

    torch.manual_seed(seed)
    network = UNet(read_architecture(JsonBlock({"architecture": about}, "test"), dims), inputs, outputs)
    listed = {}
    for name, value in network.state_dict().items():
        listed[name] = value
        for layer, place in ((".conv.", ".all_modules.0."), (".norm.", ".all_modules.1.")):
            if layer in name:
                listed[name.replace(layer, place)] = value
    encoder = {f"decoder.{name}": value for name, value in listed.items() if name.startswith("encoder.")}
    return {**listed, **encoder}


def checkpoint(
    state: Mapping[str, Any],
    *,
    name: str = "3d_fullres",
    plans: Any = None,
    dataset: Any = None,
    axes: Any = (0, 1, 2),
    trainer: str = "nnUNetTrainer",
    **more: Any,
) -> dict[str, Any]:
    """As nnU-Net saves it, with NumPy numbers among the records of training."""
    import torch

    return {
        "network_weights": dict(state),
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": {"train_losses": [np.float32(-0.5)], "mean_fg_dice": [np.float64(0.7)]},
        "_best_ema": np.float32(0.7),
        "current_epoch": 3,
        "init_args": {
            "plans": plans,
            "configuration": name,
            "fold": 0,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        },
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": axes,
        **more,
    }


def write_model(
    root: Path,
    folds: Sequence[str] = ("0",),
    kinds: Sequence[str] = ("final",),
    *,
    plan: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    json_files: bool = True,
    name: str = "3d_fullres",
    state: Mapping[str, Any] | None = None,
    **saved: Any,
) -> Path:
    """A whole model folder; each fold has weights of its own."""
    import torch

    plan, dataset = plan or plans(), dataset or DATASET
    root.mkdir(parents=True, exist_ok=True)
    for number, fold in enumerate(folds):
        (root / f"fold_{fold}").mkdir()
        weights = state if state is not None else random_state(architecture(), seed=number)
        for kind in kinds:
            content = checkpoint(weights, plans=plan, dataset=dataset, name=name, **saved)
            torch.save(content, root / f"fold_{fold}" / f"checkpoint_{kind}.pth")
    if json_files:
        (root / "plans.json").write_text(json.dumps(plan))
        (root / "dataset.json").write_text(json.dumps(dataset))
    return root
