"""Build everything that a configuration names, and run it. The one place where classes are instantiated."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from fewlabels.callbacks.checkpoints import AtomicCheckpointIO, forget_optimizer
from fewlabels.callbacks.progress import Progress
from fewlabels.callbacks.speed import Speed
from fewlabels.composition import DESCRIPTION
from fewlabels.errors import UserError
from fewlabels.loading import begin_with, check_split, read_checkpoint
from fewlabels.loggers import MetricsCSV, finish_loggers, quieten
from fewlabels.methods.base import Method
from fewlabels.resuming import check_resumable, last_checkpoint
from fewlabels.rundir import save_config, save_results
from fewlabels.typecheck import check_types
from fewlabels.words import announce, in_words

log = logging.getLogger(__name__)


class Experiment(NamedTuple):
    """What a run consists of."""

    datamodule: Any
    method: Method
    trainer: Trainer


def train(config: dict[str, Any], directory: Path) -> None:
    """Train as `config` says, or go on with it, and leave a complete run directory.

    Args:
        config: Resolved, in plain containers: of pretraining, or of finetuning, which has a `checkpoint` to begin with.
        directory: The run directory.

    Raises:
        UserError: Whatever the person can put right, see the constructors.
    """
    quieten()
    experiment = build(config, directory)
    datamodule, method, trainer = experiment
    datamodule.train_dataloader()  # a batch larger than the data shows before anything is written,
    if (size := datamodule.batch_size) < (least := method.least_batch):  # and so does one that is too small
        raise UserError(
            f"data.batch_size={size}: method={config['method']['called']} compares the images of a batch with each "
            f"other, so give at least {least} per device; 64 or more learn better."
        )
    if "checkpoint" in config and not len(datamodule.val_dataloader()):
        raise UserError(
            "data.val_fraction: finetuning chooses its weights on validation images; give some, such as 0.1."
        )
    try:
        metrics = fit(config, experiment, directory)
    except BaseException:
        finish_loggers(trainer.loggers, exit_code=1)
        raise
    last = directory / "checkpoints" / "last.ckpt"
    if trainer.is_global_zero:
        save_results(metrics, directory)
        if "checkpoint" in config and last.is_file():  # comparisons make many finetunings
            forget_optimizer(last)
        for line in in_words(metrics, directory, synthetic=datamodule.synthetic, longer="checkpoint" not in config):
            log.info(line)
    finish_loggers(trainer.loggers, 0, last)


def fit(config: dict[str, Any], experiment: Experiment, directory: Path) -> dict[str, float]:
    """Train, then look at the test part once, with the best weights if they were chosen; all metrics by name."""
    datamodule, method, trainer = experiment
    resume = last_checkpoint(directory) if config["resume"] else None
    if resume:
        checkpoint, _ = read_checkpoint(resume)
        check_resumable(checkpoint, directory, wanted=trainer.max_epochs or -1, images=method.fingerprint)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.resume(checkpoint["global_step"])
    if trainer.is_global_zero:
        save_config(config, directory)
        announce(config, datamodule, method, trainer, resume)
    trainer.fit(method, datamodule, ckpt_path=resume, weights_only=True)
    metrics = numbers(trainer)
    if len(datamodule.indices("test")):
        best = directory / "checkpoints" / "best.ckpt"
        chosen = best if "checkpoint" in config and best.is_file() else None  # callbacks.best=null: the last weights
        trainer.test(method, datamodule, ckpt_path=chosen, verbose=False, weights_only=True)
        metrics |= numbers(trainer) | (at_best(trainer) if chosen and trainer.is_global_zero else {})
    clocks = [c for c in trainer.callbacks if isinstance(c, Speed)]  # type: ignore[attr-defined]
    seconds = clocks[0].seconds if clocks else 0.0
    return metrics | {"epochs": trainer.current_epoch, "seconds": seconds, "seed": config["seed"]}


def at_best(trainer: Trainer) -> dict[str, float]:
    """What validation said of the weights that were chosen, by name; the first process alone has it written down."""
    best = next(c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint))
    monitor, first = str(best.monitor), max if best.mode == "max" else min
    chosen = first((row for row in logged(trainer) if monitor in row), key=lambda row: float(row[monitor]))
    return {name: float(value) for name, value in chosen.items() if name.startswith("val/")}


def numbers(trainer: Trainer) -> dict[str, float]:
    """The latest value of everything that was logged, before a resumption too."""
    found = {name: float(value) for row in logged(trainer) for name, value in row.items() if "/" in name}
    return found | {name: float(value) for name, value in trainer.callback_metrics.items()}


def logged(trainer: Trainer) -> list[dict[str, Any]]:
    """What was logged, step by step."""
    return [
        row for logger in trainer.loggers if isinstance(logger, MetricsCSV) for _, row in sorted(logger.rows.items())
    ]


def build(config: dict[str, Any], directory: Path) -> Experiment:
    """Make the data module and set it up, the method with its backbone, the trainer with its callbacks and loggers."""
    seed_everything(config["seed"], verbose=False)  # the network's first weights
    datamodule = make(config["data"])
    image = {name: getattr(datamodule, name) for name in ("channels", "size", "mean", "std")}
    method = make(config["method"], backbone=make(config["backbone"], **image), seed=config["seed"])
    goes_on = config["resume"] and last_checkpoint(directory)
    pretrained = read_checkpoint(config["checkpoint"]) if config.get("checkpoint") and not goes_on else None
    if pretrained:
        begin_with(method.backbone, *pretrained)
    datamodule.setup("fit")
    if pretrained:
        check_split(*pretrained, config["data"], getattr(datamodule, "fingerprint", None))
    if method.supervised:
        method.learn(datamodule.seen_classes, datamodule.use_labels().tolist())
    method.config, method.fingerprint = config, getattr(datamodule, "fingerprint", None)
    callbacks = [make(node) for node in config["callbacks"].values() if node]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(directory / "checkpoints")
    trainer = make_trainer(
        config["trainer"] | {"precision": precision(config["trainer"]), "enable_progress_bar": False},
        callbacks=[*callbacks, *([Progress()] if config["trainer"]["enable_progress_bar"] else [])],
        logger=[logger for logger in make_loggers(config, directory) if logger],
        default_root_dir=str(directory),
        plugins=[AtomicCheckpointIO()],
    )
    return Experiment(datamodule, method, trainer)


def make(node: dict[str, Any], **arguments: Any) -> Any:
    """Instantiate a node's `_target_`; keys that only describe it to the checks are left out.

    Raises:
        UserError: As the constructor raised it, without Hydra's wrapping.
    """
    check_types(node)
    left_out = (*DESCRIPTION, "epochs", *(("views", "siamese") if "kind" in node else ()))
    try:
        kept = {key: value for key, value in node.items() if key not in left_out}
        return instantiate(kept, _partial_=True, _convert_="all")(**arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def make_trainer(node: dict[str, Any], **arguments: Any) -> Trainer:
    """Make Lightning's Trainer; what it refuses is a setting under `trainer.`.

    Raises:
        UserError: In Lightning's words.
    """
    try:
        trainer: Trainer = make(node, **arguments)
    except (ValueError, TypeError, MisconfigurationException, InstantiationException) as error:
        raise UserError(f"trainer: Lightning refuses these settings: {error}") from error
    return trainer


def make_loggers(config: dict[str, Any], directory: Path) -> list[Any]:
    """Loggers of this run; W&B gets a readable name, and a sweep's runs one group."""
    made = []
    for node in config["logger"].values():
        if "project" in node:
            named = node | {"name": node["name"] or directory.name}
            made.append(make(named, directory=str(directory), config=config))
        else:
            made.append(make(node, directory=str(directory)))
    return made


def precision(trainer: dict[str, Any]) -> str:
    """What `trainer.precision=auto` means here: bf16-mixed where the device computes it natively, else 32-true.

    A CPU without avx512_bf16 or AMX emulates bf16, slower than float32.
    """
    if trainer["precision"] != "auto":
        return str(trainer["precision"])
    if torch.cuda.is_available() and trainer["accelerator"] in ("auto", "gpu", "cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if native else "32-true"
