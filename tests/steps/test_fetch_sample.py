"""fetch_sample as a command, against a small server on loopback and a folder of wheels."""

import json
import logging
import os
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_steps.sample import archives, fetch_sample
from pipeline_steps.sample.archives import ML_100K, Member, Sample
from tests.loopback import DIRECT, Site, serving, sha256, zipped
from tests.raw_logs import run_step


def fetch(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run_step("fetch_sample", *arguments, cwd=folder, environment=DIRECT | environment)


class TestPath:
    def test_a_local_file_is_copied_and_again_when_it_has_changed(self, tmp_path):
        (tmp_path / "here.csv").write_text("1")
        target = tmp_path / "data/raw/here/here.csv"
        assert fetch(tmp_path, "here.csv").returncode == 0
        assert "already there" in fetch(tmp_path, "here.csv").stderr
        (tmp_path / "here.csv").write_text("2")
        assert fetch(tmp_path, "here.csv").returncode == 0
        assert target.read_text() == "2"

    def test_files_of_others_are_not_destroyed(self, tmp_path):
        (tmp_path / "here.csv").write_text("1")
        (tmp_path / "data/raw/here").mkdir(parents=True)
        (tmp_path / "data/raw/here/mine.csv").write_text("x")
        done = fetch(tmp_path, "here.csv")
        assert done.returncode == 3
        assert "data/raw/here already holds mine.csv, which was not fetched" in done.stderr
        assert [path.name for path in (tmp_path / "data/raw/here").iterdir()] == ["mine.csv"]

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("nowhere.csv", "nowhere.csv does not exist. Known samples: ml-100k, ml-1m"),
            (".", ". is a folder: name it in list_raw.logs"),
        ],
    )
    def test_what_is_no_file_is_refused(self, tmp_path, source, message):
        done = fetch(tmp_path, source, "--name", "x")
        assert done.returncode == 3
        assert message in done.stderr

    @pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", ".."])
    def test_a_name_is_one_folder(self, tmp_path, name):
        (tmp_path / "here.csv").write_text("1")
        done = fetch(tmp_path, "here.csv", "--name", name)
        assert done.returncode == 2
        assert "must be the name of one folder" in done.stderr


class TestWheel:
    """The default sample, from a wheel of our own in a folder that stands in for the index."""

    def offline(self, wheels: Path) -> dict[str, str]:
        return {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}

    def make_wheel(self, folder: Path) -> Path:
        info = "recbole-1.2.1.dist-info"
        data = {
            **{member.path: member.name.encode() for member in ML_100K.members},
            "recbole/__init__.py": b"raise SystemExit('imported')",
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n"
            b"Requires-Dist: not-to-be-had\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        data[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in data).encode()
        path = folder / "recbole-1.2.1-py3-none-any.whl"
        path.write_bytes(zipped(data))
        return path

    def test_the_default_takes_two_files_out_of_a_wheel(self, tmp_path):
        wheel = self.make_wheel(tmp_path)
        expected = ["--sha256", sha256(wheel.read_bytes())]
        done = fetch(tmp_path, *expected, **self.offline(tmp_path))
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "data/raw/ml-100k"
        assert sorted(path.name for path in folder.iterdir()) == [
            ".source.json",
            "ml-100k.inter",
            "ml-100k.item",
        ]
        assert (folder / "ml-100k.inter").read_bytes() == b"ml-100k.inter"
        assert "not to be redistributed" in done.stderr
        again = fetch(tmp_path, *expected, **self.offline(tmp_path / "nowhere"))
        assert again.returncode == 0
        assert "already there and complete" in again.stderr

    def test_a_wheel_that_is_not_the_pinned_one_is_refused(self, tmp_path):
        self.make_wheel(tmp_path)
        done = fetch(tmp_path, **self.offline(tmp_path))
        assert done.returncode == 3
        assert f"{ML_100K.sha256} expected" in done.stderr
        assert not (tmp_path / "data/raw/ml-100k").exists()

    def test_without_an_index_the_message_says_what_pip_said(self, tmp_path):
        done = fetch(tmp_path, **self.offline(tmp_path))
        assert done.returncode == 3
        assert "pip download recbole==1.2.1 failed" in done.stderr
        assert "No matching distribution found for recbole==1.2.1" in done.stderr
        assert "pass its path" in done.stderr

    def test_a_local_wheel_is_recognised_and_goes_to_the_samples_folder(
        self, tmp_path, monkeypatch
    ):
        wheel = self.make_wheel(tmp_path)
        monkeypatch.chdir(tmp_path)
        pinned = Sample("ml-100k", ML_100K.origin, sha256(wheel.read_bytes()), ML_100K.members, "")
        monkeypatch.setattr(archives, "SAMPLES", {"ml-100k": pinned})
        fetch_sample.main(arguments(str(wheel)))
        assert (tmp_path / "data/raw/ml-100k/ml-100k.item").read_bytes() == b"ml-100k.item"
        assert not (tmp_path / "data/raw/ml-100k/recbole").exists()


class TestSampleByUrl:
    """A sample that is a URL, as ml-1m is: members, encoding, and what to set in params.yaml."""

    @pytest.fixture
    def sample(self, tmp_path, monkeypatch) -> Iterator[Site]:
        names = "1::Les Misérables (1995)::Drama\n"
        data = zipped({"s/ratings.dat": b"1::1::5::1\n", "s/movies.dat": names.encode("latin-1")})
        site = Site(data=data)
        monkeypatch.chdir(tmp_path)
        for name, value in DIRECT.items():
            monkeypatch.setenv(name, value)
        with serving(site) as url:
            members = (
                Member("s/ratings.dat", "ratings.dat"),
                Member("s/movies.dat", "movies.dat", "latin-1"),
            )
            sample = Sample("s", f"{url}/s.zip", sha256(data), members, "licence", "ingest: {}\n")
            monkeypatch.setattr(archives, "SAMPLES", {"s": sample})
            yield site

    def test_members_are_taken_and_converted(self, sample, caplog):
        with caplog.at_level(logging.INFO):
            fetch_sample.main(arguments("s"))
        assert Path("data/raw/s/movies.dat").read_text("utf-8").startswith("1::Les Misérables")
        assert Path("data/raw/s/ratings.dat").read_bytes() == b"1::1::5::1\n"
        record = json.loads(Path("data/raw/s/.source.json").read_text())
        assert record["origin"] == "s"
        assert "licence" in caplog.text
        assert "to use it, set in params.yaml:\ningest: {}" in caplog.text

    def test_a_sample_with_a_lost_file_is_fetched_again(self, sample):
        fetch_sample.main(arguments("s"))
        Path("data/raw/s/ratings.dat").unlink()
        fetch_sample.main(arguments("s"))
        assert Path("data/raw/s/ratings.dat").exists()
        assert len(sample.asked) == 2


def arguments(source: str) -> Namespace:
    return Namespace(
        source=source, out=Path("data/raw"), name=None, sha256=None, retries=0, quiet=True
    )
