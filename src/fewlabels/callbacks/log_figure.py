"""Save a figure in the run directory and send it to the loggers."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def log_figure(trainer: Trainer, name: str, figure: "Figure") -> Path:
    """Save a figure as `figures/<name>.png` in the run directory, and send it to every logger that accepts images.

    Returns:
        The file.
    """
    path = Path(trainer.default_root_dir) / "figures" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(f"figures/{name}", figure, trainer.global_step, close=False)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(path), "figures")
        elif hasattr(logger, "log_image"):
            logger.log_image(key=f"figures/{name}", images=[str(path)], step=trainer.global_step)
    return path
