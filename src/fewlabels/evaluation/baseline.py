"""The network before training, which every evaluation compares with."""

import copy
import logging
from typing import Any

import numpy as np

from fewlabels.core.atomic_io import spelled
from fewlabels.core.backbones import Backbone
from fewlabels.core.checkpoints import load_backbone_weights, read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule
from fewlabels.evaluation.result import TRAINED
from fewlabels.probing.embeddings import calibrate_batch_norms, extract
from fewlabels.probing.probes import linear_accuracy
from fewlabels.training.build import build_backbone

log = logging.getLogger(__name__)
RANDOM_INIT = "random init"
CALIBRATION_BATCHES = 8
PROBED = 1000


def name_network(checkpoint: dict[str, Any]) -> str:
    """What a checkpoint's network is: "pretrained", or if it was never trained "imagenet weights", "random weights"."""
    if checkpoint["global_step"]:
        return TRAINED
    return f"{checkpoint['fewlabels']['config']['backbone'].get('weights') or 'random'} weights"


def build_baseline(
    config: dict[str, Any], backbone: Backbone, data: DataModule, *, trained: bool
) -> tuple[Backbone, str]:
    """The network that training began with, in eval mode, and what it is called.

    A random network has two baselines: with the batch norms' initial statistics, and with batch norms that are
    calibrated on at most `CALIBRATION_BATCHES` batches of training samples, without labels. Either can be weaker by ten
    points, so the stronger is taken; see `stronger`.

    Args:
        config: Of the run.
        backbone: With its initial weights, changed in place.
        data: The data module, set up.
        trained: Whether the run trained the network. If not, pretrained weights are compared with random ones, not with
            themselves.

    Returns:
        It, and "random init", "imagenet weights" (or others, by name), or "start of finetuning: NAME".
    """
    if start := config.get("checkpoint"):
        try:
            checkpoint, path = read_checkpoint(start)
            load_backbone_weights(backbone, checkpoint, path)
        except UserError as error:
            log.warning("The baseline is a random network, since the start of the finetuning is gone. %s", error)
        else:
            name = path.parent.parent.name if path.parent.name == "checkpoints" else path.stem
            return backbone.eval(), f"start of finetuning: {spelled(name)}"
    elif weights := config["backbone"].get("weights"):
        if trained:
            return backbone.eval(), f"{spelled(weights)} weights"
        backbone = build_backbone(config["backbone"] | {"weights": None}, data).to(next(backbone.parameters()).device)
    rows = np.random.default_rng(0).permutation(data.indices("train"))
    device = next(backbone.parameters()).device
    loader = data.loader(rows[: CALIBRATION_BATCHES * data.batch_size])
    initial = copy.deepcopy(backbone)
    calibrate_batch_norms(backbone, (backbone.normalise(batch.x.to(device)) for batch in loader))
    return stronger(backbone, initial, data).eval(), RANDOM_INIT


def stronger(one: Backbone, other: Backbone, data: DataModule) -> Backbone:
    """The network whose linear probe, trained on half of the labelled training samples, classifies more of the others.

    Test samples are not looked at. `one` if both are equal, or if there are too few labels.
    """
    rows = np.random.default_rng(0).permutation(data.labelled())[:PROBED]
    if len(rows) < 2:
        return one
    device = next(one.parameters()).device

    def accuracy(network: Backbone) -> float:
        halves = (data.loader(rows[::2]), data.loader(rows[1::2]))
        parts = [extract(lambda x: network(network.normalise(x)), half, network, device) for half in halves]
        return linear_accuracy(*parts)

    return other if accuracy(other) > accuracy(one) else one
