"""Addresses in messages: nothing of a password, wherever it stands and whatever it holds."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from diffrec_core.common.errors import ConfigError, StorageError
from pipeline_steps.nights.store import Store
from pipeline_steps.registry.tracking import registry
from pipeline_steps.runtime.urls import public, redacted

PLACEMENTS = (
    "postgresql://ann:{}@db/mlflow",
    "postgresql+psycopg://ann:{}@db:5432/mlflow?sslmode=require",
    "postgresql://db:5432/mlflow?user=ann&password={}",
    "postgresql://ann:x@db/mlflow?sslpassword={}#top",
    "mysql://:{}@db",
    "sqlite+pysqlcipher://:{}@/mlflow.db?kdf=1",
    "sqlite:///mlflow.db?key={}",
    "https://ann:{}@mlflow.example:5000/path",
    "https://{}@mlflow.example/path",
    "https://{}:@mlflow.example/path",
    "http://mlflow.example/path?token={}",
    "http://mlflow.example#{}",
    "ann:{}@db",
)
SPECIAL = "@:/?#;&=%\\ "


@st.composite
def secrets(draw: st.DrawFn) -> str:
    """Pieces that stand nowhere else in the addresses, between characters that part them."""
    pieces = draw(st.lists(st.text("QXZ79", min_size=2, max_size=4), min_size=1, max_size=4))
    return "".join(piece + draw(st.sampled_from(SPECIAL)) for piece in pieces).rstrip()


@given(secrets(), st.sampled_from(PLACEMENTS), st.booleans())
def test_no_part_of_a_secret_is_shown(secret: str, placement: str, quoted: bool) -> None:
    shown = public(placement.format(quote(secret, safe="") if quoted else secret))
    assert not set(shown) & set("QXZ79"), shown
    assert shown.partition("://")[0] in placement or "://" not in placement


@given(secrets(), st.sampled_from(PLACEMENTS[:-2]))
def test_no_message_has_the_secret(secret: str, placement: str) -> None:
    url = placement.format(quote(secret, safe=""))
    said = f"request to {url}/api failed: {secret!s} is not the password of ann ({quote(secret)})"
    assert secret not in redacted(said, url)
    assert url not in redacted(said, url)


@pytest.mark.parametrize(
    "url",
    ["sqlite:///mlflow.db", "sqlite:////home/ann@shop/mlflow.db", "postgresql://db:5432/mlflow",
     "http://127.0.0.1:5000", "s3://bucket/prefix", "/data/a@b/remote", "databricks"],
)  # fmt: skip
def test_what_holds_no_secret_is_shown_as_it_is(url: str) -> None:
    assert public(url) == url


@pytest.mark.parametrize("password", ["p@ss", "p@ss:w0rd", "a/b@c:d"])
def test_an_address_that_would_be_misread_is_refused_without_its_password(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://ann:{password}@db/mlflow")
    not_valid = pytest.raises(
        ConfigError, match=r"'postgresql://ann:\*\*\*@db/mlflow': not a valid"
    )
    with not_valid, registry():
        pass


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", {}, Exception("no login for ann with p/ss")),
        MlflowException("https://ann:p%2Fss@db/api: refused"),
    ],
)
def test_errors_of_libraries_are_passed_on_without_the_password(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:p%2Fss@db")
    with pytest.raises(StorageError) as caught, registry():
        raise error
    assert "ss@" not in str(caught.value)
    assert "p/ss" not in str(caught.value)
    assert "p%2Fss" not in str(caught.value)


def test_a_store_of_an_unknown_kind_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        Store("nowhere://ann:secret@host/prefix")
    assert "nowhere://ann:***@host/prefix" in str(caught.value)
    assert "secret" not in str(caught.value)
