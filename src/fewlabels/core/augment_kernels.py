"""Crops, blur, rotation and colour changes of whole batches, with separate parameters for each sample.

Cropping, resizing and Gaussian blur are separable, so a view without rotation is `rows @ image @ columns.T` with one
matrix per sample and axis: two batched matrix products. All colour changes are affine in RGB, so together they are one
3 × 3 matrix and one offset per sample.
"""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as in PIL and torchvision
TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""RGB to YIQ, whose I and Q a rotation by the hue mixes."""


def separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply each sample by one matrix along its rows and one along its columns.

    Args:
        x: float [B, C, H, W].
        rows: [B, S, H].
        columns: [B, S, W].

    Returns:
        [B, C, S, S]: rows @ x @ columns.T for every channel.
    """
    batch, channels, height, width = x.shape
    half = torch.bmm(x.reshape(batch, channels * height, width), columns.transpose(1, 2))
    half = half.view(batch * channels, height, -1)
    # Repeated explicitly: matmul with broadcasting is three times slower
    return torch.bmm(rows.repeat_interleave(channels, 0), half).view(batch, channels, len(rows[0]), -1)


def crop_matrix(start: Tensor, length: Tensor, flip: Tensor, size: int) -> Tensor:
    """Matrices [B, size, size] that crop pixels [start, start + length) along one axis and resize them to `size`.

    Bilinear as torchvision's `resized_crop`: weights 1 − |distance|, of pixels inside the crop only.

    Args:
        start: [B] first pixel of the crop.
        length: [B] pixels of the crop, at most `size`.
        flip: [B] −1 to mirror, else 1.
        size: Pixels before and after.
    """
    target = (torch.arange(size, device=start.device) + 0.5) / size - 0.5
    centre = target * flip.unsqueeze(1) + 0.5  # [B, size], in [0, 1] of the crop
    source = (centre * length.unsqueeze(1) - 0.5).clamp_(min=0)
    source = torch.minimum(source, length.unsqueeze(1) - 1) + start.unsqueeze(1)
    pixels = torch.arange(size, device=start.device)
    return (1 - (source.unsqueeze(2) - pixels).abs()).clamp_(min=0)


def blur_matrix(sigma: Tensor, blurred: Tensor, size: int) -> Tensor:
    """Matrices [B, size, size] of a Gaussian blur along one axis; the identity where `blurred` is False.

    Every row sums to one: at the border the kernel is renormalised over the pixels inside the image.

    Args:
        sigma: [B] standard deviation in pixels.
        blurred: [B] bool.
        size: Pixels along the axis.
    """
    distance = torch.arange(size, device=sigma.device)
    width = torch.where(blurred, sigma, 0.05).unsqueeze(1)  # exp(-0.5 / 0.05²) is 0 in float32: the identity
    profile = torch.exp(-distance.square() / (2 * width.square()))
    kernel = profile[:, (distance.unsqueeze(1) - distance).abs()]
    return kernel / kernel.sum(2, keepdim=True)


def shrink(x: Tensor, size: int) -> Tensor:
    """Resize images [B, C, S, S], uint8 or float in [0, 1], to float32 [B, C, size, size] in [0, 1], antialiased."""
    x = x.float() / 255 if x.dtype == torch.uint8 else x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True)


def background(x: Tensor) -> Tensor:
    """Background colour: the median over the border pixels of each image and channel, [B, C, 1, 1]."""
    border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], dim=-1)
    return border.median(dim=-1).values[..., None, None]


def rotated_crop(
    x: Tensor, boxes: Sequence[tuple[Tensor, Tensor]], flips: Sequence[Tensor], angle: Tensor, mode: str = "bilinear"
) -> Tensor:
    """Rotate about the centre of a crop and resize it; pixels outside the image get its background colour.

    Args:
        x: float [B, C, S, S].
        boxes: (start, length) in pixels, of rows, then of columns; each [B].
        flips: −1 to mirror, else 1, left–right, then up–down; each [B].
        angle: [B] radians.
        mode: Interpolation: "bilinear", or "bicubic", which is slower and sharper.
    """
    size = x.shape[-1]
    (top, height), (left, width) = boxes
    theta = x.new_zeros(len(x), 2, 3)
    sin, cos = angle.sin(), angle.cos()
    theta[:, 0, 0], theta[:, 0, 1] = cos * flips[0] * width / size, -sin * flips[1] * height / size
    theta[:, 1, 0], theta[:, 1, 1] = sin * flips[0] * width / size, cos * flips[1] * height / size
    theta[:, 0, 2], theta[:, 1, 2] = (2 * left + width) / size - 1, (2 * top + height) / size - 1
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    fill = background(x)  # grid_sample pads with zeros, so it is subtracted before and added after
    return F.grid_sample(x - fill, grid, mode=mode, align_corners=False) + fill


def recolour(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue, in this order; results may leave [0, 1].

    Args:
        x: float [B, C, H, W]; images without three channels get brightness and contrast only.
        brightness: [B] factor.
        contrast: [B] factor of the difference from the image's mean grey (of other channels: their mean).
        saturation: [B] factor of the difference from the pixel's grey; 0 gives a grey image.
        hue: [B] rotation about the grey axis in YIQ, in full turns of the colour circle.
    """
    factor = brightness * contrast
    grey = x.mean((2, 3)) @ _luma(x.device) if x.shape[1] == 3 else x.mean((1, 2, 3))
    offset = (1 - contrast) * brightness * grey
    if x.shape[1] != 3:
        return torch.addcmul(offset.view(-1, 1, 1, 1), x, factor.view(-1, 1, 1, 1))
    matrix = factor.view(-1, 1, 1) * (_hue_matrix(hue) @ _saturation_matrix(saturation))
    flat = torch.baddbmm(offset.view(-1, 1, 1), matrix, x.flatten(2))
    return flat.view_as(x)


def _saturation_matrix(saturation: Tensor) -> Tensor:
    luma = _luma(saturation.device).div(sum(LUMA)).expand(3, 3)
    s = saturation.view(-1, 1, 1)
    return s * torch.eye(3, device=s.device) + (1 - s) * luma


def _hue_matrix(hue: Tensor) -> Tensor:
    to_yiq, to_rgb = _yiq(hue.device)
    angle = 2 * math.pi * hue
    rotation = torch.zeros(len(hue), 3, 3, device=hue.device)
    rotation[:, 0, 0].fill_(1)
    rotation[:, 1, 1] = rotation[:, 2, 2] = angle.cos()
    rotation[:, 2, 1] = angle.sin()
    rotation[:, 1, 2] = -rotation[:, 2, 1]
    return to_rgb @ rotation @ to_yiq


@functools.cache  # copied to a GPU once: a copy, and an inverse, wait for all that it has to do
@torch.inference_mode(mode=False)
def _luma(device: torch.device) -> Tensor:
    return torch.tensor(LUMA, device=device)


@functools.cache
@torch.inference_mode(mode=False)
def _yiq(device: torch.device) -> tuple[Tensor, Tensor]:
    """RGB to YIQ, and back."""
    to_yiq = torch.tensor(TO_YIQ)
    return to_yiq.to(device), torch.linalg.inv(to_yiq).to(device)
