"""Downloads by fetch_sample, as a command, from a server on loopback that misbehaves."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrec_core.common.errors import DataError
from pipeline_steps.sample import download
from tests.loopback import DIRECT, LOG, Site, serving, sha256, zipped
from tests.raw_logs import REPOSITORY, run_step


def fetch(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run_step("fetch_sample", *arguments, cwd=folder, environment=DIRECT | environment)


def parts(folder: Path) -> list[Path]:
    return list((folder / "data/raw").glob(".*.part"))


def test_a_file_is_fetched_once_and_its_checksum_told(tmp_path):
    site = Site()
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/log.csv")
        assert done.returncode == 0, done.stderr
        again = fetch(tmp_path, f"{url}/log.csv")
    assert (tmp_path / "data/raw/log/log.csv").read_bytes() == LOG
    assert f"SHA-256 of the fetched file: {sha256(LOG)}" in done.stderr
    assert again.returncode == 0
    assert "data/raw/log is already there and complete" in again.stderr
    assert site.asked == [None]
    assert not parts(tmp_path)


def test_folder_and_name_can_be_chosen(tmp_path):
    with serving(Site()) as url:
        fetch(tmp_path, f"{url}/log.csv", "--out", "else where", "--name", "mine")
    assert (tmp_path / "else where/mine/log.csv").read_bytes() == LOG


def test_an_answer_that_breaks_off_is_continued(tmp_path):
    site = Site(cut_after=[1_000_000])
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/log.csv", "--sha256", sha256(LOG), "--retries", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/raw/log/log.csv").read_bytes() == LOG
    first, second, rest = site.asked
    assert (first, second) == (None, None)
    assert 900_000 < int(rest.removeprefix("bytes=").rstrip("-")) <= 1_000_000


def test_a_killed_download_leaves_a_part_and_is_continued(tmp_path):
    site = Site(cut_after=[2_000_000], hold=threading.Event())
    with serving(site) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline_steps", "fetch-sample", f"{url}/log.csv"],
            cwd=tmp_path,
            env={**os.environ, **DIRECT, "PYTHONPATH": str(REPOSITORY)},
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: any(part.stat().st_size >= 1_000_000 for part in parts(tmp_path)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert [path.suffix for path in (tmp_path / "data/raw").iterdir()] == [".part"]
        have = parts(tmp_path)[0].stat().st_size
        done = fetch(tmp_path, f"{url}/log.csv")
    assert done.returncode == 0, done.stderr
    assert site.asked == [None, None, f"bytes={have}-"]
    assert (tmp_path / "data/raw/log/log.csv").read_bytes() == LOG
    assert not parts(tmp_path)


def test_halves_of_two_versions_are_never_joined(tmp_path):
    site = Site(cut_after=[1_000_000])
    with serving(site) as url:
        assert fetch(tmp_path, f"{url}/log.csv", "--retries", "0").returncode == 3
        assert len(parts(tmp_path)) == 1
        site.data, site.tag = LOG[::-1], '"v2"'
        assert fetch(tmp_path, f"{url}/log.csv").returncode == 0
    assert (tmp_path / "data/raw/log/log.csv").read_bytes() == LOG[::-1]
    assert site.asked == [None, None]
    assert not parts(tmp_path)


def test_a_file_that_changes_between_two_answers_is_fetched_whole(tmp_path):
    site = Site(cut_after=[1_000_000], next_data=LOG[::-1])
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/log.csv", "--retries", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/raw/log/log.csv").read_bytes() == LOG[::-1]


def test_a_server_that_gives_less_than_the_rest_is_asked_again(tmp_path):
    site = Site(cut_after=[1_000_000], range_bytes=1_500_000)
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/log.csv", "--retries", "2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/raw/log/log.csv").read_bytes() == LOG
    assert len(site.asked) == 5


def test_a_server_that_cannot_continue_is_asked_for_all(tmp_path):
    site = Site(cut_after=[1_000_000], ranges=False, tag=None)
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/log.csv", "--retries", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/raw/log/log.csv").read_bytes() == LOG


def test_a_wrong_checksum_is_refused_and_not_kept(tmp_path):
    site = Site()
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/log.csv", "--sha256", "0" * 64)
        assert done.returncode == 3
        assert f"SHA-256 {sha256(LOG)} found, {'0' * 64} expected" in done.stderr
        assert list((tmp_path / "data/raw").iterdir()) == []
        assert fetch(tmp_path, f"{url}/log.csv", "--sha256", sha256(LOG)).returncode == 0
    assert site.asked == [None, None]


def test_a_busy_server_is_asked_again(tmp_path):
    site = Site(errors=[503])
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/log.csv", "--retries", "1")
    assert done.returncode == 0, done.stderr
    assert "the server answers 503 Service Unavailable; again in 1 s" in done.stderr


def test_a_missing_file_is_not_asked_for_again(tmp_path):
    site = Site()
    with serving(site) as url:
        done = fetch(tmp_path, f"{url}/missing")
    assert done.returncode == 3
    assert "/missing: the server answers 404 Not Found" in done.stderr
    assert len(site.asked) == 1


def test_offline_names_the_url_and_the_way_out(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = fetch(tmp_path, f"http://127.0.0.1:{port}/log.csv", "--retries", "0")
    assert done.returncode == 3
    assert f"cannot download http://127.0.0.1:{port}/log.csv after 1 attempts" in done.stderr
    assert "Connection refused" in done.stderr
    assert "pass its path instead of the URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_zip_is_unpacked(tmp_path):
    with serving(Site(data=zipped({"logs/a.csv": b"1", "b.csv": b"2"}))) as url:
        done = fetch(tmp_path, f"{url}/download?id=7", "--name", "logs")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/raw/logs/logs/a.csv").read_bytes() == b"1"
    assert (tmp_path / "data/raw/logs/b.csv").read_bytes() == b"2"


def test_a_zip_that_reaches_out_of_its_folder_is_refused(tmp_path):
    with serving(Site(data=zipped({"good.csv": b"1", "../evil.csv": b"2"}))) as url:
        done = fetch(tmp_path, f"{url}/logs.zip")
    assert done.returncode == 3
    assert "'../evil.csv' in it would land outside of its folder" in done.stderr
    assert not list(tmp_path.rglob("*.csv"))
    assert not parts(tmp_path)


def test_pip_that_hangs_is_given_up(tmp_path, monkeypatch):
    def hang(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(DataError, match="took more than 600 s"):
        download.download_wheel("recbole==1.2.1", tmp_path)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.05)
