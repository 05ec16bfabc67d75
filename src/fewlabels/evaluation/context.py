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
from fewlabels.core.checkpoints import digest, read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule, ImageData, PointData, is_images, is_points
from fewlabels.data.splits.training_record import TrainingRecord, hold_out_test
from fewlabels.evaluation.baseline import build_baseline, name_network
from fewlabels.evaluation.partition import partition
from fewlabels.methods.base import Method
from fewlabels.probing.embeddings import Embeddings, extract, sample
from fewlabels.probing.projections import principal_components
from fewlabels.training.build import build_backbone, build_data, build_method, evaluation_data_node, training_record
from fewlabels.training.config_types import trusted_config
from fewlabels.training.provenance import provenance_values
from fewlabels.training.resume import epochs_done
from fewlabels.training.run_dir import load_results

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test", "unseen")


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
        settings: As in conf/evaluate.yaml: `repeats`, `budgets`, `probes`, `max_samples`, `seed`.
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
        return embed_rows(network, self.data, rows)

    def sample_table(self, seed: int, rows: int = 1000, components: int = 50) -> "pd.DataFrame":
        """Leading principal components of a sample, for W&B's projector: all embeddings would take it a minute."""
        import pandas as pd

        part = self.embeddings.select(sample(np.arange(len(self.embeddings)), rows, seed))
        names = np.array([*part.classes, "unlabelled"])  # label -1 indexes the last
        frame = pd.DataFrame({"path": part.paths, "split": part.splits, "class": names[part.labels]})
        projected, _ = principal_components(part.vectors, components)
        return frame.join(pd.DataFrame(projected, columns=[f"component {k + 1}" for k in range(projected.shape[1])]))


def load_context(settings: dict[str, Any]) -> EvaluationContext:
    """Load a network, the same network untrained, and its data; embed all samples, on a GPU where there is one.

    Args:
        settings: As in conf/evaluate.yaml: `run` or `checkpoint`, `data`, and the settings of the analyses.

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
    provenance = provenance_of(path, data)
    embeddings = _all_embeddings(backbone, data, path, provenance)
    pool, test, population = partition(data, embeddings.index, record)
    same_data = checkpoint["fewlabels"].get("images") == data.fingerprint and not _changed_keys(settings["data"])
    return EvaluationContext(
        data, method, name_network(checkpoint), *baseline, embeddings, pool, test, population, settings,
        results if same_data else {}, describe(checkpoint, record, data, path, results), provenance,
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


def provenance_of(path: Path, data: DataModule) -> dict[str, str]:
    """What determines the embeddings of all samples: equal values mean equal embeddings.

    Returns:
        "checkpoint" (SHA-256); of images also "store" (key of the decoded pixels) and "normalisation".
    """
    provenance = {"checkpoint": digest(path)}
    if data.store_key:
        provenance |= {"store": data.store_key, "normalisation": f"mean {list(data.mean)}, std {list(data.std)}"}
    return provenance


def _all_embeddings(backbone: Backbone, data: DataModule, path: Path, provenance: dict[str, str]) -> Embeddings:
    """Embed all samples that are in a split, or reuse the run's embeddings.parquet if its provenance is the same.

    Raises:
        UserError: Embeddings are not finite.
    """
    rows = np.sort(np.concatenate([data.indices(split) for split in SPLITS]))
    file = path.parent.parent / "embeddings.parquet"
    stored = _stored_embeddings(file, data, rows, provenance) if "store" in provenance and file.is_file() else None
    embeddings = embed_rows(backbone, data, rows) if stored is None else stored
    if broken := int((~np.isfinite(embeddings.vectors)).any(1).sum()):
        raise UserError(
            f"{path}: {broken} of {len(embeddings)} embeddings are not finite: the training diverged. Pretrain again "
            "with a lower method.optimizer.lr."
        )
    return embeddings


def _stored_embeddings(
    file: Path, data: DataModule, rows: NDArray[np.int64], provenance: dict[str, str]
) -> Embeddings | None:
    """Read the embeddings of `rows` from embeddings.parquet; None if it is damaged or its provenance differs."""
    try:
        stored = Embeddings.load(file)
    except UserError as error:
        log.warning("%s Embedding all samples again.", error)
        return None
    if stored.provenance != provenance or not np.array_equal(stored.index, rows):
        return None
    log.info("Reusing %s: same checkpoint, same images.", file)
    return _with_description(Embeddings(stored.vectors, data.labels[rows], rows), data)


def embed_rows(network: Backbone, data: DataModule, rows: NDArray[np.int64]) -> Embeddings:
    """Embed rows of a data module's table, with their paths, splits and labels."""
    device = next(network.parameters()).device
    return _with_description(extract(lambda x: network(network.normalise(x)), data.loader(rows), network, device), data)


def _with_description(embeddings: Embeddings, data: DataModule) -> Embeddings:
    """The same embeddings with the paths, splits and class names of a data module."""
    split_of = np.full(len(data.labels), "", dtype="<U6")
    for split in SPLITS:
        split_of[data.indices(split)] = split
    return embeddings.described([data.paths[row] for row in embeddings.index], split_of[embeddings.index], data.classes)


def describe(
    checkpoint: dict[str, Any], record: TrainingRecord | None, data: DataModule, path: Path, results: dict[str, float]
) -> dict[str, Any]:
    """What was trained, on what and for how long, and on what it is evaluated, by name."""
    config, trained = checkpoint["fewlabels"]["config"], checkpoint["fewlabels"]["backbone"]
    content, samples = "synthetic points", f"{record.samples:,}" if record else "an unknown number of"
    if is_images(data):
        content = f"images of {data.size} px, {'SYNTHETIC' if data.synthetic else data.root or f'data/{data.name}'}"
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
