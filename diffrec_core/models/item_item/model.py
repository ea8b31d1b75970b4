"""Models that score a history x by x W."""

from abc import abstractmethod
from collections.abc import Mapping

from scipy import sparse
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.item_item.matrix import ItemItemMatrix
from diffrec_core.training.trainer import TrainingOptions, TrainingReport


class ItemItemRecommender(Recommender):
    """Scores by x W with a sparse W (I, I), learned from who had what, unweighted.

    Recency weights the input x at scoring time and not W: which items go together does not
    change with when a user had them.
    """

    matrix: ItemItemMatrix

    @abstractmethod
    def _weights(self, x_UI: sparse.csr_matrix, options: TrainingOptions) -> sparse.csr_matrix:
        """Learn W (I, I): row i holds what having item i speaks for each other item."""

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        weights_II = self._weights(user_item_matrix(data.histories, len(data.items)), options)
        self.matrix = ItemItemMatrix.from_scipy(weights_II, self.device)
        return TrainingReport()

    def _score(self, histories: Histories) -> Tensor:
        return self.matrix.score(self.input_rows(histories))

    def _tensors(self) -> dict[str, Tensor]:
        return self.matrix.tensors()

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.matrix = ItemItemMatrix.restore(tensors, self.device)
