"""The part of Airflow's REST API that scripts use. Standard library only.

User and password are those that `airflow standalone` generates: docs/operations.md.
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
    """Client of one Airflow.

    Attributes:
        url: of its API server.
        home: its AIRFLOW_HOME, which holds the password.
    """

    url: str
    home: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API as the generated user.

        Raises:
            OSError: there is no answer, or it is an error, which is quoted.
        """
        passwords: dict[str, str] = json.loads((self.home / PASSWORDS).read_text())
        name, password = next(iter(passwords.items()))
        token = self._request("POST", "/auth/token", {"username": name, "password": password})
        return self._request(method, f"/api/v2{path}", body, token["access_token"])

    def knows(self, dag: str) -> bool:
        """Return whether the API answers and has parsed the DAG."""
        try:
            return bool(self.call("GET", f"/dags/{dag}"))
        except (OSError, StopIteration, ValueError, KeyError):
            return False

    def unpause(self, dag: str) -> None:
        """Unpause a DAG."""
        self.call("PATCH", f"/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, run: str, date: str | None = None, **conf: Any) -> None:
        """Trigger a run for the data interval that ends at a date: at most one run per date.

        Without a date there may be many, and `conf` says which data they are for.
        """
        body = {"dag_run_id": run, "logical_date": date and f"{date}T00:00:00Z", "conf": conf}
        self.call("POST", f"/dags/{dag}/dagRuns", body)

    def state(self, dag: str, run: str) -> str:
        """Return the state of a run."""
        state: str = self.call("GET", f"/dags/{dag}/dagRuns/{run}")["state"]
        return state

    def tasks(self, dag: str, run: str) -> dict[str, str | None]:
        """Return the state of every task of a run; None: not started."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=1000"
        return {t["task_id"]: t["state"] for t in self.call("GET", path)["task_instances"]}

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
