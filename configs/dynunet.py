"""The demo's task with MONAI's DynUNet instead: a config in the lazy style, sharing the spec of another."""

from mmengine.config import read_base

with read_base():
    from .hippocampus_unet import itk_infer

from monai.networks.nets import DynUNet

from itk_infer.networks import Segmentor3D

itk_infer.update(name="hippocampus_dynunet", version="0.1", licence="", description="An untrained example.")

model = dict(
    type=Segmentor3D,
    network=dict(
        type=DynUNet,
        spatial_dims=3,
        in_channels=1,
        out_channels=3,
        kernel_size=[3, 3, 3],
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        filters=[8, 16, 32],
        norm_name="instance",
    ),
)
