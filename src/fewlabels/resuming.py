"""Going on with a run: from where, and whether it can be done exactly."""

import json
from pathlib import Path
from typing import Any

from fewlabels.errors import UserError
from fewlabels.loading import read_checkpoint


def last_checkpoint(directory: Path) -> Path | None:
    """Where a run stopped; None if it had saved nothing yet that can be gone on from.

    Raises:
        UserError: It had, but its last checkpoint is gone.
    """
    last = directory / "checkpoints" / "last.ckpt"
    if last.is_file():
        ended = not (directory / "results.json").exists() and "optimizer_states" not in read_checkpoint(last)[0]
        return None if ended else last  # a finetuning whose results were lost is done again
    others = sorted(last.parent.iterdir()) if last.parent.is_dir() else []
    if [file.name for file in others] == ["best.ckpt"] and not (directory / "results.json").exists():
        best, _ = read_checkpoint(others[0])
        if "optimizer_states" not in best:  # a finetuning keeps the best weights before it first saves what to resume
            return None
    if others:
        raise UserError(f"resume={directory}: {last} is gone, though others are there. Put it back, or start anew.")
    return None


def check_resumable(checkpoint: dict[str, Any], directory: Path, *, wanted: int, images: str | None) -> None:
    """See that there is something left to do, and the same images to do it with.

    Args:
        checkpoint: Where the run stopped.
        directory: Of the run.
        wanted: Epochs in all; -1 is no limit.
        images: Fingerprint of those that are there now.

    Raises:
        UserError: The run is finished, or `data.root` holds other images than it began with.
    """
    done, before = epochs_done(checkpoint), checkpoint["fewlabels"]["config"]["trainer"]["max_epochs"]
    file = directory / "results.json"
    ended = json.loads(file.read_text()).get("epochs") if file.is_file() else None  # maybe early
    if "optimizer_states" not in checkpoint:
        raise UserError(
            f"resume={directory}: this finetuning has ended after {done} epochs, and does not keep its optimiser's "
            "state, so it cannot be made longer. Begin another one, with a greater trainer.max_epochs."
        )
    finished = ended is not None and (done == wanted or (done == ended and wanted <= before))
    if finished or done > wanted > 0:
        raise UserError(
            f"resume={directory}: the run has done {done} epochs, and trainer.max_epochs={wanted}: nothing is left to "
            f"do. To train longer give a greater one, such as trainer.max_epochs={2 * done}."
        )
    then = checkpoint["fewlabels"].get("images")
    if then not in (None, images):
        raise UserError(
            f"resume={directory}: the images are not those that the run began with ({images}; then {then}), so it "
            "cannot go on exactly. Give the data.root with the same files, or start anew."
        )


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """How many epochs a checkpoint has behind it; one that was left in the middle does not count."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
