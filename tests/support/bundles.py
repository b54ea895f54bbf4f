"""Small bundles of MONAI, written for tests."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "bundle_root": "/somewhere/else",
    "image_key": "image",
    "network_def": {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 3,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
        "norm": "batch",
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "@image_key"},
            {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
            {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
            {"_target_": "ScaleIntensityd", "keys": "@image_key"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "nearest_interp": False},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$os.path.join('a', 'b')"},
        ],
    },
    "checkpointloader": {
        "_target_": "CheckpointLoader",
        "load_path": "$@bundle_root + '/models/model.pt'",
        "load_dict": {"model": "@network"},
    },
    "device": "$torch.device('cuda')",
}
METADATA: dict[str, Any] = {
    "name": "small",
    "version": "0.1",
    "monai_version": "1.6.1",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": ["2*n", "2*n", "2*n"]}},
        "outputs": {"pred": {"num_channels": 3, "channel_def": {"0": "background", "1": "liver", "2": "spleen"}}},
    },
}


def config(**changes: Any) -> dict[str, Any]:
    """The config with other values at the top level."""
    return {**copy.deepcopy(CONFIG), **changes}


def write_bundle(
    root: Path, content: dict[str, Any] | str | None = None, metadata: dict[str, Any] | None = None
) -> Path:
    """A bundle whose weights are a few bytes; returns its folder."""
    for name in ("configs", "models"):
        (root / name).mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content or CONFIG)
    (root / "configs" / "inference.json").write_text(text, "utf-8")
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata or METADATA), "utf-8")
    (root / "models" / "model.pt").write_bytes(b"weights")
    return root
