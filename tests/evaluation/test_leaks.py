"""Whatever the command line says: nothing that a network was trained on is tested, or called unseen."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir

from fewlabels.cli.app import CONF
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import content_digest
from fewlabels.evaluation.context import load_context
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.evaluation.run import save
from fewlabels.training.run_dir import load_results

FLAT = ("method=simclr", "data=images", "data.channels=1", "data.mean=[0.5]", "data.std=[0.25]", "data.size=32",
        "data.batch_size=32", "data.val_fraction=0.2", "data.test_fraction=0.2", "backbone=mobilenet_v3_small",
        "method.head.hidden=16", "logger=csv")  # fmt: skip


@pytest.fixture(autouse=True)
def _heard(caplog):
    caplog.set_level(logging.INFO, "fewlabels")


def trained(run):
    """Digests that the run's checkpoint lists."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return set(checkpoint["fewlabels"]["trained_on"]["digests"].tolist())


def left_out(context, run):
    """How many test images the notices count as left out, after a check, from files alone, that the rest is clean."""
    root, used = Path(context.data.root), trained(run)
    tested = [content_digest((root / path).read_bytes()) for path in context.test_embeddings.paths]
    assert tested
    assert not used & set(tested)
    counts = [int(notice.split()[0]) for notice in context.data.notices if "are left out" in notice]
    assert len(counts) <= 1
    assert " ".join(context.data.notices) in context.description["notices"] or not counts
    return sum(counts)


@pytest.mark.parametrize("change", ["data.test_fraction=0.5", "data.split_seed=7", "data.val_fraction=0.05"])
def test_images_of_other_splits_are_left_out_and_counted(settings, folder, images, change):
    same = [f"data.root={images}", "data.unseen=null", "data.seen=[bud,cell,disc]"]
    context = load_context(settings(data=[*same, change]))
    count = left_out(context, folder / "run")
    assert count > 3 if change != "data.val_fraction=0.05" else count == 0  # the test split does not depend on val


@pytest.mark.parametrize("unseen", ["[bud,star]", "[disc]", "3"])
def test_classes_that_were_trained_on_are_never_called_unseen(settings, unseen):
    with pytest.raises(UserError, match=r"data\.unseen includes .* Give data\.unseen=\[rod,star\]"):
        load_context(settings(data=[f"data.unseen={unseen}"]))


def test_another_seed_leaves_the_test_images_as_they_are(settings, folder, images, context):
    root = f"data.root={images}"
    for seed in (1, 2):
        other = load_context(settings(data=[root, f"data.seed={seed}"]))
        assert other.test_embeddings.paths.tolist() == context.test_embeddings.paths.tolist()
        assert left_out(other, folder / "run") == 0


def test_a_parent_folder_is_checked_by_content(settings, folder, images):
    shutil.copytree(images, folder / "parent" / "mine")
    (folder / "parent" / "other").mkdir()
    for number, file in enumerate(sorted((images / "star").iterdir())[:10]):
        (folder / "parent" / "other" / f"new-{number}.png").write_bytes(file.read_bytes() + b"changed")
    root = f"data.root={folder / 'parent'}"
    context = load_context(settings(data=[root, "data.unseen=null", "data.test_fraction=0.6"]))
    assert left_out(context, folder / "run") > 10
    assert context.population == "2 classes, images not trained on"
    with pytest.raises(UserError, match=r"data\.unseen includes mine, .*of the 120 images of these classes"):
        load_context(settings(data=[root, "data.unseen=[mine]", "data.seen=[other]"]))


@pytest.fixture
def flat_run(folder, images, write_any_run):
    """A network trained on the same images without classes, in a flat folder."""
    (folder / "flat").mkdir()
    for file in images.rglob("*.png"):
        shutil.copy(file, folder / "flat" / f"{file.parent.name}-{file.name}")
    write_any_run(folder / "flat_run", *FLAT, f"data.root={folder / 'flat'}")
    return folder / "flat_run"


def sort_into_classes(folder):
    for file in (folder / "flat").glob("*.png"):
        (folder / "sorted" / file.name.split("-")[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "sorted" / file.name.split("-")[0] / file.name)
    return f"data.root={folder / 'sorted'}"


def test_sorting_files_into_class_folders_moves_none_into_the_test_split(settings, folder, flat_run):
    root = sort_into_classes(folder)
    context = load_context(settings(run="flat_run", data=[root]))
    assert left_out(context, flat_run) == 0
    assert context.population == "5 classes, images not trained on"
    with pytest.raises(UserError, match=r"data\.unseen includes rod, star, but the network was trained on \d+ of the"):
        load_context(settings(run="flat_run", data=[root, "data.unseen=[rod,star]"]))


def test_added_and_renamed_files_are_checked_by_content(settings, folder, flat_run):
    (folder / "flat" / "zzz.png").write_bytes((folder / "flat" / "bud-3.png").read_bytes())
    for number, file in enumerate(sorted((folder / "flat").glob("*.png"))):
        file.rename(file.with_name(f"{number}-{file.name.split('-')[0]}.png"))
    context = load_context(settings(run="flat_run"))
    notices = [notice for notice in context.data.notices if "are left out" in notice]
    assert int(notices[0].split()[0]) > 5
    used, data = trained(flat_run), context.data
    assert not used & set(data.digests[data.indices("test")].tolist())


def test_a_copied_checkpoint_and_another_dataset_name_change_nothing(settings, folder, images, flat_run):
    (folder / "elsewhere").mkdir()
    copied = shutil.copy(flat_run / "checkpoints" / "last.ckpt", folder / "elsewhere" / "network.ckpt")
    data = ["data=plankton", f"data.root={images}", "data.unseen=null", "data.min_class_size=1",
            "data.test_fraction=0.6"]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base=None):
        context = load_context(settings(data=data) | {"run": str(copied)})
    assert left_out(context, flat_run) > 20
    assert context.data.name == "plankton"


def test_a_folder_of_trained_images_alone_is_refused(settings, folder, images, flat_run):
    used = trained(flat_run)
    (folder / "only").mkdir()
    for number, file in enumerate(f for f in images.rglob("*.png") if content_digest(f.read_bytes()) in used):
        shutil.copy(file, folder / "only" / f"{number}.png")
    with pytest.raises(UserError, match=r"was trained on all \d+ images of the test split"):
        load_context(settings(run="flat_run", data=[f"data.root={folder / 'only'}", "data.test_fraction=0.4"]))


def test_a_checkpoint_without_a_record_is_checked_by_its_data_or_said_to_be_unchecked(settings, folder, images):
    file = folder / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["fewlabels"]["trained_on"]
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match=r"data\.unseen includes bud"):
        load_context(settings(data=["data.unseen=[bud,star]"]))
    (images / "star" / "0.png").unlink()
    context = load_context(settings(data=[f"data.root={images}"]))
    assert context.population == "2 classes held out; not checked if unseen"
    assert context.data.notices[-1].startswith("Not checked: whether")
    assert context.description["trained on"].startswith("an unknown number of images of plankton")


def test_metrics_of_the_run_are_kept_for_its_own_images_only(settings, folder, images):
    moved = load_context(settings(data=[f"data.root={images}"]))
    assert moved.results["val/loss"] == 3.0
    (images / "star" / "0.png").unlink()
    other = load_context(settings(data=[f"data.root={images}"]))
    split = load_context(settings(data=["data.test_fraction=0.1"]))
    assert other.results == split.results == {}
    save(other, AnalysisResult(metrics={"probe/x": 0.5}), folder / "elsewhere")
    assert load_results(folder / "elsewhere") == {"probe/x": 0.5}
    assert np.isclose(moved.results["seconds"], 90.0)
