"""Item embeddings are found by id, whatever the order of the catalogue."""

from pathlib import Path

import numpy as np
import pytest

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.item_tables import read_item_embeddings, write_item_embeddings
from diffrec_core.data.vocabulary import Vocabulary


def test_embeddings_come_in_the_order_of_the_vocabulary(tmp_path: Path) -> None:
    embeddings = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_item_embeddings(tmp_path, Vocabulary(("a", "b", "c")), embeddings)
    found = read_item_embeddings(tmp_path, Vocabulary(("c", "a")))
    assert found.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert found.dtype == np.float32


def test_an_item_without_an_embedding_is_named(tmp_path: Path) -> None:
    write_item_embeddings(tmp_path, Vocabulary(("a",)), np.ones((1, 2), np.float32))
    with pytest.raises(ArtifactError, match=r"no embedding for 2 items, among them \['x', 'y'\]"):
        read_item_embeddings(tmp_path, Vocabulary(("x", "a", "y")))
