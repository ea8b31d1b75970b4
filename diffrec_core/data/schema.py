"""Column names, units of time, and the schema version of every file that the pipeline writes.

Standard library only; the types of the columns are in `diffrec_core.data.tables`.
"""

from datetime import timedelta
from typing import Final

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
FIRST_SEEN: Final = "first_seen"
LAST_SEEN: Final = "last_seen"
INDEX: Final = "index"
TITLE: Final = "title"
RANK: Final = "rank"
SCORE: Final = "score"
SOURCE: Final = "source"
EMBEDDING: Final = "embedding"
CLUSTER: Final = "cluster"
HIT: Final = "hit"

TICK: Final = timedelta(microseconds=1)
"""Resolution of timestamps."""

MICROSECONDS_PER_DAY: Final = timedelta(days=1) // TICK

RAW_MANIFEST_SCHEMA: Final = "raw/1"
KNOWN_IDS_SCHEMA: Final = "known_ids/1"
EVENTS_SCHEMA: Final = "events/2"
QUARANTINE_SCHEMA: Final = "quarantine/1"
TITLES_SCHEMA: Final = "titles/1"
INTERACTIONS_SCHEMA: Final = "interactions/2"
SPLIT_SCHEMA: Final = "split/2"
EMBEDDINGS_SCHEMA: Final = "item_embeddings/1"
CLUSTERS_SCHEMA: Final = "item_clusters/1"
MODEL_SCHEMA: Final = "model/2"
CANDIDATE_SCHEMA: Final = "candidate/1"
EVALUATION_SCHEMA: Final = "evaluation/2"
HISTORY_SCHEMA: Final = "history/1"
"""Of the summaries of this run and of the one before."""

RECOMMENDATIONS_SCHEMA: Final = "recommendations/2"
GATE_SCHEMA: Final = "gate/1"
STATUS_SCHEMA: Final = "status/1"
RUN_SCHEMA: Final = "run/1"
