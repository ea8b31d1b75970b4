"""Find the current table of recommendations, and check its age."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from diffrec_core.monitoring.champion import table_age
from diffrec_core.monitoring.checks import Check, Status
from diffrec_core.monitoring.config import MonitorConfig
from pipeline_steps.champion.published_tables import LATEST
from pipeline_steps.nights.store import Store


def find_table(published: Store, now: datetime, config: MonitorConfig) -> Check:
    """The check of the current table's age.

    Returns:
        unknown if no table was published, or the place cannot be read; alarm if what is published
        is damaged: then consumers cannot read it either.
    """
    try:
        content = published.read_if_there(LATEST)
        if content is None:
            return _not_judged("unknown", f"no table was published yet: {LATEST} is missing")
        latest = json.loads(content)
        end, path = _time(latest["end"]), latest["path"]
        if path not in published.names(path.rpartition("/")[0]):
            return _not_judged("alarm", f"{LATEST} names {path}, which is missing")
        return table_age(_made_by(latest), end, latest["published"], now, config)
    except OSError as error:
        return _not_judged("unknown", f"what is published cannot be read: {error}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{LATEST} is damaged ({type(error).__name__}: {error}): publish a table again"
        return _not_judged("alarm", why)


def _made_by(latest: Mapping[str, Any]) -> str:
    model = latest["model"]
    return f"of run {latest['run']} by {model['name']} version {model['version']}"


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _not_judged(status: Status, why: str) -> Check:
    return Check("table_age", status, None, None, why)
