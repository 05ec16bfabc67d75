"""Train as a configuration says, test once, and leave a complete run directory."""

import contextlib
import logging
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from fewlabels.callbacks.checkpointing import drop_optimizer_state
from fewlabels.callbacks.throughput import Throughput
from fewlabels.core.checkpoints import read_checkpoint
from fewlabels.core.distributed import keep_freed_memory
from fewlabels.core.errors import UserError
from fewlabels.training.build import Experiment, build_experiment
from fewlabels.training.loggers import MetricsCSV, silence_libraries
from fewlabels.training.messages import announce, change_of_rate, describe_devices, summarise_run, train_longer
from fewlabels.training.provenance import record_start
from fewlabels.training.resume import check_resumable, epochs_done, last_checkpoint
from fewlabels.training.run_dir import is_rank_zero, run_lock, save_config, save_results
from fewlabels.training.wandb_runs import finish_loggers

log = logging.getLogger(__name__)


def train(config: dict[str, Any], directory: Path) -> None:
    """Train from the first step, or resume, and leave a complete run directory.

    Args:
        config: Resolved, in plain containers. A finetuning has the key `checkpoint`, which may be None.
        directory: The run directory.

    Raises:
        UserError: A setting, the images, or a checkpoint cannot be used; see the constructors.
    """
    silence_libraries()
    keep_freed_memory()
    with run_lock(directory) if is_rank_zero() else contextlib.nullcontext():
        experiment = build_experiment(config, directory)
        if experiment.trainer.max_epochs != 0:
            _check_batches(config, experiment)
        _train(config, experiment, directory)


def _train(config: dict[str, Any], experiment: Experiment, directory: Path) -> None:
    """Train, and write results.json; finish the loggers in any case."""
    trainer, finetuning = experiment.trainer, "checkpoint" in config
    try:
        metrics = fit(config, experiment, directory)
    except BaseException:
        finish_loggers(trainer.loggers, exit_code=1)
        raise
    last = directory / "checkpoints" / "last.ckpt"
    if trainer.is_global_zero:
        save_results(metrics, directory)
        if finetuning and last.is_file():
            drop_optimizer_state(last)  # comparisons keep many finetunings
        longer = (
            []
            if finetuning or trainer.max_epochs == 0
            else [train_longer(trainer, experiment.method.optimizer_config, directory)]
        )
        for line in [*summarise_run(metrics, directory, synthetic=experiment.data.synthetic), *longer]:
            log.info(line)
    finish_loggers(trainer.loggers, 0, last)


def _check_batches(config: dict[str, Any], experiment: Experiment) -> None:
    """Refuse a batch size that the data or the method cannot use, before anything is written."""
    data, method = experiment.data, experiment.method
    data.train_dataloader()  # raises if a batch is larger than the training set
    if data.batch_size < method.min_batch_size:
        raise UserError(
            f"data.batch_size={data.batch_size}: method={config['method']['name']} compares the images of a batch with "
            f"each other, so give at least {method.min_batch_size} per device; use 64 or more for good results."
        )
    if "checkpoint" in config and not len(data.val_dataloader()):
        raise UserError("data.val_fraction: finetuning selects its weights on validation images; give 0.1, say.")


def fit(config: dict[str, Any], experiment: Experiment, directory: Path) -> dict[str, float]:
    """Train, then test once, on the best weights if validation selected some.

    Returns:
        All metrics by name, as in results.json.
    """
    data, method, trainer = experiment
    resume_from = last_checkpoint(directory) if config["resume"] else None
    if resume_from:
        checkpoint, _ = read_checkpoint(resume_from)
        limits = {"max_epochs": trainer.max_epochs or -1, "max_steps": trainer.max_steps}
        check_resumable(checkpoint, directory, fingerprint=method.fingerprint, **limits)
        before, now = checkpoint["fewlabels"]["config"]["trainer"]["max_epochs"], trainer.max_epochs
        if before and before != now and limits["max_epochs"] > 0 and trainer.is_global_zero:
            change = change_of_rate(method.optimizer_config, epochs_done(checkpoint), before, limits["max_epochs"])
            log.info("trainer.max_epochs is %s instead of %s: %s.", now, before, change)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.resume(checkpoint["global_step"])
    if trainer.is_global_zero:
        save_config(config, directory)
        record_start(
            directory, devices=describe_devices(trainer), precision=str(trainer.precision),
            resumed_step=checkpoint["global_step"] if resume_from else 0 if config["resume"] else None,
        )  # fmt: skip
        announce(config, data, method, trainer, resume_from)
    if trainer.max_epochs == 0:
        return _save_initial(config, experiment, directory)
    datamodule: Any = data
    trainer.fit(method, datamodule, ckpt_path=resume_from, weights_only=True)
    metrics = logged_metrics(trainer)
    if len(data.indices("test")):
        best = directory / "checkpoints" / "best.ckpt"
        selected = best if "checkpoint" in config and best.is_file() else None  # callbacks.best=null: the last weights
        trainer.test(method, datamodule, ckpt_path=selected, verbose=False, weights_only=True)
        metrics |= logged_metrics(trainer)
        metrics |= metrics_at_best(trainer) if selected and trainer.is_global_zero else {}
    clocks = [c for c in trainer.callbacks if isinstance(c, Throughput)]  # type: ignore[attr-defined]
    seconds = clocks[0].seconds if clocks else 0.0
    return metrics | {"epochs": trainer.current_epoch, "seconds": seconds, "seed": config["seed"]}


def _save_initial(config: dict[str, Any], experiment: Experiment, directory: Path) -> dict[str, float]:
    """Save the network as it is: a run directory to evaluate, or to compare with."""
    trainer = experiment.trainer
    trainer.strategy.connect(experiment.method)
    trainer.save_checkpoint(directory / "checkpoints" / "last.ckpt")
    return {"epochs": 0, "seconds": 0.0, "seed": config["seed"]}


def metrics_at_best(trainer: Trainer) -> dict[str, float]:
    """The validation metrics of the epoch whose weights were selected; rank 0 only has them."""
    best = next(c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint))
    monitor, choose = str(best.monitor), max if best.mode == "max" else min
    row = choose((row for row in _logged_rows(trainer) if monitor in row), key=lambda row: float(row[monitor]))
    return {name: float(value) for name, value in row.items() if name.startswith("val/")}


def logged_metrics(trainer: Trainer) -> dict[str, float]:
    """The latest value of everything that was logged, including before a resumption."""
    found = {name: float(value) for row in _logged_rows(trainer) for name, value in row.items() if "/" in name}
    return found | {name: float(value) for name, value in trainer.callback_metrics.items()}


def _logged_rows(trainer: Trainer) -> list[dict[str, Any]]:
    """The rows of metrics.csv, step by step."""
    return [
        row for logger in trainer.loggers if isinstance(logger, MetricsCSV) for _, row in sorted(logger.rows.items())
    ]
