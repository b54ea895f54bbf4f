from __future__ import annotations

import sys

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.mmengine_network import quiet_imports

torch = pytest.importorskip("torch")

ARGUMENTS = {
    "DynUNet": {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 4, 8],
    },
    "SegResNet": {"in_channels": 1, "out_channels": 2, "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "SwinUNETR": {
        "in_channels": 1,
        "out_channels": 2,
        "feature_size": 12,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 1, 1],
    },
    "UNETR": {
        "in_channels": 1,
        "out_channels": 2,
        "img_size": 32,
        "feature_size": 4,
        "hidden_size": 12,
        "mlp_dim": 12,
        "num_heads": 2,
    },
}


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_config_builds_each_by_its_name(networks, name):
    pytest.importorskip("monai")
    from mmengine.registry import MODELS

    assert name in networks.monai.NETWORKS
    with quiet_imports(), torch.no_grad():
        network = MODELS.build({"type": name, **ARGUMENTS[name]}).eval()
        assert type(network).__name__ == name
        size = (64 if name == "SwinUNETR" else 32,) * 3
        assert network(torch.zeros(1, 1, *size)).shape == (1, 2, *size)


def test_without_monai_the_error_says_what_to_install(networks, monkeypatch):
    from mmengine.registry import MODELS

    monkeypatch.setitem(sys.modules, "monai.networks", None)
    with pytest.raises(ModelError, match=r"DynUNet comes from MONAI.*pip install 'itk_infer\[monai-torch\]'"):
        MODELS.build({"type": "DynUNet"})
