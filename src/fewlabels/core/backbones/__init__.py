"""Backbones: torchvision's and timm's models without their classifier, and an MLP for points.

A backbone is a plain `torch.nn.Module` that maps a normalised batch to embeddings [B, dim]. Its attributes describe its
input and output: `dim`, `size` (pixels, None for points), `channels`, `mean` and `std`.
"""

from fewlabels.core.backbones.backbone import Backbone
from fewlabels.core.backbones.blocks import blocks, is_mobile, layers
from fewlabels.core.backbones.points import mlp
from fewlabels.core.backbones.timm_models import timm_model
from fewlabels.core.backbones.torchvision_models import SMALL_IMAGE, vision

__all__ = ["SMALL_IMAGE", "Backbone", "blocks", "is_mobile", "layers", "mlp", "timm_model", "vision"]
