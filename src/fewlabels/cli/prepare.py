"""The configuration that each command runs, checked, from the composed one and the overrides that were held back.

All functions take the composed configuration and the overrides that were held back from it, see `Command.held_back`.
They change it in place and return it, or the one to run instead; a ConfigError names the key that is wrong.
"""

from omegaconf import DictConfig, ListConfig

from fewlabels.probing.orientations import ORIENTATIONS
from fewlabels.training.config_checks import ConfigError, check_config, check_positive
from fewlabels.training.resume import resumed_config
from fewlabels.training.run_dir import is_named_network


def prepare_training(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """Of pretrain and finetune: that of the run to resume, if there is one."""
    cfg = resumed_config(cfg, held_back) if cfg.get("resume") else cfg
    check_config(cfg)
    return cfg


def prepare_evaluation(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """Of evaluate."""
    if cfg.draws not in ("random", "balanced"):
        raise ConfigError(
            f"\ndraws={cfg.draws}: choose random or balanced. The number of draws is repeats={cfg.repeats}."
        )
    if (cfg.run is None) == (cfg.checkpoint is None):
        raise ConfigError("\nGive either run=RUN_DIR or checkpoint=FILE: the network to evaluate.")
    check_positive(cfg, "repeats", "max_samples", "max_labels")
    return _prepare_network(cfg, held_back)


def prepare_data(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """Of doctor."""
    if not any(override.startswith(("data=", "data.root=")) for override in held_back):
        raise ConfigError("\nGive data.root=FOLDER, the folder of your images, or data=NAME.")
    cfg.data = list(held_back)
    return cfg


def prepare_suggestion(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """Of suggest."""
    from fewlabels.probing.selection import STRATEGIES

    _prepare_network(cfg, held_back)
    if cfg.strategy not in STRATEGIES:
        raise ConfigError(f"\nstrategy={cfg.strategy}: choose one of {', '.join(STRATEGIES)}.")
    check_positive(cfg, "n")
    return cfg


def prepare_labelling(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """Of label."""
    if not isinstance(cfg.port, int) or not 0 <= cfg.port <= 65535:
        raise ConfigError(f"\nport={cfg.port}: give 0 for a free one, or a number up to 65535.")
    return _prepare_network(cfg, held_back)


def prepare_prediction(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """Of predict."""
    from fewlabels.labelling.formats.export import FORMATS

    _prepare_network(cfg, held_back)
    names = list(cfg.formats or ()) if isinstance(cfg.formats, ListConfig | None) else [cfg.formats]
    if unknown := [str(name) for name in names if name not in FORMATS]:
        raise ConfigError(
            f"\nformats={','.join(unknown)}: choose from {', '.join(FORMATS)}, such as formats=[ecotaxa]."
        )
    cfg.formats = names
    if cfg.unknown is not None and not (isinstance(cfg.unknown, float) and 0 < cfg.unknown < 1):
        raise ConfigError(
            f"\nunknown={cfg.unknown}: give null, or a share between 0 and 1, such as 0.1: an image is unknown if it "
            "is farther from all labels than all but that share of the labels are from the others."
        )
    return cfg


def prepare_import(cfg: DictConfig, _: list[str]) -> DictConfig:
    """Of import_ecotaxa."""
    if not cfg.export or not cfg.to:
        raise ConfigError("\nGive export=FILE.zip, which EcoTaxa exported (or a folder), and to=FOLDER, a new one.")
    cfg.export = [cfg.export] if isinstance(cfg.export, str) else cfg.export
    return cfg


def prepare_export(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """Of export."""
    _prepare_network(cfg, held_back)
    if not isinstance(cfg.run, str) or cfg.run == "random":
        raise ConfigError(f"\nrun={cfg.run}: give one run=RUN_DIR, or run=imagenet: the network to export.")
    if held_back and not is_named_network(cfg.run):
        raise ConfigError(f"\n{held_back[0]}: leave it out. The input of a run's network is that of its training.")
    return cfg


def prepare_cache(cfg: DictConfig, _: list[str]) -> DictConfig:
    """Of cache."""
    if isinstance(cfg.older, bool) or not isinstance(cfg.older, int | float) or cfg.older < 0:
        raise ConfigError(f"\nolder={cfg.older}: give a number of days, 0 or more.")
    return cfg


def _prepare_network(cfg: DictConfig, held_back: list[str]) -> DictConfig:
    """What the commands share that apply a trained network: `run`, `orientations`, and the overrides of the `data`."""
    if cfg.run is None and cfg.get("checkpoint") is None:
        raise ConfigError("\nrun=null: give run=RUN_DIR, or run=imagenet: the network that embeds the images.")
    if "orientations" in cfg and cfg.orientations not in ORIENTATIONS:
        raise ConfigError(
            f"\norientations={cfg.orientations}: choose 1 (images as they are), 2 (also mirrored), 4 (turned by 90, "
            "180 and 270 degrees) or 8 (both): the embedding of an image is the mean over them."
        )
    cfg.data = list(held_back)
    return cfg
