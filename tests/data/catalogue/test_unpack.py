"""Archives that are what they should be, and archives that were made to do harm."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest_catalogue import tar_of, tree, zip_of

from sightline.data.catalogue.unpack import Limits, unpack
from sightline.errors import DataError

FILES = {"set/a.txt": b"one", "set/deep/er/b.bin": bytes(range(256)) * 9, "set/empty": b"", "other/c": b"no"}
OUTWARDS = ["../out", "set/../../out", "/etc/out", "C:/out", "c:out", "set\\..\\..\\out", "..", "set/.."]
EVIL_NAMES = [*OUTWARDS, "set/a\nb", "a" * 1025]


def save(folder: Path, content: bytes, name: str = "archive") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [zip_of(FILES), tar_of(FILES), tar_of(FILES, "w:gz"), tar_of(FILES, "w:xz")])
def test_all_comes_out_whatever_the_file_is_called(tmp_path: Path, content: bytes) -> None:
    told: list[tuple[int, int]] = []
    archive = save(tmp_path, content, "name.bin")
    assert unpack(archive, tmp_path / "out", progress=lambda done, total: told.append((done, total))) == 0
    assert tree(tmp_path / "out") == FILES
    assert all(0 <= done <= total == len(content) for done, total in told)
    assert told == sorted(told)


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_a_folder_of_the_archive_becomes_the_top(tmp_path: Path, make) -> None:
    archive = save(tmp_path, make(FILES | {"settle/d": b"a name that begins alike"}))
    unpack(archive, tmp_path / "out", inside="set")
    assert sorted(tree(tmp_path / "out")) == ["a.txt", "deep/er/b.bin", "empty"]
    with pytest.raises(DataError, match="has no files in gone"):
        unpack(archive, tmp_path / "none", inside="gone")


def test_a_later_archive_wins_and_is_counted(tmp_path: Path) -> None:
    unpack(save(tmp_path, zip_of({"a": b"1", "b": b"2"})), tmp_path / "out")
    assert unpack(save(tmp_path, tar_of({"b": b"3", "c": b"4"})), tmp_path / "out") == 1
    assert tree(tmp_path / "out") == {"a": b"1", "b": b"3", "c": b"4"}


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = zip_of({"inner": b"x"})
    unpack(save(tmp_path, tar_of({"a.zip": inner})[:1536]), tmp_path / "out")
    assert tree(tmp_path / "out") == {"a.zip": inner}


def refused(tmp_path: Path, content: bytes, message: str, limits: Limits | None = None) -> None:
    archive = save(tmp_path, content)
    before = tree(tmp_path)
    (tmp_path / "box").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        unpack(archive, tmp_path / "box" / "out", limits=limits)
    assert caught.value.place == str(archive)
    outside = {name: data for name, data in tree(tmp_path).items() if not name.startswith("box/out/")}
    assert outside == before


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("name", EVIL_NAMES)
def test_names_that_lead_out_are_refused(tmp_path: Path, make, name: str) -> None:
    refused(tmp_path, make({"fine": b"1", name: b"2"}), "leads out of its folder or is no plain one")


def tar_with(member: tarfile.TarInfo, *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for one in (member, *more):
            packed.addfile(one, io.BytesIO(bytes(one.size)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        (tarfile.SYMTYPE, "/etc", "holds a link"),
        (tarfile.SYMTYPE, "harmless", "holds a link"),
        (tarfile.LNKTYPE, "../../secret", "holds a link"),
        (tarfile.CHRTYPE, "", "device"),
        (tarfile.BLKTYPE, "", "device"),
        (tarfile.FIFOTYPE, "", "pipe"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, target: str, message: str) -> None:
    member, through = tarfile.TarInfo("way"), tarfile.TarInfo("way/passwd")
    member.type, member.linkname, through.size = kind, target, 3
    refused(tmp_path, tar_with(member, through), message)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        member = zipfile.ZipInfo("way")
        member.external_attr = (kind | 0o777) << 16
        packed.writestr(member, "/etc")
    refused(tmp_path, buffer.getvalue(), "holds a (link|device)")


def test_a_link_that_was_there_before_is_not_followed_out(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "way").symlink_to(tmp_path / "elsewhere")
    for content in (zip_of({"way/x": b"1"}), tar_of({"way/x": b"1"})):
        with pytest.raises(DataError, match="leads out of its folder"):
            unpack(save(tmp_path, content), tmp_path / "out")
    assert tree(tmp_path / "elsewhere") == {}


def test_bombs_are_refused_before_they_fill_the_disk(tmp_path: Path) -> None:
    few = Limits(ratio=100, least=1000)
    zeros = {"a": bytes(3_000_000)}
    for make in (zip_of(zeros), tar_of(zeros, "w:gz")):
        refused(tmp_path, make, r"unpacks to over 3,0", few)
        assert tree(tmp_path / "box") == {}
        (tmp_path / "box" / "out").rmdir()
        (tmp_path / "box").rmdir()
    refused(tmp_path, zip_of({str(i): b"" for i in range(11)}), "holds over 10 files", Limits(members=10))
    unpack(save(tmp_path, tar_of(zeros)), tmp_path / "fine", limits=few)


def test_a_full_disk_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: type("Usage", (), {"free": 1 << 26}))
    for content in (zip_of(FILES), tar_of(FILES)):
        with pytest.raises(DataError, match="free some room"):
            unpack(save(tmp_path, content), tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    twice = tar_of({"a": b"1", "./a": b"2"})
    refused(tmp_path, twice, "holds './a' twice|holds 'a' twice")


def test_damage_is_said(tmp_path: Path) -> None:
    packed, files = zip_of(FILES), tar_of({"a": bytes(range(256)) * 400}, "w:gz")
    flipped = bytearray(zip_of({"a": b"x" * 99}))
    flipped[31] ^= 255
    short = zip_of({"a": b"x" * 99}).replace((99).to_bytes(4, "little"), (150).to_bytes(4, "little"))
    halves = (files[:-100], files[: len(files) // 2], tar_of(FILES)[:600], packed[:-30])
    for content in (bytes(flipped), short, *halves, b"", b"hi"):
        with pytest.raises(DataError, match=r"damaged|neither a tar nor a zip"):
            unpack(save(tmp_path, content), tmp_path / "out")


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unpacking stopped"):
        unpack(save(tmp_path, tar_of({"a": b"1", "a/b": b"2"})), tmp_path / "out")


def test_permissions_are_plain(tmp_path: Path) -> None:
    member = tarfile.TarInfo("tool")
    member.mode, member.size, member.uid = 0o6777, 3, 12345
    unpack(save(tmp_path, tar_with(member)), tmp_path / "out")
    plain = save(tmp_path, b"", "plain")
    assert (tmp_path / "out" / "tool").stat().st_mode == plain.stat().st_mode
    assert (tmp_path / "out" / "tool").stat().st_uid == plain.stat().st_uid
