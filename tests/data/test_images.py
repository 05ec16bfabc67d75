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
