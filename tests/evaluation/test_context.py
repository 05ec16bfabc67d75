"""What is loaded for an evaluation, and when embeddings.parquet is reused."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fewlabels.core.backbones import Backbone
from fewlabels.core.errors import UserError
from fewlabels.data.splits.assignment import halve
from fewlabels.data.splits.training_record import TrainingRecord
from fewlabels.evaluation import baseline
from fewlabels.evaluation.context import load_context
from fewlabels.evaluation.partition import partition
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.orientations import mean_embedding


@pytest.fixture
def stored(folder, context):
    """`run` with its embeddings.parquet, as an evaluation leaves it."""
    context.embeddings.save(folder / "run" / "embeddings.parquet", context.provenance)
    return context


@pytest.fixture
def load(settings, monkeypatch, caplog):
    """Load the context; returns it, the number of samples that a backbone embedded, and the log."""
    caplog.set_level(logging.INFO, "fewlabels")

    def call(*, tested_only=False, **changes):
        embedded = []
        forward = Backbone.forward

        def counted(self, x):
            embedded.append(len(x))
            return forward(self, x)

        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Backbone, "forward", counted)
            patch.setattr(baseline, "calibrate_batch_norms", lambda *_: None)  # embeds too
            patch.setattr(baseline, "stronger", lambda one, *_: one)
            context = load_context(settings(**changes), tested_only=tested_only)
        return context, sum(embedded), caplog.text

    return call


def change_checkpoint(folder, change):
    file = folder / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, file)


def scale_first_weight(checkpoint):
    name = next(name for name in checkpoint["state_dict"] if name.startswith("backbone"))
    checkpoint["state_dict"][name] *= 1.5


def assert_same(one, other):
    assert np.array_equal(one.vectors, other.vectors)
    for name in ("labels", "index", "paths", "splits"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.classes == other.classes


def test_embeddings_are_of_the_trained_network_in_eval_mode(context):
    rows = context.embeddings.index[::10]
    x = context.data.images(rows)
    with torch.no_grad():
        expected = context.method.backbone((x / 255 - 0.5) / 0.25).numpy()
    assert np.allclose(context.embeddings.vectors[::10], expected, atol=1e-4)
    assert not context.method.training
    untrained = context.embed(context.untrained, rows)
    assert not np.allclose(untrained.vectors, expected, atol=1e-2)
    assert untrained.paths.tolist() == context.embeddings.paths[::10].tolist()


def test_initial_weights_are_those_of_the_seed_of_the_run(context, settings):
    again = load_context(settings()).untrained.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in context.untrained.state_dict().items())


def test_unchanged_embeddings_are_reused(stored, load):
    context, embedded, log = load()
    assert embedded == 0
    assert "Reusing" in log
    assert "embeddings.parquet: same checkpoint, same images" in log
    assert_same(context.embeddings, stored.embeddings)
    assert np.array_equal(context.test, stored.test)


def test_reused_embeddings_get_the_present_splits_and_classes(stored, load):
    context, embedded, _ = load(data=["data.unseen=[star]", "data.seen=[cell,bud,disc]", "data.min_class_size=1"])
    assert embedded == 0
    assert len(context.embeddings) == 96  # those of rod are in no split now
    assert context.embeddings.classes == ("bud", "cell", "disc", "star")
    unseen = context.embeddings.select(context.embeddings.splits == "unseen")
    assert {path.split("/")[0] for path in unseen.paths} == {"star"}
    names = [path.split("/")[0] for path in context.embeddings.paths]
    assert [context.embeddings.classes[label] for label in context.embeddings.labels] == names


def test_embeddings_are_not_reused_for_another_checkpoint(stored, load, folder):
    change_checkpoint(folder, scale_first_weight)
    context, embedded, log = load()
    assert embedded == 120
    assert "Reusing" not in log
    assert not np.allclose(context.embeddings.vectors, stored.embeddings.vectors, atol=1e-3)


def test_embeddings_are_not_reused_for_other_images(load, folder, images):
    changes = {"data": [f"data.root={images}"]}
    before, _, _ = load(**changes)
    before.embeddings.save(folder / "run" / "embeddings.parquet", before.provenance)
    assert load(**changes)[1] == 0
    changed = (images / "star" / "0.png").read_bytes() + b"no exact copy"
    (images / "bud" / "0.png").write_bytes(changed)
    after, embedded, _ = load(**changes)
    assert embedded == 120
    differ = (after.embeddings.vectors != before.embeddings.vectors).any(1)
    assert after.embeddings.paths[differ].tolist() == ["bud/0.png"]


def test_embeddings_are_not_reused_for_another_size(stored, load, folder):
    with pytest.raises(UserError, match="has size 40, but the network was trained with 32"):
        load(data=["data.size=40"])
    change_checkpoint(folder, lambda checkpoint: checkpoint["fewlabels"]["backbone"].update(size=40))
    context, embedded, _ = load(data=["data.size=40"])
    assert embedded == 120
    assert context.provenance["store"] != stored.provenance["store"]


def test_embeddings_are_not_reused_for_another_normalisation(stored, load):
    context, embedded, _ = load(data=["data.mean=[0.2]"])
    assert embedded == 120
    assert not np.allclose(context.embeddings.vectors, stored.embeddings.vectors, atol=1e-3)


def test_embeddings_of_other_rows_are_not_reused(stored, load, folder):
    part = stored.embeddings.select(np.arange(100))
    part.save(folder / "run" / "embeddings.parquet", stored.provenance)
    assert load()[1] == 120


def test_a_comparison_embeds_no_more_than_pool_and_test(context, load):
    part, embedded, _ = load(tested_only=True)
    assert embedded == len(context.pool) + len(context.test) == 48
    assert_same(part.pool_embeddings, context.pool_embeddings)
    assert_same(part.test_embeddings, context.test_embeddings)


def test_with_8_orientations_turning_the_images_changes_no_embedding(stored, load):
    part, embedded, _ = load(orientations=8)
    assert embedded == 8 * 120  # none is reused
    assert part.provenance == stored.provenance | {"orientations": "8"}
    assert "the mean over 8 orientations" in part.description["evaluated on"]
    x, network = part.data.images(rows := part.embeddings.index[:5]), part.method.backbone
    for turned in (x, x.flip(3).rot90(3, (2, 3))):
        with torch.no_grad():
            expected = mean_embedding(network, network.normalise(turned), 8).numpy()
        assert np.allclose(part.embeddings.vectors[:5], expected, atol=1e-4)
    assert not np.allclose(part.embeddings.vectors, stored.embeddings.vectors, atol=1e-3)
    untrained = part.embed(part.untrained, rows).vectors
    with torch.no_grad():
        assert np.allclose(untrained, mean_embedding(part.untrained, network.normalise(x), 8).numpy(), atol=1e-4)


@pytest.mark.parametrize("damage", [b"", b"no table", None])
def test_damaged_embeddings_are_computed_again_with_a_warning(stored, load, folder, damage):
    file = folder / "run" / "embeddings.parquet"
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    context, embedded, log = load()
    assert embedded == 120
    assert "WARNING" in log
    assert "Embedding all samples again" in log
    assert_same(context.embeddings, stored.embeddings)


def test_embeddings_of_an_earlier_version_are_not_reused(stored, load, folder):
    stored.embeddings.save(folder / "run" / "embeddings.parquet")  # without provenance
    assert load()[1] == 120


def test_a_diverged_network_is_refused(settings, folder):
    def diverge(checkpoint):
        name = next(name for name in checkpoint["state_dict"] if name.startswith("backbone"))
        checkpoint["state_dict"][name].fill_(np.nan)

    change_checkpoint(folder, diverge)
    with pytest.raises(UserError, match=r"last\.ckpt: 120 of 120 embeddings are not finite: the training diverged"):
        load_context(settings())


def test_unseen_classes_are_halved_by_the_hash_of_the_key(context):
    pool, test = context.pool_embeddings, context.test_embeddings
    assert context.population == "2 classes unseen in pretraining"
    assert not set(pool.paths) & set(test.paths)
    assert len(pool) + len(test) == 48
    assert set(pool.splits) == set(test.splits) == {"unseen"}
    halves = halve(context.data.keys, context.data.indices("unseen"))
    assert (pool.index.tolist(), test.index.tolist()) == tuple(half.tolist() for half in halves)


@pytest.mark.parametrize("unseen", [[], ["c"]])
def test_seen_classes_are_tested_if_fewer_than_two_are_unseen(unseen):
    rows = {"train": np.array([0, 2, 4]), "test": np.array([5, 7]), "unseen": np.array([8, 9])}
    data = SimpleNamespace(modality="images", seen_classes=["a", "b"], unseen_classes=unseen,
                           indices=rows.get, labelled=lambda: np.array([0, 4]), digests=np.arange(10))  # fmt: skip
    record = TrainingRecord(np.array([0, 2, 4]), 3, ["a", "b"], unseen)
    pool, test, population = partition(data, record)
    assert pool.tolist() == [0, 4]
    assert test.tolist() == [5, 7]
    assert population == "2 classes seen in pretraining"
    assert partition(data, None)[2] == "2 classes"
    assert partition(data, replace(record, seen=["a"]))[2] == "2 classes, images not trained on"


def test_copies_of_images_in_the_pool_are_not_tested():
    rows = {"test": np.array([5, 6, 7])}
    data = SimpleNamespace(modality="images", seen_classes=["a", "b"], unseen_classes=[], indices=rows.get,
                           labelled=lambda: np.array([0, 4]), digests=np.array([9, 1, 2, 3, 4, 5, 9, 7]))  # fmt: skip
    assert partition(data, None)[1].tolist() == [5, 7]


def test_points_are_tested_on_the_test_split():
    rows = {"train": np.array([0, 1, 2]), "test": np.array([4, 5])}
    data = SimpleNamespace(modality="points", indices=rows.get, digests=np.arange(6))
    pool, test, population = partition(data, None)
    assert (pool.tolist(), test.tolist(), population) == ([0, 1, 2], [4, 5], "held-out points")


def test_the_description_says_what_was_trained_on_what(context):
    description = context.description
    assert context.title == "simclr on plankton: evaluation"
    assert description["backbone"] == "mobilenet_v3_small"
    assert description["evaluated on"].startswith("plankton, 120 images of 32 px, /")
    assert description["notices"] == "none"
    train = (context.embeddings.splits == "train").sum()
    assert description["trained on"] == f"{train} images of plankton, 1 epochs, seed 0"
    assert description["time"] == "1.5 minutes"


def test_the_sample_table_has_names_and_components(context):
    table = context.sample_table(seed=0, rows=50, components=3)
    assert list(table.columns) == ["path", "split", "class", "component 1", "component 2", "component 3"]
    assert len(table) == 50
    assert all(path.startswith(name) for path, name in zip(table["path"], table["class"], strict=True))


def test_provenance_is_stored_with_the_embeddings(stored, folder):
    assert Embeddings.load(folder / "run" / "embeddings.parquet").provenance == stored.provenance
    assert stored.provenance.keys() == {"checkpoint", "store", "normalisation"}
