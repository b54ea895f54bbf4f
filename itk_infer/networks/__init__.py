"""Networks, loss, metric and data set for MMEngine configs; importing this package registers them.

Needs torch and MMEngine, so only modules that need them anyway import it.
"""

from itk_infer.networks import monai
from itk_infer.networks.dice import DiceCrossEntropy, MeanDice
from itk_infer.networks.segmentor3d import Segmentor3D
from itk_infer.networks.unet3d import UNet3D
from itk_infer.networks.volume_folder import VolumeFolder

__all__ = ["DiceCrossEntropy", "MeanDice", "Segmentor3D", "UNet3D", "VolumeFolder", "monai"]
