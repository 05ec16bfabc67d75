"""Whether finetunings may be compared: nothing is missing, and those of a draw had the same images."""

from typing import TYPE_CHECKING

from fewlabels.errors import UserError
from fewlabels.jobs import Job

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("accuracy", "balanced_accuracy", "macro_f1", "calibration_error")
AGAIN = "remove that directory, and start the comparison again; it alone is done anew."


def check_complete(found: list[Job]) -> None:
    """See that every finetuning has what it is compared by.

    Raises:
        UserError: It has not.
    """
    for job in found:
        missing = [name for name in ("labels.txt", "predictions.csv") if not (job.directory / name).is_file()]
        missing += [f"{name} in results.json" for name in (f"test/{m}" for m in MEASURES) if name not in job.results]
        if missing:
            raise UserError(f"{job.directory} has no {missing[0]}, so there is nothing to compare: {AGAIN}")


def answers(job: Job) -> "pd.DataFrame":
    """What a job told of the test images, all as text: a class may be called 1.0 or nan."""
    import pandas as pd

    file = job.directory / "predictions.csv"
    return pd.read_csv(file, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")


def taught(job: Job) -> str:
    """The images whose labels a job was given, one path a line."""
    return (job.directory / "labels.txt").read_text(encoding="utf-8", errors="surrogateescape")


def check_labels(table: "pd.DataFrame") -> None:
    """See that all starts of a draw were taught and tested with the same images, by file name, and each of them once.

    Raises:
        UserError: They were not.
    """
    for (fraction, seed), draw in table.groupby(["fraction", "seed"]):
        lists = {taught(job): job for job in draw["job"]}
        if len(lists) > 1:
            one, other, *_ = (job.directory for job in lists.values())
            raise UserError(
                f"{one}/labels.txt and {other}/labels.txt differ, though both are of data.label_fraction={fraction} "
                f"seed={seed}: these runs cannot be compared. Remove the older one and start the comparison again."
            )
        tested = {"\n".join(answers(job)["path"]): job.directory for job in draw["job"]}
        if len(tested) > 1:
            one, other = sorted(tested, key=len, reverse=True)[:2]
            raise UserError(
                f"{tested[one]}/predictions.csv and {tested[other]}/predictions.csv are of {len(one.splitlines())} and "
                f"{len(other.splitlines())} test images, not of the same: the folder has changed in between, or a file "
                f"is damaged, so these runs cannot be compared. Where {tested[other].name} is the odd one: {AGAIN}"
            )
        if (twice := draw[draw["start"].duplicated(keep=False)])["start"].any():
            one, other, *_ = (job.directory for job in twice["job"])
            raise UserError(
                f"{one} and {other} are the same: {twice['start'].iloc[0]}, data.label_fraction={fraction} "
                f"seed={seed}. Name every checkpoint once, and begin in another hydra.sweep.dir, or remove the second."
            )
