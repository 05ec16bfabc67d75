"""One way for all figures: a PNG in the run directory, and the same picture to every logger that takes pictures."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer


def log_figure(trainer: Trainer, name: str, figure: Any) -> Path:
    """Save a matplotlib figure as `figures/<name>.png` and hand it to the loggers.

    Returns:
        The file.
    """
    path = Path(trainer.default_root_dir) / "figures" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(key=f"figures/{name}", images=[str(path)], step=trainer.global_step)
    return path
