import stat
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from diffrec_core.common.artifacts import sha256_file
from diffrec_core.common.config import load_section
from diffrec_core.common.errors import DataError, StorageError
from diffrec_core.ingestion.raw_files import ListRawConfig
from diffrec_core.ingestion.readers import IngestConfig
from pipeline_steps.sample import archives
from pipeline_steps.sample.archives import ML_1M, ML_100K, RECORD_NAME, Member, Sample, SourceRecord


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    named.pop(RECORD_NAME, None)
    return named


SAMPLE = Sample(
    name="tiny",
    origin="tiny==1",
    sha256="",
    members=(Member("in/log.dat", "log.dat"), Member("in/names.dat", "names.dat", "latin-1")),
    licence="",
)


def test_a_sample_is_just_its_members_as_utf8(tmp_path):
    content = {"in/log.dat": b"1", "in/names.dat": "café".encode("latin-1"), "code.py": b"boom"}
    archive = make_zip(tmp_path / "a.whl", content)
    record = archives.install(archive, tmp_path / "raw/tiny", "tiny", SAMPLE)
    assert files(tmp_path / "raw/tiny") == {"log.dat": b"1", "names.dat": "café".encode()}
    assert record.sha256 == sha256_file(archive)
    assert SourceRecord.read(tmp_path / "raw/tiny") == record


def test_an_archive_that_lacks_a_member_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.whl", {"in/log.dat": b"1"})
    with pytest.raises(DataError, match=r"a.whl holds no in/names.dat"):
        archives.install(archive, tmp_path / "raw/tiny", "tiny", SAMPLE)
    assert not list((tmp_path / "raw").iterdir())


def test_an_archive_is_unpacked_without_hidden_files(tmp_path):
    content = {"a/log.csv": b"x", "b.csv": b"y", "a/.DS_Store": b"", "__MACOSX/a/log.csv": b"z"}
    archive = make_zip(tmp_path / "download.part", content)
    archives.install(archive, tmp_path / "raw/logs", "https://example.org/get?id=1", None)
    assert files(tmp_path / "raw/logs") == {"a/log.csv": b"x", "b.csv": b"y"}


def test_any_other_file_is_copied_under_its_own_name(tmp_path):
    path = tmp_path / "download.part"
    path.write_bytes(b"a,b\n")
    archives.install(path, tmp_path / "raw/logs", "https://example.org/logs.csv?key=1", None)
    assert files(tmp_path / "raw/logs") == {"logs.csv": b"a,b\n"}


@pytest.mark.parametrize(
    "name", ["../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "..\\evil.csv", "C:\\evil.csv"]
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused_whole(tmp_path, name):
    archive = make_zip(tmp_path / "a.zip", {"good.csv": b"x", name: b"y"})
    with pytest.raises(DataError, match="would land outside of its folder"):
        archives.install(archive, tmp_path / "raw/logs", "a.zip", None)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "raw"]


def test_an_archive_with_a_link_is_refused(tmp_path):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="would land outside"):
        archives.install(tmp_path / "a.zip", tmp_path / "raw/logs", "a.zip", None)


def test_damaged_archives_are_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"log.csv": b"0123456789" * 1000})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a.zip is a damaged zip archive"):
        archives.install(archive, tmp_path / "raw/logs", "a.zip", None)
    flipped = bytearray(whole)
    flipped[45] ^= 0xFF
    archive.write_bytes(flipped)
    with pytest.raises(DataError, match=r"log.csv cannot be unpacked"):
        archives.install(archive, tmp_path / "raw/logs", "a.zip", None)


def test_an_empty_archive_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {})
    with pytest.raises(DataError, match="holds no files"):
        archives.install(archive, tmp_path / "raw/logs", "a.zip", None)


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", {"log.csv": b"x" * 1000})
    usage = archives.shutil._ntuple_diskusage(10_000, 9_001, 999)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match="free space or choose another place"):
        archives.install(archive, tmp_path / "raw/logs", "a.zip", None)


def test_a_checksum_is_compared_whatever_its_case(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    archives.check_sha256(path, sha256_file(path).upper(), "a")
    with pytest.raises(DataError, match=r"SHA-256 ba7816bf.* found, 00ff expected"):
        archives.check_sha256(path, "00ff", "a")


class TestWhatIsThere:
    def install(self, folder: Path, origin: str, data: bytes = b"x") -> Path:
        path = folder / "fetched"
        path.write_bytes(data)
        archives.install(path, folder / "raw/logs", origin, None)
        return folder / "raw/logs"

    def test_the_same_origin_is_current_and_may_be_replaced(self, tmp_path):
        target = self.install(tmp_path, "https://example.org/a.csv")
        assert archives.is_current(target, "https://example.org/a.csv", None)
        archives.check_replaceable(target, "https://example.org/a.csv")

    def test_a_changed_or_missing_file_is_not_current(self, tmp_path):
        target = self.install(tmp_path, "https://example.org/a.csv")
        (target / "a.csv").write_bytes(b"y")
        assert not archives.is_current(target, "https://example.org/a.csv", None)
        (target / "a.csv").unlink()
        assert not archives.is_current(target, "https://example.org/a.csv", None)

    def test_an_expected_checksum_decides(self, tmp_path):
        target = self.install(tmp_path, "a.csv")
        sha256 = sha256_file(tmp_path / "fetched")
        assert archives.is_current(target, "elsewhere/b.csv", sha256)
        assert not archives.is_current(target, "a.csv", "0" * 64)

    def test_a_local_file_is_current_as_long_as_it_has_not_changed(self, tmp_path):
        local = tmp_path / "local.csv"
        local.write_bytes(b"x")
        target = self.install(tmp_path, str(local))
        assert archives.is_current(target, str(local), None)
        local.write_bytes(b"y")
        assert not archives.is_current(target, str(local), None)

    def test_nothing_or_a_broken_record_is_not_current(self, tmp_path):
        assert not archives.is_current(tmp_path / "nowhere", "a.csv", None)
        target = self.install(tmp_path, "a.csv")
        (target / RECORD_NAME).write_text('{"origin": 1')
        assert not archives.is_current(target, "a.csv", None)

    def test_files_from_elsewhere_are_not_destroyed(self, tmp_path):
        target = self.install(tmp_path, "a.csv")
        with pytest.raises(DataError, match=r"already holds a.csv, which is from a.csv"):
            archives.check_replaceable(target, "b.csv")
        (target / "mine.csv").write_text("x")
        with pytest.raises(DataError, match=r"already holds mine.csv.*another --name"):
            archives.check_replaceable(target, "a.csv")
        (target / RECORD_NAME).unlink()
        with pytest.raises(DataError, match="which was not fetched"):
            archives.check_replaceable(target, "a.csv")

    def test_a_file_in_the_place_of_the_folder_is_refused(self, tmp_path):
        (tmp_path / "raw").write_text("x")
        with pytest.raises(DataError, match="is a file where a folder would go"):
            archives.check_replaceable(tmp_path / "raw", "a.csv")


@pytest.mark.parametrize(
    ("origin", "folder", "file"),
    [
        ("https://example.org/logs/2024.csv.gz?key=/a#b", "2024", "2024.csv.gz"),
        ("https://example.org/", "example", "example.org"),
        ("/some where/My logs.zip", "My_logs", "My_logs.zip"),
        ("logs?.csv", "logs_", "logs_.csv"),
        ("/x/.hidden", "hidden", "hidden"),
        ("https://example.org/..", "log", "log"),
    ],
)
def test_names_are_made_of_what_an_origin_ends_with(origin, folder, file):
    assert archives.folder_name(origin) == folder
    assert archives.file_name(origin) == file


def test_samples_are_recognised_by_their_checksum():
    assert archives.sample_of(ML_1M.sha256) is ML_1M
    assert archives.sample_of(ML_100K.sha256) is ML_100K
    assert archives.sample_of("0" * 64) is None


def test_the_params_that_ml_1m_asks_for_are_allowed():
    params = YAML(typ="safe").load(ML_1M.params)
    config = load_section(params, "ingest", IngestConfig)
    assert (config.columns.user_id, config.columns.timestamp) == (0, 3)
    assert load_section(params, "list_raw", ListRawConfig).titles == "data/raw/ml-1m/movies.dat"
