"""The commands: what each script runs, which overrides it holds back, and what prepares its configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from fewlabels.cli.app import run_app
from fewlabels.cli.prepare import (
    prepare_cache,
    prepare_data,
    prepare_evaluation,
    prepare_export,
    prepare_import,
    prepare_labelling,
    prepare_prediction,
    prepare_suggestion,
    prepare_training,
)
from fewlabels.training.finetune_defaults import fill_finetune_defaults
from fewlabels.training.run_dir import current_run_dir


class Command(NamedTuple):
    """What sets one script apart from another.

    Attributes:
        name: Of the script and of its file in conf/.
        summary: One line for `fewlabels --help`.
        held_back: Picks the overrides that change an earlier run's configuration, which Hydra must not apply to the
            default one.
        complete: Fills in the settings that follow from others, in place, given the overrides as typed.
        prepare: Makes the configuration to run from the composed one and the overrides that were held back; checks it.
        run: Does the work; returns the run directory.
    """

    name: str
    summary: str
    held_back: Callable[[list[str]], list[str]]
    complete: Callable[[DictConfig, list[str]], None]
    prepare: Callable[[DictConfig, list[str]], DictConfig]
    run: Callable[[DictConfig], Path]


def _of_a_resumed_run(arguments: list[str]) -> list[str]:
    resumes = any(a.startswith("resume=") and a != "resume=null" for a in arguments)
    return [a for a in arguments if resumes and "=" in a and not a.startswith(("resume=", "hydra.", "-"))]


def _of_the_data(arguments: list[str]) -> list[str]:
    return [a for a in arguments if a.startswith(("data=", "data."))]


def _as_it_is(cfg: DictConfig, typed: list[str]) -> None:
    """Complete a configuration that needs nothing."""


def _train(cfg: DictConfig) -> Path:
    """Train, in as many processes as the trainer asks for."""
    from fewlabels.training.launch import launch

    return launch("fewlabels.training.fit:train", cfg)


def _evaluate(cfg: DictConfig) -> Path:
    """Evaluate one run or checkpoint, or compare several runs."""
    from fewlabels.core.distributed import keep_freed_memory
    from fewlabels.evaluation.compare import compare
    from fewlabels.evaluation.named_networks import resolve_named_networks
    from fewlabels.evaluation.run import evaluate

    keep_freed_memory()
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    directory = current_run_dir()
    settings = resolve_named_networks(settings, directory)
    (compare if isinstance(settings["run"], list) else evaluate)(settings, directory)
    return directory


def _doctor(cfg: DictConfig) -> Path:
    """Examine the images of a folder."""
    from fewlabels.evaluation.doctor import doctor

    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    doctor(settings, current_run_dir())
    return current_run_dir()


def _suggest(cfg: DictConfig) -> Path:
    """Suggest which images to label next."""
    from fewlabels.labelling.suggest import suggest

    suggest(_with_network(cfg), current_run_dir())
    return current_run_dir()


def _label(cfg: DictConfig) -> Path:
    """Open the labelling page."""
    from fewlabels.labelling.server import label

    label(_with_network(cfg))
    return current_run_dir()


def _predict(cfg: DictConfig) -> Path:
    """Predict classes, and count them."""
    from fewlabels.labelling.predict import predict

    predict(_with_network(cfg), current_run_dir())
    return current_run_dir()


def _import_ecotaxa(cfg: DictConfig) -> Path:
    """Import what EcoTaxa exported."""
    from fewlabels.labelling.formats.import_ecotaxa import import_ecotaxa

    import_ecotaxa([str(path) for path in cfg.export], str(cfg.to))
    return current_run_dir()


def _export(cfg: DictConfig) -> Path:
    """Write a backbone for other programs."""
    from fewlabels.core.backbones.export import check_format, export_backbone
    from fewlabels.evaluation.named_networks import load_network

    check_format(cfg.format)
    backbone, resize = load_network(cfg.run, list(cfg.data))
    export_backbone(backbone, cfg.format, current_run_dir(), resize)
    return current_run_dir()


def _cache(cfg: DictConfig) -> Path:
    """List the cache folder, and remove what `clean` says; returns the folder."""
    from fewlabels.data.image_store import cache
    from fewlabels.data.image_store.store import cache_folder

    folder = cache_folder(cfg.cache_dir)
    entries = cache.list_entries(folder)
    print(cache.table(entries))  # noqa: T201 - the answer
    unused = cache.choose(entries, "unused", cfg.older)
    if cfg.clean is None and entries:
        size = cache.shown_size(sum(entry.size for entry in unused))
        print(f"clean=unused would remove {len(unused)} of them, {size}: their folder is gone, or they were not used "  # noqa: T201
              f"for {cfg.older} days.")  # fmt: skip
    if cfg.clean is None:
        return folder
    chosen = cache.choose(entries, cfg.clean if isinstance(cfg.clean, str) else list(cfg.clean), cfg.older)
    kept = cache.remove(chosen)
    for key, why in kept.items():
        print(f"Kept {key[: cache.SHOWN_KEY]}: {why}.")  # noqa: T201
    gone = [entry for entry in chosen if entry.key not in kept]
    print(f"Removed {len(gone)} stores, {cache.shown_size(sum(entry.size for entry in gone))}.")  # noqa: T201
    return folder


def _with_network(cfg: DictConfig) -> dict[str, Any]:
    """The settings in plain containers, with a run directory in the place of imagenet or random."""
    from fewlabels.core.distributed import keep_freed_memory
    from fewlabels.evaluation.named_networks import resolve_named_networks

    keep_freed_memory()
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return resolve_named_networks(settings, current_run_dir())


COMMANDS = {
    command.name: command
    for command in (
        Command("pretrain", "Pretrain a backbone on unlabelled images.", _of_a_resumed_run, _as_it_is,
                prepare_training, _train),
        Command("finetune", "Train a classifier on labelled images, from a pretrained backbone or from scratch.",
                _of_a_resumed_run, fill_finetune_defaults, prepare_training, _train),
        Command("evaluate", "Evaluate a trained backbone, or compare several: probes, figures, report.html.",
                _of_the_data, _as_it_is, prepare_evaluation, _evaluate),
        Command("doctor", "What is in a folder of images, and what looks wrong.", _of_the_data, _as_it_is,
                prepare_data, _doctor),
        Command("suggest", "Suggest which images to label next.", _of_the_data, _as_it_is, prepare_suggestion,
                _suggest),
        Command("label", "Label images on a page in the browser.", _of_the_data, _as_it_is, prepare_labelling, _label),
        Command("predict", "Classes of all images from the labels of some, and counts with intervals.", _of_the_data,
                _as_it_is, prepare_prediction, _predict),
        Command("import_ecotaxa", "Images and labels from an export of EcoTaxa.", lambda _: [], _as_it_is,
                prepare_import, _import_ecotaxa),
        Command("export", "Write a trained backbone for other programs: timm, ONNX, TorchScript.", _of_the_data,
                _as_it_is, prepare_export, _export),
        Command("cache", "List the decoded images in the cache folder, and remove those not used.", lambda _: [],
                _as_it_is, prepare_cache, _cache),
    )
}  # fmt: skip


def run(name: str) -> None:
    """Run a command with the arguments of this process: what `src/NAME.py` does."""
    run_app(COMMANDS[name])
