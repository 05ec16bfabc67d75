"""What a classifier was taught with and what it answered, by file name."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.figures import log_figure
from fewlabels.figures.matrices import confusion_figure
from fewlabels.files import write_whole
from fewlabels.metrics import confusion


class Predictions(Callback):
    """Write `labels.txt`, the labelled images, when training starts; after the test `predictions.csv` and a figure.

    predictions.csv has the columns path, class, told and confidence, one row per test image.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """List the images whose labels are used."""
        if trainer.is_global_zero:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            text = "".join(f"{data.paths[row]}\n" for row in data.labelled())
            write_whole(Path(trainer.default_root_dir) / "labels.txt", text)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the answers and draw the confusions."""
        import pandas as pd

        method: Any = pl_module
        if not trainer.is_global_zero or method.answers is None:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        logits, truth, index = method.answers
        confidence, told = logits.softmax(1).max(1)
        name = method.classes.__getitem__
        table = pd.DataFrame(
            {"path": [data.paths[row] for row in index], "class": [*map(name, truth)], "told": [*map(name, told)],
             "confidence": confidence.double().numpy().round(4)},
            dtype=object,  # text of pandas' own has to be UTF-8, which names of files need not be
        )  # fmt: skip
        write_whole(Path(trainer.default_root_dir) / "predictions.csv", table.to_csv(index=False))
        counts = confusion(method.answers).numpy()
        log_figure(trainer, "confusion", confusion_figure(method.classes, counts, title="test images",
                                                          synthetic=data.synthetic))  # fmt: skip
