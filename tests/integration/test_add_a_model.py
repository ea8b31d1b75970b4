"""docs/how-to/add-a-model.md, executed as it stands."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import PROJECT, Project

pytestmark = pytest.mark.integration
DOCUMENT = (PROJECT / "docs/how-to/add-a-model.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture(scope="module")
def guided(new_project: Callable[[], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which a person has followed the page, up to the last command."""
    project, home = new_project(), tmp_path_factory.mktemp("home")
    params = project.params()
    params["models"] = {"popularity": params["models"]["popularity"]}
    project.write(params)
    (path,) = re.findall(r"^`~/(.*\.py)`:$", DOCUMENT, re.MULTILINE)
    (home / path).parent.mkdir()
    (home / path).write_text(blocks("python")[0])
    (project.root / "tests").symlink_to(PROJECT / "tests")
    for name in ("pyproject.toml", "scripts", "benchmarks"):
        (project.root / name).symlink_to(PROJECT / name)
    script = "\n".join(["set -eu", *blocks("bash")])
    done = project.run("bash", "-c", script, HOME=str(home), PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_the_model_is_trained_and_compared(guided: Project) -> None:
    board = json.loads((guided.root / "reports/leaderboard.json").read_text())
    assert set(board["models"]) == {"popularity", "transitions"}
    assert board["selected"] == "transitions"  # the planted log has an order


def test_it_is_registered_with_its_code(guided: Project) -> None:
    registration = json.loads((guided.root / "reports/registration.json").read_text())
    assert registration["alias"] == "champion"
    copies = list(Path(guided.root / "mlruns").rglob("code/transitions.py"))
    assert len(copies) == 1
    code = (
        "import mlflow, pandas as pd\n"
        "model = mlflow.pyfunc.load_model('models:/diffrec@champion')\n"
        "print(model.predict(pd.DataFrame({'user_id': ['1']})).to_json())"
    )
    done = guided.run(
        "python", "-W", "ignore", "-c", code, MLFLOW_TRACKING_URI="sqlite:///mlflow.db"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"]["0"] in ("history", "popularity")


def test_a_change_of_its_code_makes_it_stale_and_nothing_else(guided: Project) -> None:
    lock = (guided.root / "dvc.lock").read_text()
    stage = lock.partition("train@transitions:")[2]
    assert "my_models/transitions.py" in stage
