"""Save which images a classifier was trained on, and its predictions on the test images."""

from pathlib import Path
from typing import Protocol, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.access import data_of
from fewlabels.callbacks.log_figure import log_figure
from fewlabels.core.atomic_io import write_text
from fewlabels.figures.heatmaps import confusion_figure
from fewlabels.probing.classification_metrics import Predictions, confusion


class Classifier(Protocol):
    """What this callback needs of a method."""

    classes: list[str]
    predictions: Predictions | None


class SavePredictions(Callback):
    """Write `labels.txt`, the paths of the labelled training images; after the test, predictions and their figure.

    predictions.csv has one row per test image and the columns path, class, predicted and confidence (the largest
    softmax probability). `figures/confusion.png` is the confusion matrix.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write labels.txt."""
        if trainer.is_global_zero:
            data = data_of(trainer)
            text = "".join(f"{data.paths[row]}\n" for row in data.labelled())
            write_text(Path(trainer.default_root_dir) / "labels.txt", text)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write predictions.csv and draw the confusion matrix."""
        import pandas as pd

        classifier = cast("Classifier", pl_module)
        if not trainer.is_global_zero or classifier.predictions is None:
            return
        data = data_of(trainer)
        logits, labels, index = classifier.predictions
        confidence, predicted = logits.softmax(1).max(1)
        name = classifier.classes.__getitem__
        table = pd.DataFrame(
            {"path": [data.paths[row] for row in index], "class": [*map(name, labels)],
             "predicted": [*map(name, predicted)], "confidence": confidence.double().numpy().round(4)},
            dtype=object,  # pandas' string type requires UTF-8, which file names need not be
        )  # fmt: skip
        write_text(Path(trainer.default_root_dir) / "predictions.csv", table.to_csv(index=False))
        counts = confusion(classifier.predictions).numpy()
        log_figure(trainer, "confusion", lambda: confusion_figure(
            classifier.classes, counts, title="test images", synthetic=data.synthetic))  # fmt: skip
