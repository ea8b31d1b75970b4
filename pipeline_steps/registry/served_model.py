"""The registered model, logged from code: MLflow runs this file to load it, nothing is pickled.

Weights, catalogue and histories are artifacts beside it; `diffrec_core` travels as code.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from diffrec_core.common.errors import DataError
from diffrec_core.models.kinds import load
from diffrec_core.serving import Recommendation, RecommendationService


class RecommenderModel(PythonModel):
    """Recommend for known users (`user_id`) or for given histories (`items`, oldest first)."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model directory, verifying its checksums, and the histories."""
        artifacts = {name: Path(path) for name, path in context.artifacts.items()}
        self.service = RecommendationService.load(
            load(artifacts["model"]), artifacts["interactions"], context.model_config["repeats"]
        )

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer each row.

        Args:
            context: not used.
            model_input: columns `user_id`, or `items` and, if wanted, `timestamps` (seconds) and
                `seen`, further items that are not to be recommended. Where a row has a user and
                items, its items count.
            params: `k`, how many items; `exclude_seen`, whether to leave out what the user has
                seen, as the version was registered: always, never, or for some days.

        Returns:
            One row per row: `item_ids`, `scores`, and `source`, which is `popularity` where
            nothing of the history is known, else `history`.
        """
        return answer(self.service, model_input, params or {})


def answer(
    service: RecommendationService, requests: pd.DataFrame, params: dict[str, Any]
) -> pd.DataFrame:
    """Answer a frame of requests; see `RecommenderModel.predict`."""
    k, exclude_seen = int(params.get("k", 10)), bool(params.get("exclude_seen", True))
    if not {"user_id", "items"} & set(requests.columns):
        raise DataError(
            f"a request needs a column user_id or items, found {list(requests.columns)}"
        )
    has_items = [_present(value) for value in _column(requests, "items")]
    has_user = [_present(value) for value in _column(requests, "user_id")]
    for row, (items, user) in enumerate(zip(has_items, has_user, strict=True)):
        if not items and not user:
            raise DataError(f"row {row} has neither a user_id nor items")
    answers: dict[int, Recommendation] = {}
    by_items = [row for row, present in enumerate(has_items) if present]
    by_user = [row for row, present in enumerate(has_items) if not present]
    if by_items:
        chosen = requests.iloc[by_items]
        histories = [[str(item) for item in items] for items in chosen["items"]]
        seen = [
            [str(item) for item in items] if _present(items) else []
            for items in _column(chosen, "seen")
        ]
        lists = service.for_items(
            histories, k, timestamps=_timestamps(chosen), seen=seen, exclude_seen=exclude_seen
        )
        answers |= dict(zip(by_items, lists, strict=True))
    if by_user:
        ids = [str(user) for user in requests.iloc[by_user]["user_id"]]
        lists = service.for_users(ids, k, exclude_seen=exclude_seen)
        answers |= dict(zip(by_user, lists, strict=True))
    ordered = [answers[row] for row in range(len(requests))]
    return pd.DataFrame(
        {
            "item_ids": [recommendation.item_ids for recommendation in ordered],
            "scores": [recommendation.scores for recommendation in ordered],
            "source": [recommendation.source for recommendation in ordered],
        },
        index=requests.index,
    )


def _column(requests: pd.DataFrame, name: str) -> list[Any]:
    return list(requests[name]) if name in requests.columns else [None] * len(requests)


def _present(value: Any) -> bool:
    """True if a cell holds a list, even an empty one, or a scalar that is not null."""
    return not (pd.api.types.is_scalar(value) and pd.isna(value))


def _timestamps(requests: pd.DataFrame) -> list[list[float]] | None:
    values = _column(requests, "timestamps")
    if not all(_present(value) for value in values):
        return None
    return [[float(time) for time in times] for times in values]


mlflow.models.set_model(RecommenderModel())
