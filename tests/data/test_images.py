"""The user's own images."""

import pytest

from fewlabels.core.errors import UserError


def test_root_is_required(make_module):
    with pytest.raises(UserError, match=r"data=images needs data\.root=FOLDER"):
        make_module()


def test_a_nested_folder_gives_one_class_per_top_folder(make_module, tree):
    files = {f"cat/deep/{number}.png": number for number in range(5)} | {"dog/0.png": 0, "loose.png": 9}
    module = make_module(root=str(tree(files)))
    assert module.classes == ["cat", "dog"]
    assert (module.labels == 0).sum() == 5
    assert module.labels[module.paths.index("loose.png")] == -1
    assert not module.synthetic


def test_a_labels_file_names_the_classes_of_a_flat_folder(make_module, tree, tmp_path):
    root = tree({f"{number}.png": number for number in range(40)} | {"dog/40.png": 40})
    rows = [f"{number}.png,{'cat' if number % 2 else 'dog'}" for number in range(20)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    flat, module = make_module(root=str(root)), make_module(root=str(root), labels=str(tmp_path / "labels.csv"))
    assert (flat.classes, module.classes) == (["dog"], ["cat", "dog"])
    assert [module.labels[module.paths.index(f"{number}.png")] for number in range(22)] == [1, 0] * 10 + [-1, -1]
    assert module.labels[module.paths.index("dog/40.png")] == -1
    for split in ("train", "val", "test"):
        assert module.indices(split).tolist() == flat.indices(split).tolist()  # unlabelled images stay in
    assert len(module.labelled()) == (module.labels[module.indices("train")] >= 0).sum()


def test_what_is_wrong_with_a_labels_file_is_a_notice(make_module, tree, tmp_path):
    root = tree({f"{number}.png": number for number in range(9)})
    (tmp_path / "labels.csv").write_text("path,label\n0.png,a\n1.png,A\ngone.png,a\n")
    notices = " ".join(make_module(root=str(root), labels=str(tmp_path / "labels.csv")).notices)
    for words in ("1 of 3 labels in", "gone.png", "a single label", "'A' (1) and 'a' (1): if they are the same"):
        assert words in notices
