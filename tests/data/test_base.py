"""The base class of image data modules: splits, labels, loaders, ranks."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule, ImageData
from fewlabels.data import batches
from fewlabels.data.batches import EpochBatches
from fewlabels.data.images import Images
from fewlabels.data.splits.assignment import assign


def batch_rows(loader):
    return [batch.index.tolist() for batch in loader]


def concatenate(lists):
    return [row for rows in lists for row in rows]


def split_of_each_path(module):
    return {module.paths[row]: split for split in ("train", "val", "test") for row in module.indices(split)}


def test_image_data_modules_satisfy_the_protocol(mixed):
    members = {*DataModule.__annotations__, *vars(DataModule), *ImageData.__annotations__, *vars(ImageData)}
    public = {name for name in members if not name.startswith("_")}
    assert {"modality", "root", "fingerprint", "store_key", "seen_classes", "unseen_classes", "images"} <= public
    assert {name for name in public if not hasattr(mixed, name)} == set()
    assert mixed.modality == "images"
    assert mixed.fingerprint.startswith("78 images, ")
    assert mixed.store_key.startswith("images-")


def test_every_image_is_in_one_split_or_excluded(mixed):
    splits = [mixed.indices(split) for split in ("train", "val", "test", "unseen")]
    rows = np.concatenate(splits)
    assert len(set(rows)) == len(rows) == 75
    assert all((np.diff(split) > 0).all() for split in splits)
    assert {mixed.paths[row].split("/")[0] for row in mixed.indices("unseen")} == {"dog"}
    assert not any(mixed.paths[row].startswith("eel") for row in rows)
    assert any("3 images of 1 classes are excluded" in notice and "eel" in notice for notice in mixed.notices)


def test_labels_index_the_seen_then_the_unseen_classes(mixed):
    assert mixed.classes == ["cat", "dog"] == mixed.seen_classes + mixed.unseen_classes
    for path, label in zip(mixed.paths, mixed.labels, strict=True):
        name = path.split("/")[0]
        assert label == (mixed.classes.index(name) if name in mixed.classes else -1)


def test_labelled_rows_are_in_train_and_have_labels(mixed):
    assert set(mixed.labelled(0.5)) < set(mixed.labelled(1.0)) < set(mixed.indices("train"))
    assert (mixed.labels[mixed.labelled()] == 0).all()


def test_adding_an_image_moves_no_other(make_module, class_folders):
    root = class_folders({"cat": 40, "dog": 30})
    before = split_of_each_path(make_module(root=str(root)))
    (root / "cat" / "0000a.png").write_bytes((root / "cat" / "0000.png").read_bytes())
    after = split_of_each_path(make_module(root=str(root), seed=7))
    assert before.items() < after.items()
    assert len(after) == 71


def test_batches_contain_the_pixels_of_the_store(mixed):
    batch = next(iter(mixed.loader("train", 3)))
    assert (batch.x.dtype, batch.x.shape) == (torch.uint8, (3, 1, 8, 8))
    assert (batch.y.dtype, batch.index.dtype) == (torch.int64, torch.int64)
    assert (batch.x == mixed.images(batch.index.numpy())).all()
    assert batch.y.tolist() == mixed.labels[batch.index].tolist()
    shades = [int(mixed.paths[row][-8:-4]) for row in batch.index if "/" in mixed.paths[row]]
    assert [int(x[0, 0, 0]) for x, row in zip(batch.x, batch.index, strict=True) if "/" in mixed.paths[row]] == shades


def test_loader_keeps_the_order_and_drops_nothing(mixed):
    rows = mixed.indices("unseen")
    assert concatenate(batch_rows(mixed.loader("unseen", 7))) == rows.tolist()
    assert concatenate(batch_rows(mixed.loader(rows[::-1]))) == rows[::-1].tolist()


def test_training_batches_have_equal_sizes_and_change_with_the_epoch(mixed):
    loader = mixed.train_dataloader()
    first = batch_rows(loader)
    assert {len(rows) for rows in first} == {4}
    assert len(first) == len(loader) == len(mixed.indices("train")) // 4
    assert batch_rows(loader) == first
    loader.sampler.set_epoch(1)
    assert batch_rows(loader) != first
    assert set(concatenate(first)) <= set(mixed.indices("train").tolist())


def test_resuming_in_mid_epoch_gives_the_remaining_batches(mixed):
    loader = mixed.train_dataloader()
    loader.sampler.set_epoch(5)
    complete = batch_rows(loader)
    loader.sampler.start = 3
    assert batch_rows(loader) == complete[3:]
    assert loader.sampler.start == 0
    assert batch_rows(loader) == complete


def test_loading_does_not_advance_the_global_generator(mixed):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    batch_rows(mixed.train_dataloader())
    batch_rows(mixed.val_dataloader())
    assert (torch.random.get_rng_state() == before).all()


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_held_out_batches_are_split_among_ranks(mixed, monkeypatch, world_size, split):
    alone = concatenate(batch_rows(getattr(mixed, f"{split}_dataloader")()))
    assert sorted(alone) == mixed.indices(split).tolist() != alone  # shuffled: files in order give one class per batch
    monkeypatch.setattr(batches, "world_size", lambda: world_size)
    per_rank = []
    for rank in range(world_size):
        monkeypatch.setattr(batches, "rank", lambda rank=rank: rank)
        per_rank.append(batch_rows(getattr(mixed, f"{split}_dataloader")()))
    count = sum(map(len, per_rank))
    assert concatenate(per_rank[step % world_size][step // world_size] for step in range(count)) == alone
    assert all(per_rank)


def test_fewer_held_out_images_than_ranks_are_an_error(mixed, monkeypatch):
    monkeypatch.setattr(batches, "world_size", lambda: 100)
    with pytest.raises(UserError, match=r"data\.val_fraction.*trainer\.devices"):
        mixed.val_dataloader()


def test_a_batch_larger_than_the_training_split_is_an_error(mixed, monkeypatch):
    mixed.batch_size = 30
    monkeypatch.setattr(batches, "world_size", lambda: 2)
    count = len(mixed.indices("train"))
    with pytest.raises(UserError, match=rf"data\.batch_size=30 on 2 device.*has {count}\. .*at most {count // 2}"):
        mixed.train_dataloader()


def test_use_labelled_only_drops_unlabelled_images(make_module, class_folders, tree):
    root = class_folders({"cat": 40, "dog": 30})
    tree({f"{number}.png": 0 for number in range(30)})
    module = make_module(root=str(root), label_fraction=0.5)
    counts = module.use_labelled_only()
    assert counts.tolist() == np.bincount(module.labels[module.labelled()]).tolist()
    assert set(concatenate(batch_rows(module.train_dataloader()))) <= set(module.labelled().tolist())
    rows = module.indices("val")
    labelled = rows[module.labels[rows] >= 0].tolist()
    assert sorted(concatenate(batch_rows(module.val_dataloader()))) == labelled
    assert len(labelled) < len(rows)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_sets_the_epoch_of_the_sampler(mixed, tmp_path):
    seen = []

    class Reader(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, step):
            seen.append(batch.index.tolist())
            return self.layer(torch.zeros(1, 1)).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(Reader(), mixed.train_dataloader())
    expected = []
    for epoch in range(2):
        batches = EpochBatches(mixed.indices("train"), 4, seed=0)
        batches.set_epoch(epoch)
        expected += [batch.tolist() for batch in batches]
    assert seen == expected


def test_images_without_class_folders_are_unlabelled(make_module, tree):
    module = make_module(root=str(tree({f"{number}.png": number for number in range(20)})))
    assert module.classes == []
    assert (module.labels == -1).all()
    assert sum(len(module.indices(split)) for split in ("train", "val", "test")) == 20
    assert len(module.labelled()) == 0


def test_corrupt_files_are_counted_and_named(make_module, class_folders):
    root = class_folders({"cat": 30})
    (root / "cat" / "0003.png").write_bytes(b"")
    module = make_module(root=str(root))
    assert any("1 of 30 files cannot be read" in notice and "cat/0003.png" in notice for notice in module.notices)
    assert len(module.paths) == len(module.labels) == 29


def test_settings_per_channel_follow_the_number_of_channels(image_settings):
    colour = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "root": "x"}
    assert Images(**image_settings | colour | {"channels": 3}).mean == (0.5, 0.4, 0.3)
    assert Images(**image_settings | colour).mean == pytest.approx((0.299 * 0.5 + 0.587 * 0.4 + 0.114 * 0.3,))
    assert Images(**image_settings | colour).std == pytest.approx((0.2,))
    assert Images(**image_settings | {"channels": 3}).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "synthetic"}, r"data\.source=synthetic must be one of auto, folder"),
        ({"resize": "stretch"}, r"data\.resize=stretch must be one of pad, crop, squash"),
        ({"channels": 0}, r"data\.channels=0: give at least 1 channel"),
        ({"size": 0}, r"data\.size=0"),
        ({"batch_size": -1}, r"data\.batch_size=-1: give at least 1"),
        ({"min_class_size": 0}, r"data\.min_class_size=0: give at least 1"),
        ({"steps_per_epoch": 0}, r"data\.steps_per_epoch=0: give at least 1 step, or null"),
        ({"mean": [0.1, 0.2]}, r"data\.mean=\[0.1, 0.2\] has 2 values for data\.channels=1"),
        ({"label_fraction": 0}, r"data\.label_fraction=0 "),
        ({"label_fraction": 1.5}, r"data\.label_fraction=1.5 "),
        ({"root": None}, r"data=images needs data\.root=FOLDER"),
        ({"root": "nowhere", "download": True}, r"no public source for data=images"),
    ],
)
def test_errors_name_the_wrong_setting(make_module, options, message):
    with pytest.raises(UserError, match=message):
        make_module(**options)


def test_the_run_seed_changes_neither_splits_nor_unseen_classes(make_module, class_folders):
    root = str(class_folders(dict.fromkeys("abcdef", 30)))
    first, second, other = (make_module(root=root, unseen=2, seed=s, split_seed=d) for s, d in ((0, 0), (1, 0), (0, 3)))
    assert first.unseen_classes == second.unseen_classes
    for split in ("train", "val", "test"):
        assert first.indices(split).tolist() == second.indices(split).tolist() != other.indices(split).tolist()


def test_views_of_one_object_stay_on_one_side(make_module, tree):
    root = tree({f"{'ab'[n % 2]}/{n:03d}_{view}.png": n for n in range(100) for view in ("top", "side")})
    module = make_module(root=str(root), group=r"(\d+)_", label_fraction=0.5)
    assert sum(len(module.indices(split)) for split in ("train", "val", "test")) == 200
    objects = [{module.paths[row][2:5] for row in module.indices(split)} for split in ("train", "val", "test")]
    assert sum(map(len, objects)) == len(set.union(*objects)) == 100
    labelled = module.labelled()
    assert len({module.paths[row][2:5] for row in labelled}) <= len(labelled) / 2 + 2  # whole objects, but for rounding


def test_copies_never_lie_on_both_sides_and_are_counted(make_module, tree):
    files = {f"{'abc'[n % 3]}/{n:03d}.png": n for n in range(240)}
    root = tree(files)
    for number in range(60):  # the copy of an image, in its own class or in that of the next image
        original = f"{'abc'[number % 3]}/{number:03d}.png"
        copy = f"{'abc'[(number + number // 30) % 3]}/copy-{number:03d}.png"
        (root / copy).write_bytes((root / original).read_bytes())
    module = make_module(root=str(root), unseen=["c"])
    used = [module.digests[module.indices(split)] for split in ("train", "val", "test", "unseen")]
    for one in range(4):
        for other in range(one + 1, 4):
            if (one, other) != (2, 3):  # both are held out
                assert not set(used[one]) & set(used[other])
    assert "60 of 300 images are exact copies of others; 30 of them with another class" in module.notices[-1]
    assert make_module(root=str(root), split_by="path").indices("train").size > 0


def test_a_split_by_path_is_that_of_version_0_1(make_module, class_folders):
    module = make_module(root=str(class_folders({"cat": 40, "dog": 30})), split_by="path", split_seed=5)
    for split in ("train", "val", "test"):
        expected = np.flatnonzero(assign(module.paths, 0.2, 0.2) == split)
        assert module.indices(split).tolist() == expected.tolist()


def test_an_unknown_way_to_split_is_an_error(make_module, class_folders):
    with pytest.raises(UserError, match=r"data\.split_by=hash must be one of name, path"):
        make_module(root=str(class_folders({"cat": 4})), split_by="hash")


def test_folders_of_splits_are_the_splits_and_pages_of_a_file_stay_together(make_module, tree):
    root = tree({f"{split}/{name}/{n}.png": n for split in ("train", "test") for name in "ab" for n in range(20)})
    module = make_module(root=str(root), val_fraction=0.2)
    assert module.seen_classes == ["a", "b"]
    assert {module.paths[row].split("/")[0] for row in module.indices("test")} == {"test"}
    assert {module.paths[row].split("/")[0] for row in np.r_[module.indices("train"), module.indices("val")]} == {
        "train"
    }
    assert len(module.indices("val")) > 0


def test_pages_of_a_file_are_images_in_one_split_and_no_files(make_module, tmp_path):
    (tmp_path / "stacks").mkdir()
    for number in range(20):
        pages = [Image.new("L", (8, 8), 12 * number + page) for page in range(3)]
        pages[0].save(tmp_path / "stacks" / f"{number}.tif", save_all=True, append_images=pages[1:])
    module = make_module(root=str(tmp_path / "stacks"), pages="all", val_fraction=0.3, test_fraction=0.3)
    assert len(module.paths) == 60
    assert module.folder is None
    splits = split_of_each_path(module)
    assert set(splits.values()) == {"train", "val", "test"}
    for path, split in splits.items():
        assert {splits[f"{path.partition('#')[0]}#{page}"] for page in (1, 2, 3)} == {split}


@pytest.mark.parametrize(("setting", "message"), [
    ({"white": 0.0}, "data.white=0.0: give the value that is white"),
    ({"pages": "2"}, "data.pages=2 must be one of first, all"),
    ({"crop_edges": (1, 2)}, r"data.crop_edges=\[1, 2\]: give four numbers"),
    ({"crop_edges": (1, 2, -3, 4)}, r"data.crop_edges=\[1, 2, -3, 4\]: give four numbers"),
])  # fmt: skip
def test_settings_of_reading_are_checked(make_module, setting, message):
    with pytest.raises(UserError, match=message):
        make_module(**setting)
