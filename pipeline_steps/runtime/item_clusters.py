"""Item clusters for latent models, from histories: LightGCN, then k-means."""

import numpy as np
from numpy.typing import NDArray

from diffrec_core.common.rng import derive_seed
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from pipeline_steps.runtime.fitting import Training


def fit_item_clusters(
    histories: Histories,
    n_items: int,
    embedding: LightGCNConfig,
    clustering: ClusteringConfig,
    *,
    training: Training,
    seed: int,
    validation: RankingTask | None = None,
) -> tuple[NDArray[np.int64], int]:
    """Train item embeddings and cluster them.

    Args:
        histories: what LightGCN is trained on.
        n_items: size of the catalogue, I.
        embedding: the section `pretrain_item_embeddings`.
        clustering: the section `cluster_items`.
        training: of LightGCN.
        seed: of the run.
        validation: stops the training; None where `training` has fixed epochs.

    Returns:
        (I,) cluster of each item, and the epochs that LightGCN was trained for.
    """
    with training.options(embedding) as options:
        embeddings, report = fit_lightgcn(
            histories, n_items, embedding, options, validation, name="pretrain_item_embeddings"
        )
    read_out = embeddings.read_out.cpu().numpy()
    clusters = cluster_items(read_out, clustering, seed=derive_seed(seed, "cluster_items"))
    return clusters, report.best_epoch
