"""The network under evaluation, its data, and the embeddings of all samples."""

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray

from fewlabels.core.backbones import Backbone
from fewlabels.core.checkpoints import read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule, ImageData, PointData, is_images, is_points
from fewlabels.data.splits.training_record import TrainingRecord, hold_out_test
from fewlabels.evaluation.baseline import build_baseline, name_network
from fewlabels.evaluation.embed import SPLITS, embed_rows, stored_or_embedded
from fewlabels.evaluation.partition import partition
from fewlabels.methods.base import Method
from fewlabels.probing.embeddings import Embeddings, sample
from fewlabels.probing.projections import principal_components
from fewlabels.training.build import build_backbone, build_data, build_method, evaluation_data_node, training_record
from fewlabels.training.config_types import trusted_config
from fewlabels.training.provenance import provenance_values
from fewlabels.training.resume import epochs_done
from fewlabels.training.run_dir import load_results

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass
class EvaluationContext:
    """What an analysis works with.

    Attributes:
        data: The data module, set up.
        method: The trained method, in eval mode.
        network_name: What its backbone is, such as "pretrained"; see `name_network`.
        untrained: The network before this training, in eval mode; see `build_baseline`.
        start: What `untrained` is: "random init", "imagenet weights", or "start of finetuning: NAME".
        embeddings: Embeddings of all samples that are in a split, N rows.
        pool: int64 [P] rows of `embeddings` that labels are drawn from.
        test: int64 [T] rows of `embeddings` to test on; nothing is ever fitted on them.
        population: What the test samples are, such as "3 classes unseen in pretraining".
        settings: As in conf/evaluate.yaml: `repeats`, `budgets`, `probes`, `max_samples`, `seed`, `orientations`.
        results: The run's results.json; empty for other images or splits than those of the run.
        description: What was trained, on what and for how long, by name.
        provenance: What `embeddings` were computed from; see `provenance_of`.
    """

    data: DataModule
    method: Method
    network_name: str
    untrained: Backbone
    start: str
    embeddings: Embeddings
    pool: NDArray[np.int64]
    test: NDArray[np.int64]
    population: str
    settings: dict[str, Any]
    results: dict[str, float]
    description: dict[str, Any]
    provenance: dict[str, str]

    @property
    def title(self) -> str:
        """Title of the report."""
        return f"{self.description['method']} on {self.data.name}: evaluation"

    @property
    def image_data(self) -> ImageData:
        """The data module, in an analysis of images."""
        assert is_images(self.data)
        return self.data

    @property
    def point_data(self) -> PointData:
        """The data module, in an analysis of points."""
        assert is_points(self.data)
        return self.data

    @property
    def pool_embeddings(self) -> Embeddings:
        """Embeddings that labels are drawn from."""
        return self.embeddings.select(self.pool)

    @property
    def test_embeddings(self) -> Embeddings:
        """Embeddings to test on."""
        return self.embeddings.select(self.test)

    @property
    def shown(self) -> tuple[Embeddings, str]:
        """Embeddings whose images figures show, and which these are: without test images a sample of all images."""
        rows = sample(np.arange(len(self.embeddings)), self.settings["max_samples"], self.settings["seed"])
        others = self.embeddings.select(rows), "a sample of all images, since none is in the test split"
        return (self.test_embeddings, self.population) if len(self.test) else others

    def embed(self, network: Backbone, rows: NDArray[np.int64]) -> Embeddings:
        """Embed rows of the data module's table with another network, such as `untrained`."""
        return embed_rows(network, self.data, rows, self.settings["orientations"])

    def sample_table(self, seed: int, rows: int = 1000, components: int = 50) -> "pd.DataFrame":
        """Leading principal components of a sample, for W&B's projector: all embeddings would take it a minute."""
        import pandas as pd

        part = self.embeddings.select(sample(np.arange(len(self.embeddings)), rows, seed))
        names = np.array([*part.classes, "unlabelled"])  # label -1 indexes the last
        frame = pd.DataFrame(
            {"path": part.paths, "split": part.splits, "class": names[part.labels]},
            dtype=object,  # pandas' string type requires UTF-8, which file names need not be
        )
        projected, _ = principal_components(part.vectors, components)
        return frame.join(pd.DataFrame(projected, columns=[f"component {k + 1}" for k in range(projected.shape[1])]))


def load_context(settings: dict[str, Any], *, tested_only: bool = False) -> EvaluationContext:
    """Load a network, the same network untrained, and its data; embed samples, on a GPU where there is one.

    Args:
        settings: As in conf/evaluate.yaml: `run` or `checkpoint`, `data`, and the settings of the analyses.
        tested_only: Whether to embed no more than `pool` and `test`, instead of all samples.

    Raises:
        UserError: No such checkpoint, foreign code in it, unfit images, or its training diverged.
    """
    checkpoint, path = read_checkpoint(settings["run"] or settings["checkpoint"])
    results = load_results(path.parent.parent)
    config, trained = trusted_config(checkpoint, path, settings.get("trust", [])), checkpoint["fewlabels"]["backbone"]
    data = build_data(evaluation_data_node(config["data"], settings["data"], trained))
    data.setup()
    _check_input(data, trained)
    record = training_record(checkpoint, path, data)
    if record:
        record.check_unseen(data)
    hold_out_test(data, record, path)
    seed_everything(config["seed"], verbose=False)  # the initial weights
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    backbone = build_backbone(config["backbone"], data).to(device)
    baseline = build_baseline(config, copy.deepcopy(backbone), data, trained=checkpoint["global_step"] > 0)
    method = build_method(config, backbone).eval()
    if method.supervised:
        method.set_classes(names := checkpoint["fewlabels"]["classes"], [1] * len(names))
    method.load_state_dict(checkpoint["state_dict"])
    method.to(device)
    pool, test, population = partition(data, record)
    rows = np.concatenate([pool, test] if tested_only else [data.indices(split) for split in SPLITS])
    embeddings, provenance = stored_or_embedded(backbone, data, np.sort(rows), settings["orientations"], path)
    pool, test = (np.searchsorted(embeddings.index, rows) for rows in (pool, test))
    same_data = checkpoint["fewlabels"].get("images") == data.fingerprint and not _changed_keys(settings["data"])
    return EvaluationContext(
        data, method, name_network(checkpoint), *baseline, embeddings, pool, test, population, settings,
        results if same_data else {},
        describe(checkpoint, record, data, path, results, settings["orientations"]), provenance,
    )  # fmt: skip


def _changed_keys(overrides: list[str]) -> set[str]:
    """The keys of data overrides that may change which images are in which split."""
    return {override.partition("=")[0] for override in overrides} - {"data.root", "data.cache_dir", "data.batch_size"}


def _check_input(data: DataModule, trained: dict[str, Any]) -> None:
    """Check that the images are of the size and channels that the network was trained with."""
    for name in ("channels", "size"):
        if getattr(data, name) != (before := trained.get(name)):
            raise UserError(
                f"data={data.name} has {name} {getattr(data, name)}, but the network was trained with {before}. Give "
                f"data.{name}={before}, or images like those that it was trained on."
            )


def describe(
    checkpoint: dict[str, Any], record: TrainingRecord | None, data: DataModule, path: Path, results: dict[str, float],
    orientations: int,
) -> dict[str, Any]:  # fmt: skip
    """What was trained, on what and for how long, and on what it is evaluated, by name."""
    config, trained = checkpoint["fewlabels"]["config"], checkpoint["fewlabels"]["backbone"]
    content, samples = "synthetic points", f"{record.samples:,}" if record else "an unknown number of"
    if is_images(data):
        content = f"images of {data.size} px, {'SYNTHETIC' if data.synthetic else data.root or f'data/{data.name}'}"
        content += f", each embedded as the mean over {orientations} orientations" if orientations > 1 else ""
    training = f"{samples} {data.modality} of {config['data']['name']}, {epochs_done(checkpoint)} epochs"
    return {
        "method": config["method"]["name"] if checkpoint["global_step"] else name_network(checkpoint),
        "backbone": trained.get("name", "mlp"),
        "trained on": f"{training}, seed {config['seed']}" if checkpoint["global_step"] else "nothing",
        "time": f"{results['seconds'] / 60:.1f} minutes" if "seconds" in results else "unknown",
        "evaluated on": f"{data.name}, {len(data.paths):,} {content}",
        "notices": " ".join(data.notices) or "none",
        "checkpoint": path,
    } | provenance_values(path.parent.parent)
