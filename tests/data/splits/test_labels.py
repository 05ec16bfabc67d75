"""Labels from a file: what is read, and what is refused."""

import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.splits.class_names import folder_names
from fewlabels.data.splits.labels import file_names, read_labels, similar_names

PATHS = ["a.png", "deep/er/b.png", "ü.png", "unlabelled.png"]


def write(tmp_path, text, encoding="utf-8"):
    file = tmp_path / "labels.csv"
    file.write_text(text, encoding=encoding)
    return str(file)


@pytest.mark.parametrize("text", [
    "path,label\na.png,x\ndeep/er/b.png,y\nü.png,x\n",
    "\ufeffpath;label\r\na.png;x\r\n./deep/er/b.png;y\r\nu\u0308.png;x\r\n",  # a spreadsheet's; decomposed ü
    "label\tby\tpath\nx\tme\ta.png\ny\tyou\tdeep\\er\\b.png\n x \t\tü.png\n\t\tunlabelled.png\n",
    'path,label\n"a.png","x"\na.png,x\ndeep/er/b.png,y\nü.png,x\n',  # the same row twice
])  # fmt: skip
def test_the_labels_of_a_file_name_the_classes_wherever_the_images_lie(tmp_path, text):
    names, notices = file_names(PATHS, write(tmp_path, text))
    assert names.tolist() == ["x", "y", "x", ""]
    (notice,) = notices
    assert notice.endswith("have a single label, such as y: too few to train on and test it too.")


def test_folders_name_the_classes_without_a_file():
    assert folder_names(PATHS).tolist() == ["", "deep", "", ""]


def test_labels_of_missing_images_are_counted_and_left_out(tmp_path):
    names, notices = file_names(PATHS, write(tmp_path, "path,label\na.png,x\ngone.png,x\nü.png,x\n"))
    assert names.tolist() == ["x", "", "x", ""]
    assert notices[0].startswith("1 of 3 labels in ")
    assert "gone.png" in notices[0]


def test_names_that_differ_in_case_and_punctuation_are_asked_about_and_not_merged(tmp_path):
    file = write(tmp_path, "path,label\na.png,Sea star\ndeep/er/b.png,sea_star\nü.png,sea_stars\n")
    names, notices = file_names(PATHS, file)
    assert names.tolist() == ["Sea star", "sea_star", "sea_stars", ""]
    assert "'Sea star' (1) and 'sea_star' (1): if they are the same" in notices[-1]
    assert similar_names(["shapeA", "shapeB", "1", "2", "ⅰ", "-", "_"]) == []


@pytest.mark.parametrize(("text", "message"), [
    ("path,label\na.png,x\na.png,y\n", "a.png has the label 'x' in line 2, and 'y' in line 3"),
    ("path,label\na.png,x\na.png,\n", "'x' in line 2, and '' in line 3"),
    ("path,label\na.png,\n", "has no label"),
    ("", "no column path and label"),
    ("file,label\na.png,x\n", "no column path.*it is 'file,label'"),
    ("path,label\na.png\n", "line 2 has not one value for each of the columns path,label"),
    ("path,label\na.png,x,y\n", "line 2 has not one value for each"),
    ("path,label\n,x\n", "line 2 .* no path: , x"),
    ("path,label\nother/a.png,x\n", "none of its 1 labelled paths, such as other/a.png, is among the 4 images"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        file_names(PATHS, write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data.labels=.*gone.csv cannot be read .No such file"):
        read_labels(str(tmp_path / "gone.csv"))
    with pytest.raises(UserError, match=r"not UTF-8 .*save it as CSV UTF-8"):
        read_labels(write(tmp_path, "path,label\na.png,Möwe\n", "latin-1"))


def test_paths_need_not_be_utf8_and_labels_must(tmp_path):
    file = tmp_path / "odd.csv"
    file.write_bytes(b"path,label\ncaf\xe9.png,\xc3\xa9\n")
    assert read_labels(str(file)) == {"caf\udce9.png": "é"}
    file.write_bytes(b"path,label\ncaf\xe9.png,caf\xe9\n")
    with pytest.raises(UserError, match=r"odd.csv is not UTF-8 \(in line 2\): save it as CSV UTF-8"):
        read_labels(str(file))
