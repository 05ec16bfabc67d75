"""Time to quality: python benchmarks/time_to_quality.py FOLDER [--unseen A,B,C] [--minutes 20] [--arms NAME ...].

Seconds of training until a linear probe with 90 labels of classes that no network was trained on (mean of 10 random
draws, balanced accuracy) passes 80, 85, 90 and 92%. The clock runs from the first line of an arm, with the loading of
weights and the decoding of images, and stands still while a probe is measured: before the first step and every minute.
Arms, one after another, each for --minutes at most:

scratch            SimCLR from random weights, this project's defaults (ResNet-18, 64 px)
imagenet           ImageNet weights, EfficientNet-Lite0 at 160 px, without training
imagenet+simclr    SimCLR from these weights, experiment=simclr_imagenet
lightly            the SimCLR example of lightly from random weights: its dataset, views, head, loss and optimizer
                   (ResNet-18, 64 px), in the precision of `scratch`
lightly+imagenet   the same from ImageNet weights (EfficientNet-Lite0, 96 px)

All values are written to build/time_to_quality.json. Nothing else should run on the machine.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from _loops import autocast
from fewlabels.cli.app import compose_config
from fewlabels.core.backbones import Backbone, timm_model, vision
from fewlabels.core.distributed import keep_freed_memory
from fewlabels.core.interfaces import DataModule, is_images
from fewlabels.data.splits.assignment import halve
from fewlabels.evaluation.embed import embed_rows
from fewlabels.probing.label_efficiency import few_label_accuracy
from fewlabels.training.build import build_backbone, build_data, build_experiment
from fewlabels.training.fit import fit
from fewlabels.training.loggers import silence_libraries

UNSEEN = ",".join(
    ["hydromedusae_shapeA", "hydromedusae_haliscera", "tunicate_partial", "tunicate_salp", "detritus_filamentous",
     "detritus_blob", "copepod_calanoid_large", "radiolarian_chain", "appendicularian_straight"]
)  # fmt: skip
LEVELS = (80, 85, 90, 92)
LABELS, DRAWS = 90, 10
EVERY = 60.0
"""Seconds of training between two probes."""
IMAGENET = ["backbone=efficientnet_lite0", "backbone.weights=imagenet", "data.size=160"]
BARE = ["trainer.limit_val_batches=0", "trainer.limit_test_batches=0", "callbacks.probes=null", "callbacks.best=null",
        "callbacks.representation_quality=null", "callbacks.embedding_plots=null"]  # fmt: skip
"""Without validation and figures, which the loop in plain torch does not have either."""
RGB = {"channels": 3, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class Clock(Callback):
    """Measures accuracy during training; its own time does not count.

    Attributes:
        curve: (seconds of training, balanced accuracy in %) of every probe.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.curve = limit, list[tuple[float, float]]()
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return time.monotonic() - self.start

    def probe(self, backbone: Backbone, data: DataModule) -> None:
        """Measure and record the accuracy."""
        now, training = self.seconds, backbone.training
        accuracy = quality(backbone.eval(), data)
        backbone.train(training)
        self.curve.append((round(now, 1), round(accuracy, 2)))
        print(f"  {now:6.0f} s  {accuracy:.1f}%", flush=True)
        self.start = time.monotonic() - now

    def due(self) -> bool:
        """Whether the next probe is due."""
        return self.seconds - (self.curve[-1][0] if self.curve else 0) >= EVERY

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe the network as it is before training."""
        self.probe(pl_module.backbone, trainer.datamodule)  # type: ignore[arg-type, attr-defined]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Probe every `EVERY` seconds; stop at the limit."""
        if self.due():
            self.probe(pl_module.backbone, trainer.datamodule)  # type: ignore[arg-type, attr-defined]
        trainer.should_stop |= self.seconds >= self.limit


def quality(backbone: Backbone, data: DataModule) -> float:
    """Balanced accuracy in % of the linear probe on the unseen classes."""
    assert is_images(data)
    pool, test = (embed_rows(backbone, data, rows) for rows in halve(data.keys, data.indices("unseen")))
    return 100 * float(few_label_accuracy(pool, test, probe="linear", labels=LABELS, repeats=DRAWS).mean())


def ours(overrides: list[str], clock: Clock, scratch: Path) -> None:
    """SimCLR of this project; without training if `trainer.max_epochs=0`."""
    config = compose_config("method=simclr", *overrides, "logger=csv", *BARE)
    if config["trainer"]["max_epochs"] == 0:
        data = build_data(config["data"])
        data.setup()
        clock.probe(build_backbone(config["backbone"], data).eval(), data)
        return
    experiment = build_experiment(config, scratch)
    experiment.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    fit(config, experiment, scratch)
    clock.probe(experiment.method.backbone, experiment.data)


def lightly(overrides: list[str], clock: Clock, scratch: Path, *, weights: bool) -> None:
    """SimCLR as in lightly's example, in plain torch, on links to the training images."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms.simclr_transform import SimCLRTransform

    size = 96 if weights else 64
    data = build_data(compose_config("method=simclr", *overrides, "data.channels=3", f"data.size={size}")["data"])
    data.setup()
    for row in data.indices("train"):
        (scratch / f"{row}{Path(data.paths[row]).suffix}").symlink_to(Path(str(data.root)).absolute() / data.paths[row])
    options = {"size": size} | RGB
    backbone = (timm_model(name="tf_efficientnet_lite0", weights="imagenet", **options) if weights
                else vision(name="resnet18", **options))  # fmt: skip
    network = nn.Sequential(backbone, SimCLRProjectionHead(backbone.dim, 512, 128)).train()
    mean, std = list(backbone.mean), list(backbone.std)
    transform = SimCLRTransform(input_size=size, normalize={"mean": mean, "std": std})
    loader = DataLoader(LightlyDataset(str(scratch), transform=transform), batch_size=128, shuffle=True, drop_last=True,
                        num_workers=2)  # fmt: skip
    criterion, optimizer = NTXentLoss(), torch.optim.SGD(network.parameters(), lr=0.06)
    clock.probe(backbone, data)
    for (first, second), *_ in itertools.chain.from_iterable(itertools.repeat(loader)):
        with nullcontext() if weights else autocast():
            loss = criterion(network(first), network(second))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if clock.due():
            clock.probe(backbone, data)
        if clock.seconds >= clock.limit:
            break
    clock.probe(backbone, data)


def main() -> None:
    """Run the arms; print and save the times."""
    arguments = parse()
    silence_libraries()
    keep_freed_memory()
    data = ["data=plankton", f"data.root={arguments.folder}", f"data.unseen=[{arguments.unseen}]"]
    simclr = [*data, "experiment=simclr_imagenet"]
    arms: dict[str, Callable[[Clock, Path], None]] = {
        "scratch": lambda clock, folder: ours([*data, "trainer.max_epochs=1000"], clock, folder),
        "imagenet": lambda clock, folder: ours([*data, *IMAGENET, "trainer.max_epochs=0"], clock, folder),
        "imagenet+simclr": lambda clock, folder: ours(simclr, clock, folder),
        "lightly": lambda clock, folder: lightly(data, clock, folder, weights=False),
        "lightly+imagenet": lambda clock, folder: lightly(data, clock, folder, weights=True),
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for name in arguments.arms or arms:
        print(name, flush=True)
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory(prefix="fewlabels-quality-") as folder:
            arms[name](clock := Clock(60 * arguments.minutes), Path(folder))
        found[name] = clock.curve
    print(f"{'seconds until':18}" + "".join(f"{level:>7}%" for level in LEVELS) + "    best")
    for name, curve in found.items():
        times = [next((f"{s:.0f}" for s, accuracy in curve if accuracy >= level), "–") for level in LEVELS]
        print(f"{name:18}" + "".join(f"{each:>8}" for each in times) + f"{max(a for _, a in curve):7.1f}%")
    file = Path(__file__).parents[1] / "build" / "time_to_quality.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"unseen": arguments.unseen, "curves": found}, indent=2) + "\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of greyscale images in class folders")
    parser.add_argument("--unseen", default=UNSEEN, help="classes that no arm is trained on: A,B,C (default: nine of "
                        "PlanktonSet 1.0, of middling difficulty)")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=20, help="of training, of each arm at most (default: 20)")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="see above (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
