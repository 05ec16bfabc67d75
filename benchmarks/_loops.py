"""Training loops and views; each function runs in its own process: python benchmarks/_loops.py NAME JSON.

JSON are its arguments. The last line on standard output is what it returns, as JSON.
"""

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms

from fewlabels.cli.app import compose_config
from fewlabels.core.backbones import vision
from fewlabels.core.losses import nt_xent
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.image_store.decode import Decoding, decode
from fewlabels.data.image_store.folder import scan_folder
from fewlabels.methods.projection_head import projection_head
from fewlabels.methods.views import RandomViews
from fewlabels.training.build import resolve_precision

SIZE = 64  # pixels
AUTO = {"precision": "auto", "accelerator": "auto"}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def settings(group: str) -> dict[str, Any]:
    """A config group of the program for SimCLR on flowers, so that both sides have the same settings."""
    return dict(compose_config("method=simclr", "data=flowers")[group])


def arguments_of(node: dict[str, Any]) -> dict[str, Any]:
    """A node without its `_target_`."""
    return {name: value for name, value in node.items() if name != "_target_"}


def machine() -> dict[str, Any]:
    """The machine, as torch sees it."""
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else None
    return {
        "torch": torch.__version__,
        "precision": resolve_precision(AUTO),
        "threads": torch.get_num_threads(),
        "gpu": name,
        "gpus": torch.cuda.device_count(),
    }


def autocast() -> Any:
    """A context with the precision that `trainer.precision=auto` chooses on this machine."""
    if resolve_precision(AUTO) == "bf16-mixed":
        return torch.autocast(DEVICE.type, torch.bfloat16)
    return contextlib.nullcontext()


def rate(step: Callable[[], None], images: int, steps: int, warm_up: int = 1) -> float:
    """Images per second over `steps` calls with `images` each, after `warm_up` calls.

    One call to warm up is what the program's own measurement leaves out.
    """
    for _ in range(warm_up):
        step()
    _wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _wait()
    return images * steps / (time.perf_counter() - start)


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def bare(batch: int, steps: int) -> float:
    """Images per second of a loop of network, loss and optimizer only, on one random batch on the device."""
    method = settings("method")
    backbone = vision(name="resnet18", channels=3, size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = nn.Sequential(backbone, projection_head(inputs=backbone.dim, **method["head"]))
    network = network.to(DEVICE, memory_format=torch.channels_last).train()
    optimizer, scheduler = OptimizerConfig(**arguments_of(method["optimizer"])).build(
        network, global_batch=batch, steps_per_epoch=steps + 1, total_steps=steps + 1
    )
    x = torch.randn(2 * batch, 3, SIZE, SIZE, device=DEVICE).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            loss = nt_xent(*network(x).chunk(2), method["temperature"])
        loss.backward()
        optimizer.step()
        scheduler.step()

    return rate(step, batch, steps)


def lightly(images: str, batch: int, steps: int) -> float:
    """Images per second of lightly's SimCLR example in plain torch: its dataset, views, head, loss and optimizer."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms.simclr_transform import SimCLRTransform

    body = models.resnet18()
    body.fc = nn.Identity()
    network = nn.Sequential(body, SimCLRProjectionHead(512, 512, 128)).to(DEVICE)
    data = LightlyDataset(images, transform=SimCLRTransform(input_size=SIZE))
    loader = DataLoader(data, batch_size=batch, shuffle=True, drop_last=True, num_workers=2)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    criterion, optimizer = NTXentLoss(), torch.optim.SGD(network.parameters(), lr=0.06)

    def step() -> None:
        first, second = next(batches)[0]
        with autocast():
            loss = criterion(network(first.to(DEVICE)), network(second.to(DEVICE)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return rate(step, batch, steps, warm_up=3)


def views(images: str, batch: int, repeats: int, seconds: float) -> dict[str, list[float]]:
    """Views per second on one core, from decoded image to normalised tensor: ours, and torchvision's on PIL images."""
    torch.set_num_threads(1)
    data = settings("data")
    augmentation, mean, std = arguments_of(data["views"]), data["mean"], data["std"]
    x = torch.from_numpy(_decoded(images, batch))
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in x]
    draw, generator = RandomViews(**augmentation), torch.Generator().manual_seed(0)
    normalise = vision(name="resnet18", channels=3, size=SIZE, mean=mean, std=std).normalise
    pipeline = _pipeline(augmentation, mean, std)
    sides: dict[str, Callable[[], Any]] = {
        "ours": lambda: normalise(draw(x, generator)),
        "torchvision": lambda: torch.stack([pipeline(picture) for picture in pictures]),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            rates[name].append(_views_per_second(side, batch, seconds))
    return rates


def _views_per_second(side: Callable[[], Any], batch: int, seconds: float) -> float:
    """Views per second, measured for at least `seconds`, after one batch to warm up."""
    side()
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not count:
        side()
        count += batch
    return count / passed


def _decoded(images: str, count: int) -> np.ndarray:
    """Decode images of a folder, uint8 [count, 3, SIZE, SIZE], from the first again when they run out."""
    paths = [path for path, _, _ in scan_folder(images).files]
    out = np.zeros((count, 3, SIZE, SIZE), np.uint8)
    for row, path in zip(out, itertools.cycle(paths), strict=False):
        with Path(images, path).open("rb") as file:
            decode(file, row, Decoding("crop"))
    return out


def _pipeline(augmentation: dict[str, Any], mean: Any, std: Any) -> Any:
    """Torchvision's transforms of PIL images with the distributions of `RandomViews(**augmentation)`."""
    default = {"ratio": (3 / 4, 4 / 3), "horizontal_flip": 0.5, "jitter": 0.8, "sigma": (0.1, 2.0)}
    s = default | augmentation
    colour = transforms.ColorJitter(s["brightness"], s["contrast"], s["saturation"], s["hue"])
    return transforms.Compose([
        transforms.RandomResizedCrop(SIZE, scale=tuple(s["scale"]), ratio=tuple(s["ratio"])),
        transforms.RandomHorizontalFlip(s["horizontal_flip"]),
        transforms.RandomApply([colour], p=s["jitter"]),
        transforms.RandomGrayscale(p=s["grey"]),
        transforms.RandomApply([transforms.GaussianBlur(7, tuple(s["sigma"]))], p=s["blur"]),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ])  # fmt: skip


if __name__ == "__main__":
    loops = {"machine": machine, "bare": bare, "lightly": lightly, "views": views}
    print(json.dumps(loops[sys.argv[1]](**json.loads(sys.argv[2]))))
