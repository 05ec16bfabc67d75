"""Build everything that a configuration names, and run it. The one place where classes are instantiated."""

import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from fewlabels.callbacks.checkpoints import AtomicCheckpointIO
from fewlabels.callbacks.progress import Progress
from fewlabels.callbacks.speed import Speed
from fewlabels.composition import DESCRIPTION
from fewlabels.errors import UserError
from fewlabels.loading import read_checkpoint
from fewlabels.loggers import MetricsCSV, finish_loggers
from fewlabels.methods.base import Method
from fewlabels.methods.rotnet import RotNet
from fewlabels.rundir import in_words, save_config, save_results
from fewlabels.typecheck import check_types

log = logging.getLogger(__name__)


class Experiment(NamedTuple):
    """What a run consists of."""

    datamodule: Any
    method: Method
    trainer: Trainer


def pretrain(config: dict[str, Any], directory: Path) -> None:
    """Pretrain as `config` says, or go on with it, and leave a complete run directory.

    Args:
        config: Resolved, in plain containers.
        directory: The run directory.

    Raises:
        UserError: Whatever the person can put right, see the constructors.
    """
    quieten()
    experiment = build(config, directory)
    experiment.datamodule.setup("fit")  # what is wrong with the data shows before anything is written,
    experiment.method.fingerprint = getattr(experiment.datamodule, "fingerprint", None)
    experiment.datamodule.train_dataloader()  # and so does a batch larger than the data,
    if (size := experiment.datamodule.batch_size) < (least := experiment.method.least_batch):  # or too small
        raise UserError(
            f"data.batch_size={size}: method={config['method']['called']} compares the images of a batch with each "
            f"other, so give at least {least} per device; 64 or more learn better."
        )
    try:
        metrics = fit(config, experiment, directory)
    except BaseException:
        finish_loggers(experiment.trainer.loggers, exit_code=1)
        raise
    if experiment.trainer.is_global_zero:
        save_results(metrics, directory)
        for line in in_words(metrics, directory, synthetic=experiment.datamodule.synthetic):
            log.info(line)
    finish_loggers(experiment.trainer.loggers, 0, directory / "checkpoints" / "last.ckpt")


def fit(config: dict[str, Any], experiment: Experiment, directory: Path) -> dict[str, float]:
    """Train, then look at the test part once; all metrics by name."""
    datamodule, method, trainer = experiment
    resume = last_checkpoint(directory) if config["resume"] else None
    if resume:
        checkpoint, _ = read_checkpoint(resume)
        check_resumable(checkpoint, experiment, directory)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.resume(checkpoint["global_step"])
    if trainer.is_global_zero:
        save_config(config, directory)
        announce(config, experiment, resume)
    trainer.fit(method, datamodule, ckpt_path=resume, weights_only=True)
    metrics = numbers(trainer)
    if len(datamodule.indices("test")):
        trainer.test(method, datamodule, verbose=False)
        metrics |= numbers(trainer)
    speed = next(c for c in trainer.callbacks if isinstance(c, Speed))  # type: ignore[attr-defined]
    return metrics | {"epochs": trainer.current_epoch, "seconds": speed.seconds, "seed": config["seed"]}


def last_checkpoint(directory: Path) -> Path | None:
    """Where a run stopped; None if it had saved nothing yet.

    Raises:
        UserError: It had, but its last checkpoint is gone.
    """
    last = directory / "checkpoints" / "last.ckpt"
    if last.is_file():
        return last
    if last.parent.is_dir() and any(last.parent.iterdir()):
        raise UserError(f"resume={directory}: {last} is gone, though others are there. Put it back, or start anew.")
    return None


def check_resumable(checkpoint: dict[str, Any], experiment: Experiment, directory: Path) -> None:
    """See that there is something left to do, and the same images to do it with.

    Raises:
        UserError: The run is finished, or `data.root` holds other images than it began with.
    """
    _, method, trainer = experiment
    done, wanted = epochs_done(checkpoint), trainer.max_epochs or -1
    finished = done == wanted and (directory / "results.json").is_file()
    if finished or done > wanted > 0:
        raise UserError(
            f"resume={directory}: the run has done {done} epochs, and trainer.max_epochs={wanted}: nothing is left to "
            f"do. To train longer give a greater one, such as trainer.max_epochs={2 * done}."
        )
    before, now = checkpoint["fewlabels"].get("images"), method.fingerprint
    if before not in (None, now):
        raise UserError(
            f"resume={directory}: the images are not those that the run began with ({now}; then {before}), so it "
            "cannot go on exactly. Give the data.root with the same files, or start anew."
        )


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """How many epochs a checkpoint has behind it; one that was left in the middle does not count."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def numbers(trainer: Trainer) -> dict[str, float]:
    """The latest value of everything that was logged."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def build(config: dict[str, Any], directory: Path) -> Experiment:
    """Make the data module, the method with its backbone, and the trainer with its callbacks and loggers."""
    seed_everything(config["seed"], verbose=False)  # the network's first weights
    datamodule = make(config["data"])
    image = {name: getattr(datamodule, name) for name in ("channels", "size", "mean", "std")}
    method = make(config["method"], backbone=make(config["backbone"], **image), seed=config["seed"])
    method.config = config
    callbacks = [make(node) for node in config["callbacks"].values()]
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


def announce(config: dict[str, Any], experiment: Experiment, resume: Path | None) -> None:
    """Say what is about to run."""
    datamodule, method, trainer = experiment
    weights = sum(p.numel() for p in method.backbone.parameters())
    size = f"{weights / 1e6:.1f} M" if weights > 1e6 else f"{weights:,}"
    log.info(
        "%s on %s: %s backbone of %s weights, %d epochs, batch %d x %d on %s, %s",
        type(method).__name__, datamodule.name, method.backbone.description.get("name", "mlp"), size,
        trainer.max_epochs, trainer.world_size, datamodule.batch_size, trainer.strategy.root_device.type,
        trainer.precision,
    )  # fmt: skip
    if isinstance(method, RotNet) and datamodule.name == "plankton":
        log.warning("Plankton has no up and no down, so RotNet's question has no answer there; expect little.")
    if resume:
        log.info("Going on from %s", resume)
    elif config["resume"]:
        log.info("That run had not saved a checkpoint yet: starting from its first step.")


def quieten() -> None:
    """Keep libraries' tips and notices out of the terminal; their errors still come through."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Reading a memory map in the main process is on purpose; and epochs may be short
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings(
        "ignore", message="Checkpoint directory .* exists and is not empty"
    )  # it is a resumed run's
    # What we log has been reduced over the ranks already, or belongs to the first alone
    warnings.filterwarnings("ignore", message="It is recommended to use .*sync_dist=True")
    warnings.filterwarnings(
        "ignore", message="You're resuming from a checkpoint that ended before the epoch"
    )  # Method does
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(lightning|torch)\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(lightning|torch)\..*")
