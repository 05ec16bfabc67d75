"""Which folders name classes, which are splits, and which images nobody has labelled."""

import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.splits.class_names import ClassNaming, folder_names, split_folders


def test_the_folder_at_a_depth_names_the_class():
    paths = ["Acartia/tonsa/1.png", "Acartia/clausi/2.png", "Oithona/3.png", "4.png"]
    assert folder_names(paths).tolist() == ["Acartia", "Acartia", "Oithona", ""]
    assert folder_names(paths, 2).tolist() == ["tonsa", "clausi", "", ""]
    assert folder_names(paths, -1).tolist() == ["tonsa", "clausi", "Oithona", ""]
    with pytest.raises(UserError, match=r"data.class_level=3: no image is in so many folders; the deepest is in 2"):
        folder_names(paths, 3)


@pytest.mark.parametrize(("folders", "expected"), [
    (["train", "val", "test"], {"train": "train", "val": "val", "test": "test"}),
    (["Training", "Testing"], {"Training": "train", "Testing": "test"}),
    (["train", "valid"], {"train": "train", "valid": "val"}),
    (["train", "cat"], None), (["val", "test"], None), (["train"], None),
])  # fmt: skip
def test_folders_are_splits_if_train_is_among_them_and_no_other(folders, expected):
    paths = [f"{folder}/{name}/1.png" for folder in folders for name in ("a", "b")]
    assert split_folders(paths) == expected
    assert split_folders([f"{folder}/1.png" for folder in folders]) is None  # these are classes


def test_folders_of_splits_are_said_and_can_be_classes():
    paths = ["train/a/1.png", "train/b/2.png", "test/a/3.png"]
    names, notices = ClassNaming().names(paths)
    assert names.tolist() == ["a", "b", "a"]
    assert ClassNaming().folder_splits(paths).tolist() == ["train", "train", "test"]
    assert notices == ["The folders test, train are taken as splits, and the folders in them as classes. If they are "
                       "classes, give data.class_level=1."]  # fmt: skip
    as_classes = ClassNaming(level=1)
    assert as_classes.names(paths)[0].tolist() == ["train", "train", "test"]
    assert as_classes.folder_splits(paths) is None


def test_deeper_folders_are_said_once_unless_the_level_is_given():
    paths = ["cruise1/copepod/1.png", "cruise2/copepod/2.png", "cruise2/3.png"]
    (notice,) = ClassNaming().names(paths)[1]
    assert notice.startswith("2 of 3 images are in folders inside class folders.")
    assert "data.class_level=-1" in notice
    assert ClassNaming(level=2).names(paths)[1] == []
    assert ClassNaming().names(["a/1.png", "b/2.png", "3.png"])[1] == []


def test_names_that_mean_no_label_are_asked_about_and_taken_as_such_if_named():
    paths = ["NoCategory/1.png", "un-known/2.png", "cat/3.png"]
    (notice,) = ClassNaming().names(paths)[1]
    assert notice == ("Is 'NoCategory' a class, or are its images not labelled? For these give "
                      "'data.unlabelled=[NoCategory,un-known]'.")  # fmt: skip
    names, notices = ClassNaming(unlabelled=("NoCategory", "un-known")).names(paths)
    assert (names.tolist(), notices) == (["", "", "cat"], [])
    with pytest.raises(UserError, match=r"data.unlabelled names the class 'dog', which is not among the 3 classes"):
        ClassNaming(unlabelled=("dog",)).names(paths)


def test_names_in_a_labels_file_can_mean_no_label_too(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n1.png,NoCategory\n2.png,cat\n")
    naming = ClassNaming(str(tmp_path / "labels.csv"), None, ("NoCategory",))
    assert naming.names(["1.png", "2.png", "3.png"])[0].tolist() == ["", "cat", ""]


def test_a_single_folder_that_holds_the_classes_is_asked_about():
    (notice,) = ClassNaming().names(["images/cat/1.png", "images/dog/2.png"])[1]
    assert notice == ("All 2 images are in the folder 'images', which is then their only class. Did you mean "
                      "data.root=…/images?")  # fmt: skip
    assert ClassNaming().names(["cat/1.png", "cat/2.png"])[1] == []
