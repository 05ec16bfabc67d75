"""What every image data module keeps: splits, labels, batches, ranks, resumption."""

import os
import pickle
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torchvision

from fewlabels.data import base
from fewlabels.data.batches import EpochBatches
from fewlabels.data.cifar10 import Cifar10
from fewlabels.data.flowers import Flowers
from fewlabels.data.images import Images
from fewlabels.data.plankton import Plankton
from fewlabels.data.stl10 import Stl10
from fewlabels.errors import UserError

URL = {"url": "https://example.org/x.tar"}


@pytest.fixture
def made(settings):
    def make(kind=Images, **options):
        module = kind(**settings | options)
        module.prepare_data()
        module.setup()
        return module

    return make


@pytest.fixture
def mixed(made, classes):
    """Three classes, one of them small, and five unlabelled images."""
    root = classes({"cat": 40, "dog": 30, "eel": 3})
    for number in range(5):
        (root / f"{number}.png").write_bytes((root / "cat" / "0000.png").read_bytes())
    return made(root=str(root), unseen=["dog"], min_class_size=10)


def batch_rows(loader):
    return [batch.index.tolist() for batch in loader]


def flat(lists):
    return [row for rows in lists for row in rows]


def test_every_image_is_in_one_split_or_set_aside(mixed):
    parts = [mixed.indices(split) for split in ("train", "val", "test", "unseen")]
    rows = np.concatenate(parts)
    assert len(set(rows)) == len(rows) == 75
    assert all((np.diff(part) > 0).all() for part in parts)
    assert {mixed.paths[row].split("/")[0] for row in mixed.indices("unseen")} == {"dog"}
    assert not any(mixed.paths[row].startswith("eel") for row in rows)
    assert any("3 images of 1 classes are set aside" in notice and "eel" in notice for notice in mixed.notices)


def test_labels_index_the_seen_then_the_unseen_classes(mixed):
    assert mixed.classes == ["cat", "dog"] == mixed.seen_classes + mixed.unseen_classes
    for path, label in zip(mixed.paths, mixed.labels, strict=True):
        name = path.split("/")[0]
        assert label == (mixed.classes.index(name) if name in mixed.classes else -1)


def test_known_labels_are_a_part_of_train_and_never_unlabelled(mixed):
    chosen = mixed.labelled(0.5)
    assert set(chosen) < set(mixed.labelled(1.0)) < set(mixed.indices("train"))
    assert (mixed.labels[mixed.labelled()] == 0).all()


def test_a_new_image_moves_no_other(made, classes):
    root = classes({"cat": 40, "dog": 30})
    before = made(root=str(root))
    split = {before.paths[row]: name for name in ("train", "val", "test") for row in before.indices(name)}
    (root / "cat" / "0000a.png").write_bytes((root / "cat" / "0000.png").read_bytes())
    after = made(root=str(root), seed=7)
    moved = {after.paths[row]: name for name in ("train", "val", "test") for row in after.indices(name)}
    assert split.items() < moved.items()
    assert len(moved) == 71


def test_batches_are_bytes_as_they_lie_in_the_store(mixed):
    batch = next(iter(mixed.loader("train", 3)))
    assert (batch.x.dtype, batch.x.shape) == (torch.uint8, (3, 1, 8, 8))
    assert (batch.y.dtype, batch.index.dtype) == (torch.int64, torch.int64)
    assert (batch.x == mixed.images(batch.index.numpy())).all()
    assert batch.y.tolist() == mixed.labels[batch.index].tolist()
    shades = [int(mixed.paths[row][-8:-4]) for row in batch.index if "/" in mixed.paths[row]]
    assert [int(x[0, 0, 0]) for x, row in zip(batch.x, batch.index, strict=True) if "/" in mixed.paths[row]] == shades


def test_a_whole_split_is_loaded_in_order_with_nothing_dropped(mixed):
    rows = mixed.indices("unseen")
    assert flat(batch_rows(mixed.loader("unseen", 7))) == rows.tolist()
    assert flat(batch_rows(mixed.loader(rows[::-1]))) == rows[::-1].tolist()


def test_training_batches_are_equal_and_differ_between_epochs(mixed):
    loader = mixed.train_dataloader()
    first = batch_rows(loader)
    assert {len(rows) for rows in first} == {4}
    assert len(first) == len(loader) == len(mixed.indices("train")) // 4
    assert batch_rows(loader) == first
    loader.sampler.set_epoch(1)
    assert batch_rows(loader) != first
    assert set(flat(first)) <= set(mixed.indices("train").tolist())


def test_ranks_cover_each_global_batch_once():
    rows = np.arange(100, 203)
    one = list(EpochBatches(rows, 16, seed=3))
    two = [list(EpochBatches(rows, 8, seed=3, rank=rank, world=2)) for rank in range(2)]
    four = [list(EpochBatches(rows, 4, seed=3, rank=rank, world=4)) for rank in range(4)]
    assert len(one) == len(two[0]) == len(four[0]) == 6
    for step, batch in enumerate(one):
        assert np.concatenate([part[step] for part in two]).tolist() == batch.tolist()
        assert np.concatenate([part[step] for part in four]).tolist() == batch.tolist()
    assert len(set(np.concatenate(one))) == 96


def test_going_on_in_mid_epoch_gives_the_rest_of_it(mixed):
    loader = mixed.train_dataloader()
    loader.sampler.set_epoch(5)
    whole = batch_rows(loader)
    loader.sampler.start = 3
    assert batch_rows(loader) == whole[3:]
    assert loader.sampler.start == 0
    assert batch_rows(loader) == whole


def test_reading_leaves_the_global_generator_alone(mixed):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    batch_rows(mixed.train_dataloader())
    batch_rows(mixed.val_dataloader())
    assert (torch.random.get_rng_state() == before).all()


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_held_out_batches_are_dealt_once(mixed, monkeypatch, world, split):
    alone = flat(batch_rows(getattr(mixed, f"{split}_dataloader")()))
    assert sorted(alone) == mixed.indices(split).tolist() != alone  # files in order would be class by class
    monkeypatch.setattr(base, "world_size", lambda: world)
    hands = []
    for rank in range(world):
        monkeypatch.setattr(base, "rank", lambda rank=rank: rank)
        hands.append(batch_rows(getattr(mixed, f"{split}_dataloader")()))
    count = sum(map(len, hands))
    assert flat(hands[step % world][step // world] for step in range(count)) == alone
    assert all(hands)


def test_held_out_images_too_few_for_the_ranks_name_the_keys(mixed, monkeypatch):
    monkeypatch.setattr(base, "world_size", lambda: 100)
    with pytest.raises(UserError, match=r"data\.val_fraction.*trainer\.devices"):
        mixed.val_dataloader()


def test_a_batch_larger_than_the_data_names_both(mixed, monkeypatch):
    mixed.batch_size = 30
    monkeypatch.setattr(base, "world_size", lambda: 2)
    count = len(mixed.indices("train"))
    with pytest.raises(UserError, match=rf"data\.batch_size=30 on 2 device.*has {count}\. .*at most {count // 2}"):
        mixed.train_dataloader()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_tells_the_sampler_its_epoch(mixed, tmp_path):
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
    rows = mixed.indices("train")
    expected = [batches for epoch in range(2) for batches in epoch_of(rows, epoch)]
    assert seen == expected


def epoch_of(rows, epoch):
    batches = EpochBatches(rows, 4, seed=0)
    batches.set_epoch(epoch)
    return [batch.tolist() for batch in batches]


def test_a_flat_folder_is_unlabelled(made, tree):
    module = made(root=str(tree({f"{number}.png": number for number in range(20)})))
    assert module.classes == []
    assert (module.labels == -1).all()
    assert sum(len(module.indices(split)) for split in ("train", "val", "test")) == 20
    assert len(module.labelled()) == 0


def test_corrupt_files_are_counted_and_named(made, classes):
    root = classes({"cat": 30})
    (root / "cat" / "0003.png").write_bytes(b"")
    module = made(root=str(root))
    assert any("1 of 30 files cannot be read" in notice and "cat/0003.png" in notice for notice in module.notices)
    assert len(module.paths) == len(module.labels) == 29


@pytest.mark.parametrize("inner", ["", "imgs", "FlowCamNet/imgs"])
def test_plankton_finds_flowcamnets_layouts(made, classes, tmp_path, inner):
    classes({"a": 9, "b": 9}, root=f"root/{inner}")
    (tmp_path / "root" / "taxa.csv.gz").touch()
    module = made(Plankton, root=str(tmp_path / "root"), **URL)
    assert module.classes == ["a", "b"]
    assert not module.synthetic


@pytest.mark.parametrize("kind", [Plankton, Flowers])
def test_nothing_is_drawn_unless_nothing_was_asked_for(made, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data\.root=nowhere does not exist.*data\.download=true"):
        made(kind, root="nowhere", **URL)
    with pytest.raises(UserError, match=rf"data\.root=data/{kind.name} does not exist"):
        made(kind, source="folder", **URL)
    (tmp_path / "data" / kind.name).mkdir(parents=True)
    with pytest.raises(UserError, match="holds no images"):
        made(kind, **URL)


def test_the_default_folder_is_taken_if_it_is_there(made, classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classes({"a": 9}, root="data/plankton")
    assert made(Plankton, **URL).classes == ["a"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"source": "synthetic"}, r"data\.source=synthetic must be one of auto, folder"),
        ({"resize": "stretch"}, r"data\.resize=stretch must be one of pad, crop, squash"),
        ({"channels": 2}, r"data\.channels=2 must be one of 1, 3"),
        ({"size": 0}, r"data\.size=0"),
        ({"batch_size": -1}, r"data\.batch_size=-1: give at least 1"),
        ({"mean": [0.1, 0.2]}, r"data\.mean=\[0.1, 0.2\] has 2 values for data\.channels=1"),
        ({"label_fraction": 0}, r"data\.label_fraction=0 "),
        ({"label_fraction": 1.5}, r"data\.label_fraction=1.5 "),
        ({"root": None}, r"data=images needs data\.root=FOLDER"),
        ({"root": "nowhere", "download": True}, r"no public source for data=images"),
    ],
)
def test_a_wrong_setting_names_its_key(made, options, says):
    with pytest.raises(UserError, match=says):
        made(**options)


def test_normalisation_follows_the_channels(settings):
    colour = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "root": "x"}
    assert Images(**settings | colour | {"channels": 3}).mean == (0.5, 0.4, 0.3)
    assert Images(**settings | colour).mean == pytest.approx((0.299 * 0.5 + 0.587 * 0.4 + 0.114 * 0.3,))
    assert Images(**settings | colour).std == pytest.approx((0.2,))
    assert Images(**settings | {"channels": 3}).mean == (0.5, 0.5, 0.5)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-10's files with 20 images each; their md5 is not looked at."""
    folder = tmp_path / "cifar" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    kinds = ["plane", "car", *(f"kind{number}" for number in range(8))]
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        data = np.repeat(np.arange(20, dtype=np.uint8)[:, None], 3072, axis=1)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [number % 10 for number in range(20)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": kinds}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    return folder


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (16, 1)])
def test_cifar10_keeps_its_test_split(made, cifar, size, channels):
    module = made(Cifar10, root=str(cifar.parent), size=size, channels=channels, test_fraction=0.0)
    assert len(module.paths) == 120
    assert len(module.classes) == 10
    assert sorted({module.paths[row].split("/")[1][:4] for row in module.indices("test")}) == ["test"]
    assert len(module.indices("test")) == 20
    assert 5 < len(module.indices("val")) < 40
    assert module.images([0, 1, 119])[:, 0, 0, 0].tolist() == [0, 1, 19]
    assert module.paths[1] == "car/train-00001"


def test_stl10_pretrains_on_the_unlabelled_too(made, tmp_path, monkeypatch):
    folder = tmp_path / "stl" / "stl10_binary"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 10), ("unlabeled", 30)):
        data = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)  # columns before rows, as in the real files
        data.tofile(folder / f"{part}_X.bin")
        (1 + np.arange(count, dtype=np.uint8) % 10).tofile(folder / f"{part}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(f"kind{number}" for number in range(10)))
    monkeypatch.setattr(torchvision.datasets.stl10, "check_integrity", lambda *_: True)
    module = made(Stl10, root=str(folder.parent), size=96, channels=3, test_fraction=0.0, val_fraction=0.1)
    assert len(module.indices("test")) == 10
    assert (module.labels[module.indices("train")] == -1).sum() > 20
    assert (module.labels == -1).sum() == 30
    row = module.paths.index("unlabelled-000029")
    assert (module.images([row])[0].numpy() == data[29].transpose(0, 2, 1)).all()
    official = torchvision.datasets.STL10(str(folder.parent), "unlabeled").data[29]
    assert (module.images([row])[0].numpy() == official).all()


@pytest.mark.parametrize("kind", [Cifar10, Stl10])
def test_torchvision_sets_are_fetched_only_when_asked(made, tmp_path, kind):
    with pytest.raises(UserError, match=rf"data={kind.name}: no whole copy.*data\.download=true"):
        made(kind, root=str(tmp_path / "empty"), test_fraction=0.0)


REAL = Path(os.environ.get("FEWLABELS_IMAGES", "/nonexistent"))


@pytest.mark.images
def test_the_real_sets_are_read_whole(made):
    plankton = made(Plankton, root=str(REAL / "plankton"), size=32, unseen=3, min_class_size=50, **URL)
    assert len(plankton.paths) == 22_882
    assert len(plankton.unseen_classes) == 3
    assert plankton.images(np.arange(0, 22_882, 100)).float().mean() > 150  # a pale background
    flowers = made(Flowers, root=str(REAL / "flowers"), size=32, channels=3, resize="crop", **URL)
    assert flowers.classes == ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    assert len(flowers.paths) == 4317
