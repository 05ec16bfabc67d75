"""The loops that need torch; each is run in a process of its own: python benchmarks/_loops.py NAME JSON.

The last line on standard output is what the function returned, as JSON.
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
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms

from fewlabels.backbones import vision
from fewlabels.data.decode import decode
from fewlabels.data.folder import scan_folder
from fewlabels.experiment import precision
from fewlabels.losses import nt_xent
from fewlabels.methods.heads import projection_head
from fewlabels.optim import Recipe
from fewlabels.views import RandomViews

CONF = Path(__file__).parents[1] / "conf"
SIZE = 64  # pixels
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def conf(name: str, *keys: str) -> Any:
    """Values of a configuration file, so that both sides are measured with what the program uses."""
    node: Any = OmegaConf.load(CONF / name)
    picked = {key: OmegaConf.to_container(node[key]) if OmegaConf.is_config(node[key]) else node[key] for key in keys}
    for value in picked.values():
        if isinstance(value, dict):
            value.pop("_target_", None)
    return [picked[key] for key in keys]


def machine() -> dict[str, Any]:
    """What torch finds here."""
    auto = precision({"precision": "auto", "accelerator": "auto"})
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else None
    return {
        "torch": torch.__version__,
        "precision": auto,
        "threads": torch.get_num_threads(),
        "gpu": name,
        "gpus": torch.cuda.device_count(),
    }


def autocast() -> Any:
    """The precision that `trainer.precision=auto` means here."""
    if precision({"precision": "auto", "accelerator": "auto"}) == "bf16-mixed":
        return torch.autocast(DEVICE.type, torch.bfloat16)
    return contextlib.nullcontext()


def rate(step: Callable[[], None], images: int, steps: int, warm_up: int = 1) -> float:
    """Images per second over `steps` calls, each of `images`; one to warm up, as the program's own count has it."""
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
    """Train on one batch of random numbers that lies on the device: nothing but network, loss and optimiser."""
    temperature, head, recipe = conf("method/simclr.yaml", "temperature", "head", "optimizer")
    backbone = vision(name="resnet18", channels=3, size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = nn.Sequential(backbone, projection_head(inputs=backbone.dim, **head))
    network = network.to(DEVICE, memory_format=torch.channels_last).train()
    optimizer, scheduler = Recipe(**recipe).build(
        network, global_batch=batch, steps_per_epoch=steps + 1, total_steps=steps + 1
    )
    x = torch.randn(2 * batch, 3, SIZE, SIZE, device=DEVICE).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            loss = nt_xent(*network(x).chunk(2), temperature)
        loss.backward()
        optimizer.step()
        scheduler.step()

    return rate(step, batch, steps)


def lightly(images: str, batch: int, steps: int) -> float:
    """Train as lightly documents SimCLR in plain torch, with its own data set, views, head, loss and optimiser."""
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
    """Views per second on one core, from decoded images to normalised tensors: ours, and torchvision's on PIL."""
    torch.set_num_threads(1)
    settings, mean, std = conf("data/_images.yaml", "views", "mean", "std")
    x = torch.from_numpy(_decoded(images, batch))
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in x]
    draw, generator = RandomViews(**settings), torch.Generator().manual_seed(0)
    normalise = vision(name="resnet18", channels=3, size=SIZE, mean=mean, std=std).normalise
    pipeline = _pipeline(settings, mean, std)
    sides: dict[str, Callable[[], Any]] = {
        "ours": lambda: normalise(draw(x, generator)),
        "torchvision": lambda: torch.stack([pipeline(picture) for picture in pictures]),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            found[name].append(_lasting(side, batch, seconds))
    return found


def _lasting(side: Callable[[], Any], batch: int, seconds: float) -> float:
    """Views per second over at least so many seconds, after one batch to warm up."""
    side()
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not count:
        side()
        count += batch
    return count / passed


def _decoded(images: str, count: int) -> np.ndarray:
    paths = [path for path, _, _ in scan_folder(images)]
    out = np.zeros((count, 3, SIZE, SIZE), np.uint8)
    for row, path in zip(out, itertools.cycle(paths), strict=False):
        decode(f"{images}/{path}", row, "crop")
    return out


def _pipeline(settings: dict[str, Any], mean: Any, std: Any) -> Any:
    """The transforms of torchvision on PIL images, drawing as `RandomViews(**settings)` does."""
    default = {"ratio": (3 / 4, 4 / 3), "horizontal_flip": 0.5, "jitter": 0.8, "sigma": (0.1, 2.0)}
    s = default | settings
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
