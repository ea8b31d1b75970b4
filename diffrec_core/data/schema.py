"""Column names, types and schema versions of every table that the pipeline writes."""

from typing import Final

import polars as pl

USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
TIMESTAMP: Final = "timestamp"
EVENT_TYPE: Final = "event_type"
VALUE: Final = "value"
SOURCE_FILE: Final = "source_file"
SOURCE_ROW: Final = "source_row"
RAW: Final = "raw"
REASON: Final = "reason"
USER: Final = "user"
ITEM: Final = "item"
WEIGHT: Final = "weight"
INDEX: Final = "index"
TITLE: Final = "title"
RANK: Final = "rank"
SCORE: Final = "score"

TIMESTAMP_TYPE: Final = pl.Datetime("us", "UTC")

EVENTS_SCHEMA: Final = "events/1"
EVENTS: Final = pl.Schema(
    {
        USER_ID: pl.String(),
        ITEM_ID: pl.String(),
        TIMESTAMP: TIMESTAMP_TYPE,
        EVENT_TYPE: pl.String(),
        VALUE: pl.Float32(),
        SOURCE_FILE: pl.String(),
        SOURCE_ROW: pl.Int64(),
    }
)
"""One accepted raw row. `source_row` counts the lines of the file from 1, the header included."""

QUARANTINE: Final = pl.Schema(
    {SOURCE_FILE: pl.String(), SOURCE_ROW: pl.Int64(), RAW: pl.String(), REASON: pl.String()}
)
"""One rejected raw row: where it stood, its text, and why it was rejected."""

RAW_MANIFEST_SCHEMA: Final = "raw/1"
QUARANTINE_SCHEMA: Final = "quarantine/1"
TITLES_SCHEMA: Final = "titles/1"

INTERACTIONS_SCHEMA: Final = "interactions/1"
INTERACTIONS: Final = pl.Schema(
    {USER: pl.Int32(), ITEM: pl.Int32(), TIMESTAMP: TIMESTAMP_TYPE, WEIGHT: pl.Float32()}
)
"""One (user, item) fact by vocabulary index, sorted by (user, timestamp, item id)."""

USERS: Final = pl.Schema({INDEX: pl.Int32(), USER_ID: pl.String()})
ITEMS: Final = pl.Schema({INDEX: pl.Int32(), ITEM_ID: pl.String(), TITLE: pl.String()})
"""The vocabularies; `title` is null where no titles were given."""

SPLIT_SCHEMA: Final = "split/1"
EMBEDDINGS_SCHEMA: Final = "item_embeddings/1"
CLUSTERS_SCHEMA: Final = "item_clusters/1"
MODEL_SCHEMA: Final = "model/2"
CANDIDATE_SCHEMA: Final = "candidate/1"
EVALUATION_SCHEMA: Final = "evaluation/2"
RECOMMENDATIONS_SCHEMA: Final = "recommendations/1"
RECOMMENDATIONS: Final = pl.Schema(
    {USER_ID: pl.String(), RANK: pl.Int32(), ITEM_ID: pl.String(), SCORE: pl.Float32()}
)

EMBEDDING: Final = "embedding"
CLUSTER: Final = "cluster"
HIT: Final = "hit"
