"""Whether finetunings may be compared: all files present, and the same images in every repeat."""

from typing import TYPE_CHECKING

from fewlabels.core.errors import UserError
from fewlabels.sweeps.jobs import Job

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "calibration_error")
RUN_AGAIN = "remove that directory and run the same command: only that job runs again."


def check_complete(jobs: list[Job]) -> None:
    """Check that every finetuning has the files and metrics that it is compared by.

    Raises:
        UserError: Names the first that is missing.
    """
    for job in jobs:
        missing = [name for name in ("labels.txt", "predictions.csv") if not (job.directory / name).is_file()]
        missing += [f"{name} in results.json" for name in (f"test/{m}" for m in METRICS) if name not in job.results]
        if missing:
            raise UserError(f"{job.directory} has no {missing[0]}, so it cannot be compared: {RUN_AGAIN}")


def read_predictions(job: Job) -> "pd.DataFrame":
    """A job's predictions.csv, all as text, since a class may be named 1.0 or nan."""
    import pandas as pd

    file = job.directory / "predictions.csv"
    table = pd.read_csv(file, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
    return table.rename(columns={"told": "predicted"})  # the column's name in version 0.1


def read_labelled(job: Job) -> str:
    """The images whose labels a job was given, one path per line."""
    return (job.directory / "labels.txt").read_text(encoding="utf-8", errors="surrogateescape")


def check_same_images(table: "pd.DataFrame") -> None:
    """Check that all inits of a repeat had the same labelled and test images, and that none occurs twice.

    Args:
        table: Columns init, fraction, seed, job.

    Raises:
        UserError: Names the two directories that differ.
    """
    for (fraction, seed), repeat in table.groupby(["fraction", "seed"]):
        labelled = {read_labelled(job): job for job in repeat["job"]}
        if len(labelled) > 1:
            one, other, *_ = (job.directory for job in labelled.values())
            raise UserError(
                f"{one}/labels.txt and {other}/labels.txt differ, though both have data.label_fraction={fraction} "
                f"seed={seed}: these runs cannot be compared. Remove the older one and run the same command again."
            )
        tested = {"\n".join(read_predictions(job)["path"]): job.directory for job in repeat["job"]}
        if len(tested) > 1:
            one, other = sorted(tested, key=len, reverse=True)[:2]
            raise UserError(
                f"{tested[one]}/predictions.csv and {tested[other]}/predictions.csv hold {len(one.splitlines())} and "
                f"{len(other.splitlines())} test images, not the same ones: the folder of images has changed in "
                f"between, or a file is damaged, so these runs cannot be compared. If {tested[other].name} is the "
                f"wrong one: {RUN_AGAIN}"
            )
        if (twice := repeat[repeat["init"].duplicated(keep=False)])["init"].any():
            one, other, *_ = (job.directory for job in twice["job"])
            raise UserError(
                f"{one} and {other} are the same: {twice['init'].iloc[0]}, data.label_fraction={fraction} seed={seed}. "
                "Name every checkpoint once, and use another hydra.sweep.dir, or remove the second directory."
            )
