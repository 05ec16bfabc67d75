"""Draw a figure, save it in the run directory and send it to the loggers."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger

from fewlabels.figures.names import name_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def log_figure(trainer: Trainer, name: str, draw: "Callable[[], Figure]") -> Path | None:
    """Draw a figure, save it as `figures/<name>.png` in the run directory, and send it to loggers that accept images.

    A figure that cannot be drawn or saved is logged as an error, with its traceback: it must not end a training, nor
    cost a finished one its results.

    Returns:
        The file; None if it could not be drawn.
    """
    path = Path(trainer.default_root_dir) / "figures" / f"{name}.png"
    try:
        figure = draw()
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=150)
    except Exception:
        log.exception("%s could not be drawn; the results are not affected.", path)
        return None
    if key := name_key(figure):
        log.info("Names in %s that no font here has: %s", path, ", ".join(f"{n} = {text}" for text, n in key.items()))
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(f"figures/{name}", figure, trainer.global_step, close=False)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(path), "figures")
        elif hasattr(logger, "log_image"):
            logger.log_image(key=f"figures/{name}", images=[str(path)], step=trainer.global_step)
    return path
