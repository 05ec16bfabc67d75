"""Batches: what each rank reads in which order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewlabels.core.errors import UserError
from fewlabels.data.batches import EpochBatches, StoreDataset, consecutive_batches, make_loader, shard_batches

QUICK = settings(max_examples=25, deadline=None, database=None)


def rank_batches(rows, batch_size, world_size, epoch=0, steps=None):
    """The batches of every rank in one epoch."""
    samplers = [EpochBatches(rows, batch_size, 3, rank, world_size, steps) for rank in range(world_size)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [list(sampler) for sampler in samplers]


def test_dataset_reads_several_rows_at_once():
    samples, labels = np.arange(40, dtype=np.float32).reshape(20, 2), np.arange(20)
    batch = StoreDataset(samples, labels)[np.array([3, 1])]
    assert batch.x.tolist() == [[6, 7], [2, 3]]
    assert batch.y.tolist() == batch.index.tolist() == [3, 1]
    assert len(StoreDataset(samples, labels)) == 20


def test_loader_yields_the_given_batches():
    dataset = StoreDataset(np.zeros((9, 1, 2, 2), np.uint8), np.arange(9))
    batches = list(make_loader(dataset, consecutive_batches(np.arange(9), 4)))
    assert [batch.index.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert batches[0].x.dtype == torch.uint8


def test_ranks_together_see_the_global_batches_of_one_rank():
    rows = np.arange(100, 203)
    one = list(EpochBatches(rows, 16, seed=3))
    two, four = rank_batches(rows, 8, 2), rank_batches(rows, 4, 4)
    assert len(one) == len(two[0]) == len(four[0]) == 6
    for step, batch in enumerate(one):
        assert np.concatenate([batches[step] for batches in two]).tolist() == batch.tolist()
        assert np.concatenate([batches[step] for batches in four]).tolist() == batch.tolist()
    assert len(set(np.concatenate(one))) == 96


@QUICK
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 4), st.integers(0, 3))
def test_no_row_is_used_twice_in_an_epoch(count, batch_size, world_size, epoch):
    rows = np.arange(1000, 1000 + count)
    if count < batch_size * world_size:
        with pytest.raises(UserError, match=r"data\.batch_size"):
            rank_batches(rows, batch_size, world_size)
        return
    batches = rank_batches(rows, batch_size, world_size, epoch)
    used = np.concatenate([batch for of_rank in batches for batch in of_rank])
    assert {len(batch) for of_rank in batches for batch in of_rank} == {batch_size}
    assert {len(of_rank) for of_rank in batches} == {count // (batch_size * world_size)}
    assert len(set(used)) == len(used)
    assert set(used) <= set(rows)


@QUICK
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 3), st.integers(1, 12))
def test_a_fixed_number_of_steps_uses_all_rows_equally_often(count, batch_size, world_size, steps):
    batches = rank_batches(np.arange(count), batch_size, world_size, steps=steps)
    uses = np.bincount(np.concatenate([batch for of_rank in batches for batch in of_rank]), minlength=count)
    assert uses.sum() == steps * batch_size * world_size
    assert uses.max() - uses.min() <= 1


def test_start_skips_batches_of_the_next_iteration_only():
    sampler = EpochBatches(np.arange(20), 4, seed=0)
    complete = [batch.tolist() for batch in sampler]
    sampler.start = 2
    assert [batch.tolist() for batch in sampler] == complete[2:]
    assert [batch.tolist() for batch in sampler] == complete


@QUICK
@given(st.integers(0, 60), st.integers(1, 10), st.integers(1, 5))
def test_shards_partition_the_rows(count, batch_size, world_size):
    rows = np.random.default_rng(count).permutation(count)
    if 0 < count < world_size:
        with pytest.raises(UserError, match=rf"trainer\.devices={count}"):
            shard_batches(rows, batch_size, 0, world_size)
        return
    shards = [shard_batches(rows, batch_size, rank, world_size) for rank in range(world_size)]
    batches = [shards[step % world_size][step // world_size] for step in range(sum(map(len, shards)))]
    assert np.concatenate([np.empty(0, np.int64), *batches]).tolist() == rows.tolist()
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert count == 0 or all(shards)
    if len(consecutive_batches(rows, batch_size)) >= world_size:  # the same batches as on one rank
        alone = shard_batches(rows, batch_size, 0, 1)
        assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in alone]
