"""Finetunings are compared only if they had the same images."""

import shutil

import pytest

from fewlabels.core.errors import UserError
from fewlabels.sweeps.comparability import check_complete, check_same_images, read_labelled, read_predictions
from fewlabels.sweeps.init_comparison import comparison_table, write_comparison
from fewlabels.sweeps.jobs import read_jobs


def test_complete_jobs_with_the_same_images_pass(comparison):
    jobs = read_jobs(comparison)
    check_complete(jobs)
    check_same_images(comparison_table(jobs))


def test_inits_with_different_labels_are_not_compared(comparison):
    (comparison / "3" / "labels.txt").write_text("a/7.png\n")
    with pytest.raises(UserError, match=r"labels\.txt differ, though both have data\.label_fraction=0\.1 seed=1"):
        check_same_images(comparison_table(read_jobs(comparison)))


DAMAGES = {
    "labels.txt is missing": ("labels.txt", None, r"3 has no labels\.txt, so it cannot be compared: remove"),
    "predictions.csv is cut off": ("predictions.csv", "path,class,predicted,confidence\na/9.png,a,a,0.9\n",
                                   r"hold 2 and 1 test images, not the same ones"),
    "config.yaml is invalid": ("config.yaml", "a: [b", r"3/config\.yaml is damaged .*Remove .*3 to run this job again"),
    "job.json is invalid": ("job.json", "{", r"3/job\.json is damaged .*Remove .*3 to run this job again"),
    "a metric is missing": ("results.json", '{"test/accuracy": 0.5}', r"3 has no test/balanced_accuracy in results"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named_and_no_job_is_left_out(comparison, damage):
    name, text, message = DAMAGES[damage]
    file = comparison / "3" / name
    file.write_text(text) if text else file.unlink()
    with pytest.raises(UserError, match=message):
        write_comparison(comparison)


def test_one_init_twice_is_refused(comparison):
    for number in (0, 1):
        shutil.copytree(comparison / str(number), comparison / str(6 + number))
    with pytest.raises(UserError, match=r"0 and .*6 are the same: from scratch, data\.label_fraction=0\.1 seed=0"):
        check_same_images(comparison_table(read_jobs(comparison)))


def test_predictions_of_version_0_1_are_read(comparison):
    current = read_predictions(read_jobs(comparison)[0])
    for number in range(6):
        file = comparison / str(number) / "predictions.csv"
        file.write_text(file.read_text().replace("predicted", "told"))  # the column's name in version 0.1
    assert read_predictions(read_jobs(comparison)[0]).equals(current)
    assert current["predicted"].tolist() == ["a", "a"]
    assert write_comparison(comparison)


def test_class_names_that_look_like_numbers_or_are_not_utf8_stay_text(comparison):
    job = read_jobs(comparison)[0]
    text = "path,class,predicted,confidence\n1.0/9.png,1.0,nan,0.9\ncaf\udce9/1.png,caf\udce9,1.0,0.6\n"
    (job.directory / "predictions.csv").write_text(text, errors="surrogateescape")
    (job.directory / "labels.txt").write_text("caf\udce9/2.png\n", errors="surrogateescape")
    table = read_predictions(job)
    assert table["class"].tolist() == ["1.0", "caf\udce9"]
    assert table["predicted"].tolist() == ["nan", "1.0"]
    assert read_labelled(job) == "caf\udce9/2.png\n"
