"""Random augmentation of image batches, with an independent draw for every image, on the batch's device."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fewlabels.core.augment_kernels import background, blur_matrix, crop_matrix, recolour, rotated_crop, separable
from fewlabels.core.errors import UserError


class RandomViews(nn.Module):
    """One random view of every image: crop, flips, rotation, blur, colour jitter, noise.

    Crop, flips, colour jitter and blur follow Chen et al. 2020 (SimCLR), appendix A. Corners that a rotation leaves
    empty get the image's background, the median of its border.

    Args:
        scale: Minimum and maximum area of the crop, as fractions of the image.
        ratio: Minimum and maximum aspect ratio (width / height) of the crop.
        degrees: Maximum rotation; the angle is uniform in ± this.
        horizontal_flip: Probability of a horizontal flip.
        vertical_flip: Probability of a vertical flip.
        brightness: Maximum change; the factor is uniform in 1 ± this.
        contrast: Likewise.
        saturation: Likewise; no effect on images with one channel, and 0 if there are others than colours.
        hue: Maximum shift, uniform in ± this; 0.5 is half the colour circle.
        jitter: Probability that brightness, contrast, saturation and hue are changed.
        grey: Probability of conversion to greyscale.
        blur: Probability of a Gaussian blur.
        sigma: Minimum and maximum standard deviation of the blur, in pixels of the view.
        noise: Maximum standard deviation of Gaussian noise, for pixels in [0, 1]; drawn for every image.

    Raises:
        UserError: A range or a probability is outside its limits.
    """

    def __init__(
        self,
        *,
        scale: Sequence[float] = (0.2, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        degrees: float = 0.0,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        jitter: float = 0.8,
        grey: float = 0.2,
        blur: float = 0.5,
        sigma: Sequence[float] = (0.1, 2.0),
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        _check_ranges(scale=scale, ratio=ratio, sigma=sigma)
        _check_limits(
            1, horizontal_flip=horizontal_flip, vertical_flip=vertical_flip, jitter=jitter, grey=grey, blur=blur,
            brightness=brightness, contrast=contrast, saturation=saturation, noise=noise,
        )  # fmt: skip
        _check_limits(0.5, hue=hue)
        _check_limits(180, degrees=degrees)
        self.scale, self.ratio, self.sigma, self.degrees = tuple(scale), tuple(ratio), tuple(sigma), degrees
        self.flips = (horizontal_flip, vertical_flip)
        self.strengths = (brightness, contrast, saturation, hue)
        self.jitter, self.grey, self.blur, self.noise = jitter, grey, blur, noise

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one view of each image.

        Args:
            x: uint8 [B, C, S, S], or float in [0, 1].
            generator: On the CPU; equal states give equal views on every device.

        Returns:
            float32 [B, C, S, S] in [0, 1].

        Raises:
            UserError: There are neither one nor three channels, and saturation, hue or grey is not 0.
        """
        if x.shape[1] not in (1, 3) and ((self.jitter and any(self.strengths[2:])) or self.grey):
            raise UserError(
                f"Images of {x.shape[1]} channels have no colours to change: give data.views.saturation=0 "
                "data.views.hue=0 data.views.grey=0."
            )
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        draws = iter(torch.rand(24, len(x), generator=generator).to(x.device, non_blocking=True))
        boxes = self._boxes(draws, x.shape[-1])
        flips = [torch.where(next(draws) < p, -1.0, 1.0) for p in self.flips]
        angle = (2 * next(draws) - 1) * math.radians(self.degrees)
        blurred = next(draws) < self.blur
        sigma = self.sigma[0] + next(draws) * (self.sigma[1] - self.sigma[0])
        if self.degrees:
            x = rotated_crop(x, boxes, flips, angle)
            if self.blur:
                kernel = blur_matrix(sigma, blurred, x.shape[-1])
                x = separable(x, kernel, kernel)
        else:
            rows, columns = (crop_matrix(*boxes[d], flips[1 - d], x.shape[-1]) for d in (0, 1))
            if self.blur:
                kernel = blur_matrix(sigma, blurred, x.shape[-1])
                rows, columns = kernel @ rows, kernel @ columns
            x = separable(x, rows, columns)
        return self._change_colours(x, draws, generator)

    def _boxes(self, draws: Iterator[Tensor], size: int) -> list[tuple[Tensor, Tensor]]:
        """Draw crops in whole pixels: (start, length) of the rows, then of the columns; each [B]."""
        area = self.scale[0] + next(draws) * (self.scale[1] - self.scale[0])
        low, high = (math.log(r) for r in self.ratio)
        ratio = torch.exp(low + next(draws) * (high - low))
        boxes = []
        for length in (torch.sqrt(area / ratio), torch.sqrt(area * ratio)):
            pixels = (length * size).round().clamp(1, size)
            start = (next(draws) * (size - pixels + 1)).floor()
            boxes.append((start, pixels))
        return boxes

    def _change_colours(self, x: Tensor, draws: Iterator[Tensor], generator: torch.Generator) -> Tensor:
        change = next(draws) < self.jitter
        brightness, contrast, saturation, hue = (
            torch.where(change, (2 * next(draws) - 1) * strength, 0.0) for strength in self.strengths
        )
        greyed = next(draws) < self.grey
        if any(self.strengths) or self.grey:
            x = recolour(x, 1 + brightness, 1 + contrast, torch.where(greyed, 0.0, 1 + saturation), hue)
        if self.noise:
            seed = int(torch.randint(2**62, (), generator=generator))
            source = torch.Generator(x.device).manual_seed(seed)
            level = (next(draws) * self.noise).view(-1, 1, 1, 1)
            x = x + level * torch.randn(x.shape, generator=source, device=x.device)
        return x.clamp_(0, 1)


def _check_ranges(**ranges: Sequence[float]) -> None:
    for name, (low, high) in ranges.items():
        if not 0 < low <= high or (name == "scale" and high > 1):
            limit = ", neither above 1" if name == "scale" else ""
            raise UserError(f"data.views.{name}=[{low}, {high}]: give two positive numbers, the smaller first{limit}.")


def _check_limits(limit: float, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= limit:
            raise UserError(f"data.views.{name}={value:g}: give a number from 0 to {limit}.")


def rotations(x: Tensor, count: int) -> Tensor:
    """Every image in all its rotations (Gidaris et al. 2018, RotNet, §3.1).

    Rotations by 120° need interpolation and leave corners empty, and both would reveal the angle. All three are
    therefore blurred a little beforehand, and pixels outside the inscribed circle are replaced by the background.

    Args:
        x: [B, C, S, S].
        count: 4 (steps of 90°), 2 (180°) or 3 (120°).

    Returns:
        [count * B, C, S, S]; the i-th block of B is rotated i steps anticlockwise. With 3, uint8 becomes float
        in [0, 1].
    """
    if count != 3:
        return torch.cat([torch.rot90(x, step * 4 // count, (2, 3)) for step in range(count)])
    x = x.float() / 255 if x.dtype == torch.uint8 else x
    fill, ones = background(x), torch.ones(len(x), device=x.device)
    side = torch.linspace(-1, 1, x.shape[-1], device=x.device)
    outside = side.square() + side.square().unsqueeze(1) > 1
    kernel = blur_matrix(ones, ones.bool(), x.shape[-1])  # so that interpolation costs hardly any sharpness
    x = separable(torch.where(outside, fill, x), kernel, kernel)
    full = ones * x.shape[-1]
    rotated = [x]
    for step in (1, 2):
        angle = step * 2 * math.pi / 3 * ones
        rotated.append(rotated_crop(x, [(0 * full, full)] * 2, [ones, ones], angle, "bicubic"))
    return torch.where(outside, fill.repeat(3, 1, 1, 1), torch.cat(rotated))
