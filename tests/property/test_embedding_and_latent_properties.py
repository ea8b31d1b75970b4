"""Shares of latent dimensions, negatives, the graph, and cluster numbers."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.models.diffrec.cluster_vae import (
    ClusterVae,
    ClusterVaeConfig,
    allocate,
)
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items
from diffrec_core.models.lightgcn.adjacency import normalised_adjacency, propagate
from diffrec_core.nn.negatives import NegativeSampler
from diffrec_core.nn.variational import kl_divergence, multinomial_loss
from tests.oracle.model_oracles import adjacency, layers_of, multinomial, sparse
from tests.oracle.strategies import effort, item_lists

SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=30)


@effort(200)
@given(SIZES, st.integers(0, 400))
def test_allocation_uses_all_gives_each_one_and_more_to_the_larger(
    sizes: list[int], extra: int
) -> None:
    total = len(sizes) + extra
    shares = allocate(total, np.array(sizes))
    assert sum(shares) == total
    assert min(shares) >= 1
    for a, share_a in zip(sizes, shares, strict=True):
        for b, share_b in zip(sizes, shares, strict=True):
            if a > b:
                assert share_a >= share_b
            if a == b:
                assert abs(share_a - share_b) <= 1


@effort(50)
@given(st.lists(st.integers(1, 5000), min_size=2, max_size=30), st.data())
def test_fewer_dimensions_than_categories_are_refused(
    sizes: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(1, len(sizes) - 1))
    with pytest.raises(DataError, match=f"{total} latent dimensions cannot be shared"):
        allocate(total, np.array(sizes))


@effort(40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.booleans())
def test_any_categories_keep_items_in_vocabulary_order(labels: list[int], shared: bool) -> None:
    """With weights of zero and the item's index as bias, item i must score i."""
    categories = np.unique(labels, return_inverse=True)[1]
    latent = len(labels) + 8
    vae = ClusterVae(
        categories,
        ClusterVaeConfig(encoder_dims=(latent,), decoder_dims=() if shared else (latent,)),
    )
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        order = torch.tensor(sorted(range(len(labels)), key=lambda i: (categories[i], i)))
        if shared:
            vae.decoders[0].bias.copy_(torch.arange(len(labels)))
        else:
            start = 0
            for size, decoder in zip(np.bincount(categories), vae.decoders, strict=True):
                decoder[-1].bias.copy_(order[start : start + int(size)])
                start += int(size)
        scores = vae.decode(torch.rand(2, vae.latent_dim))
    assert scores.tolist() == [[float(i) for i in range(len(labels))]] * 2


@effort(60)
@given(st.lists(st.tuples(st.floats(-8, 8), st.floats(-8, 8)), min_size=1, max_size=5))
def test_the_divergence_is_never_negative(codes: list[tuple[float, float]]) -> None:
    mean, log_variance = torch.tensor(codes, dtype=torch.float64).T[:, None]
    assert float(kl_divergence(mean, log_variance)) >= -1e-12


@effort(60)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.integers(0, 1000))
def test_multinomial_loss_is_the_loop_and_does_not_see_a_shift(
    scores: list[float], seed: int
) -> None:
    x = np.random.default_rng(seed).integers(0, 2, size=(1, len(scores))).astype(np.float64)
    table = torch.tensor([scores], dtype=torch.float64)
    loss = multinomial_loss(table, sparse(x))
    np.testing.assert_allclose(loss, multinomial(table.numpy(), x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(multinomial_loss(table + 17.0, sparse(x)), loss)


@effort(80)
@given(
    st.lists(st.sets(st.integers(0, 19)), min_size=1, max_size=6),
    st.integers(0, 10**6),
)
def test_a_negative_is_never_a_positive(owned: list[set[int]], seed: int) -> None:
    """Unless the user has every item."""
    positives = Histories.from_lists([sorted(items) for items in owned])
    users = np.random.default_rng(seed).integers(len(owned), size=40)
    negatives = NegativeSampler(positives, 20).draw(users, 3, np.random.default_rng(seed))
    for user, items in zip(users.tolist(), negatives.tolist(), strict=True):
        for item in items:
            assert 0 <= item < 20
            assert len(owned[user]) == 20 or item not in owned[user]


@effort(60)
@given(item_lists(n_items=5, min_users=1), st.integers(1, 3), st.integers(0, 100))
def test_any_graph_propagates_both_ways(rows: list[list[int]], depth: int, seed: int) -> None:
    sparse = normalised_adjacency(Histories.from_lists(rows), 5)
    matrix = sparse.product(torch.eye(len(rows) + 5))
    np.testing.assert_allclose(matrix, adjacency(rows, 5), rtol=1e-6)
    start = np.random.default_rng(seed).normal(size=(len(rows) + 5, 2))
    layers = propagate(sparse, torch.from_numpy(start).to(torch.float32), depth)
    for layer, by_hand in zip(layers, layers_of(rows, 5, start, depth), strict=True):
        np.testing.assert_allclose(layer, by_hand, rtol=1e-3, atol=1e-5)


@effort(25)
@given(st.integers(1, 12), st.data())
def test_clusters_are_numbered_without_gaps_by_first_item(
    n_items: int, data: st.DataObject
) -> None:
    config = ClusteringConfig(n_clusters=data.draw(st.integers(1, n_items)), restarts=2)
    values = st.lists(st.sampled_from([0.0, 1.0, 5.0]), min_size=n_items, max_size=n_items)
    points = np.array([data.draw(values), data.draw(values)], dtype=np.float32).T
    labels = cluster_items(points, config, seed=data.draw(st.integers(0, 2**62))).tolist()
    seen: list[int] = []
    for label in labels:
        if label not in seen:
            assert label == len(seen)
            seen.append(label)
    assert len(seen) <= config.n_clusters
    for i, j in combinations(range(n_items), 2):
        if (points[i] == points[j]).all():
            assert labels[i] == labels[j]
