"""Airflow's REST API, as far as the scripts and tests here need it; by the standard library alone.

The user and the password are those that `airflow standalone` has made: docs/operations.md.
"""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDED = ("success", "failed")
"""States of a run that has ended."""

_TIMEOUT_SECONDS = 120.0  # a busy machine may take long to answer

PASSWORDS = "simple_auth_manager_passwords.json.generated"


@dataclass(frozen=True)
class AirflowApi:
    """One Airflow, asked over HTTP.

    Attributes:
        url: of its API server.
        home: its AIRFLOW_HOME, where the password lies.
    """

    url: str
    home: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API as the user whom the login page would let in.

        Raises:
            OSError: nobody answers, or the answer is an error, which is quoted.
        """
        passwords: dict[str, str] = json.loads((self.home / PASSWORDS).read_text())
        name, password = next(iter(passwords.items()))
        token = self._request("POST", "/auth/token", {"username": name, "password": password})
        return self._request(method, f"/api/v2{path}", body, token["access_token"])

    def knows(self, dag: str) -> bool:
        """Whether it answers, and has read the DAG."""
        try:
            return bool(self.call("GET", f"/dags/{dag}"))
        except (OSError, StopIteration, ValueError, KeyError):
            return False

    def unpause(self, dag: str) -> None:
        """Let the runs of a DAG begin."""
        self.call("PATCH", f"/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, run: str, date: str | None = None, **conf: Any) -> None:
        """Start a run by hand, for the data interval that ends at a date: one run for each date.

        Without a date there may be many, and `conf` says what they are about.
        """
        body = {"dag_run_id": run, "logical_date": date and f"{date}T00:00:00Z", "conf": conf}
        self.call("POST", f"/dags/{dag}/dagRuns", body)

    def state(self, dag: str, run: str) -> str:
        """The state of a run."""
        state: str = self.call("GET", f"/dags/{dag}/dagRuns/{run}")["state"]
        return state

    def tasks(self, dag: str, run: str) -> dict[str, str | None]:
        """The state of every task of a run; None: it has not begun."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=1000"
        return {t["task_id"]: t["state"] for t in self.call("GET", path)["task_instances"]}

    def task(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """All that is known of a task of a run, of its last try."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"
        found: dict[str, Any] = self.call("GET", path)
        return found

    def clear(self, dag: str, run: str, *tasks: str) -> None:
        """Clear tasks and all after them, as in the UI."""
        body = {
            "dry_run": False,
            "dag_run_id": run,
            "task_ids": list(tasks),
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self.call("POST", f"/dags/{dag}/clearTaskInstances", body)

    def _request(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read()[:300]!r}") from error
