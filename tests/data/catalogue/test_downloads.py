"""Downloads against a server that breaks off, lies and changes its mind."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest_catalogue import Server

from sightline.downloads.failures import DamagedError, StorageError, UnreachableError
from sightline.downloads.fetch import Patience, fetch
from sightline.downloads.part import Expected

CONTENT = random.Random(0).randbytes(50_000)
OTHER = random.Random(1).randbytes(50_000)
RIGHT = Expected(len(CONTENT), hashlib.md5(CONTENT).hexdigest())


class Calls(NamedTuple):
    slept: list[float]
    said: list[str]
    progress: list[tuple[int, int]]

    def fetch(self, url: str, path: Path, expected: Expected | None = RIGHT, timeout: float = 10) -> None:
        patience = Patience(timeout=timeout, sleep=self.slept.append)
        fetch(
            url,
            path,
            expected,
            progress=lambda done, total: self.progress.append((done, total)),
            say=self.said.append,
            patience=patience,
        )


@pytest.fixture
def calls() -> Calls:
    return Calls([], [], [])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.tar"


@pytest.fixture(autouse=True)
def served(server: Server) -> None:
    server.files["file.tar"] = CONTENT
    server.etags["file.tar"] = '"one"'


def left_over(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_a_file_comes_whole_with_progress_and_leaves_nothing_else(server: Server, calls: Calls, path: Path) -> None:
    calls.fetch(server.url("file.tar"), path)
    assert path.read_bytes() == CONTENT
    assert left_over(path) == ["file.tar"]
    assert calls.progress[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in calls.progress] == sorted({done for done, _ in calls.progress})
    assert (calls.said, calls.slept) == ([], [])


def test_a_broken_connection_goes_on_where_it_ended(server: Server, calls: Calls, path: Path) -> None:
    server.cuts = [20_000, 10_000]
    calls.fetch(server.url("file.tar"), path)
    assert path.read_bytes() == CONTENT
    assert [(ask[1], ask[2]) for ask in server.asked] == [
        (None, None),
        ("bytes=20000-", '"one"'),
        ("bytes=30000-", '"one"'),
    ]
    assert calls.slept == [1.0, 1.0]  # each try got further than the one before
    assert "20000 of 50000 bytes; trying again in 1 s" in calls.said[0]


def test_a_connection_that_never_gets_further_is_given_up(server: Server, calls: Calls, path: Path) -> None:
    server.cuts = [20_000, 0, 0, 0, 0]
    with pytest.raises(UnreachableError, match=r"broke off 4 times at 20000 bytes.*goes on from there"):
        calls.fetch(server.url("file.tar"), path)
    assert calls.slept == [1.0, 4.0, 16.0]
    assert path.with_name("file.tar.part").read_bytes() == CONTENT[:20_000]
    server.cuts = []
    calls.fetch(server.url("file.tar"), path)
    assert server.asked[-1][1] == "bytes=20000-"
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(server: Server, calls: Calls, path: Path) -> None:
    server.cuts, server.ranges = [20_000], False
    calls.fetch(server.url("file.tar"), path)
    assert path.read_bytes() == CONTENT
    assert calls.progress[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_changed_meanwhile_starts_anew(server: Server, calls: Calls, path: Path) -> None:
    server.cuts = [20_000, 0, 0, 0]
    with pytest.raises(UnreachableError):
        calls.fetch(server.url("file.tar"), path, None)
    server.files["file.tar"], server.etags["file.tar"] = OTHER, '"two"'
    calls.fetch(server.url("file.tar"), path, None)
    assert server.asked[-1][1:] == ("bytes=20000-", '"one"')
    assert path.read_bytes() == OTHER


def test_a_range_of_another_version_is_not_joined(
    server: Server, calls: Calls, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that heeds Range and ignores If-Range."""
    server.cuts = [20_000, 0, 0, 0]
    with pytest.raises(UnreachableError):
        calls.fetch(server.url("file.tar"), path, None)
    server.files["file.tar"], server.etags["file.tar"] = OTHER, '"two"'
    note = path.with_name("file.tar.part.json")
    monkeypatch.setattr("sightline.downloads.fetch.open_url", _without_if_range)
    calls.fetch(server.url("file.tar"), path, None)
    assert path.read_bytes() == OTHER
    assert not note.exists()


def _without_if_range(url: str, *, timeout: float, after: int = 0, version: str | None = None) -> Any:
    from sightline.downloads.web import open_url

    return open_url(url, timeout=timeout, after=after)


def test_a_part_of_unknown_version_is_not_trusted(server: Server, calls: Calls, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("file.tar.part").write_bytes(OTHER[:20_000])
    calls.fetch(server.url("file.tar"), path, None)
    assert server.asked[0][1] is None
    assert path.read_bytes() == CONTENT


def test_a_part_from_another_address_is_not_gone_on_with(server: Server, calls: Calls, path: Path) -> None:
    server.cuts = [20_000, 0, 0, 0]
    with pytest.raises(UnreachableError):
        calls.fetch(server.url("file.tar"), path, None)
    server.files["other"], server.etags["other"] = OTHER, '"one"'
    calls.fetch(server.url("other"), path, None)
    assert path.read_bytes() == OTHER


def test_without_a_validator_only_a_checksum_lets_a_part_go_on(server: Server, calls: Calls, path: Path) -> None:
    server.etags.clear()
    server.cuts = [20_000, None]
    calls.fetch(server.url("file.tar"), path)
    assert server.asked[-1][1:] == ("bytes=20000-", None)
    server.cuts = [20_000, None]
    calls.fetch(server.url("file.tar"), path.with_name("second"), None)
    assert server.asked[-1][1:] == (None, None)
    assert path.read_bytes() == path.with_name("second").read_bytes() == CONTENT


def test_a_corrupted_part_is_noticed_and_downloaded_again(server: Server, calls: Calls, path: Path) -> None:
    server.cuts = [20_000, 0, 0, 0]
    with pytest.raises(UnreachableError):
        calls.fetch(server.url("file.tar"), path)
    part = path.with_name("file.tar.part")
    part.write_bytes(bytes(1) + part.read_bytes()[1:])
    calls.said.clear()
    calls.fetch(server.url("file.tar"), path)
    assert path.read_bytes() == CONTENT
    assert [ask[1] for ask in server.asked[-2:]] == ["bytes=20000-", None]
    assert len(calls.said) == 1 and "md5" in calls.said[0] and "removed" in calls.said[0]


def test_a_part_that_is_longer_than_the_file_starts_anew(server: Server, calls: Calls, path: Path) -> None:
    server.cuts = [20_000, 0, 0, 0]
    with pytest.raises(UnreachableError):
        calls.fetch(server.url("file.tar"), path)
    path.with_name("file.tar.part").write_bytes(bytes(60_000))
    calls.fetch(server.url("file.tar"), path)
    assert path.read_bytes() == CONTENT


def test_wrong_bytes_are_tried_twice_and_never_kept(server: Server, calls: Calls, path: Path) -> None:
    server.files["file.tar"] = OTHER
    with pytest.raises(DamagedError, match=rf"md5 {hashlib.md5(OTHER).hexdigest()} where {RIGHT.md5}.*twice"):
        calls.fetch(server.url("file.tar"), path)
    assert len(server.asked) == 2
    assert left_over(path) == []
    sha256 = Expected(sha256=hashlib.sha256(CONTENT).hexdigest()[:8])
    with pytest.raises(DamagedError, match="sha256"):
        calls.fetch(server.url("file.tar"), path, sha256)
    server.files["file.tar"] = CONTENT
    calls.fetch(server.url("file.tar"), path, sha256)


def test_another_size_is_refused_before_a_byte_is_stored(server: Server, calls: Calls, path: Path) -> None:
    server.files["file.tar"] = b"<html>please log in</html>"
    with pytest.raises(DamagedError, match="announces 26 bytes where 50000"):
        calls.fetch(server.url("file.tar"), path)
    assert left_over(path) == []


def test_a_server_that_does_not_say_the_size(server: Server, calls: Calls, path: Path) -> None:
    server.lengths = False
    calls.fetch(server.url("file.tar"), path, None)
    assert path.read_bytes() == CONTENT
    assert calls.progress[-1] == (len(CONTENT), 0)
    server.cuts = [20_000]  # nobody can tell that this is not all, but for the known size
    calls.fetch(server.url("file.tar"), path.with_name("second"))
    assert path.with_name("second").read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=20000-"


def test_errors_of_the_server_pass_or_stay(server: Server, calls: Calls, path: Path) -> None:
    server.codes = [500, 503, 200]
    calls.fetch(server.url("file.tar"), path)
    assert (path.read_bytes(), calls.slept) == (CONTENT, [1.0, 4.0])
    with pytest.raises(UnreachableError, match=r"gone\.tar: the server answers 404"):
        calls.fetch(server.url("gone.tar"), path)
    assert len(server.asked) == 4
    server.codes = [500] * 9
    with pytest.raises(UnreachableError, match=r"broke off 4 times at 0 bytes .*500"):
        calls.fetch(server.url("file.tar"), path.with_name("second"))


def test_no_server_is_said_at_once(calls: Calls, path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"cannot be reached.*no network"):
        calls.fetch("http://127.0.0.1:9/file.tar", path)
    assert calls.slept == []


def test_redirects_lead_to_the_web_alone(server: Server, calls: Calls, path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    server.redirects = {"a": server.url("file.tar"), "b": secret.as_uri(), "c": "ftp://127.0.0.1/x", "d": "/d"}
    server.cuts = [20_000]
    calls.fetch(server.url("a"), path)
    assert path.read_bytes() == CONTENT
    for name in "bcd":
        with pytest.raises(UnreachableError):
            calls.fetch(server.url(name), path.with_name(name))
    with pytest.raises(UnreachableError, match="only http and https"):
        calls.fetch(secret.as_uri(), path.with_name("e"))
    assert left_over(path) == ["file.tar"]


def test_a_silent_server_counts_as_broken(server: Server, calls: Calls, path: Path) -> None:
    server.pause = 0.5
    with pytest.raises(UnreachableError, match="timed out"):
        fetch(server.url("file.tar"), path, RIGHT, patience=Patience(timeout=0.05, waits=()))
    assert 0 < path.with_name("file.tar.part").stat().st_size < len(CONTENT)


def test_a_full_disk_is_said_before(server: Server, calls: Calls, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": (1 << 26) + len(CONTENT) - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage)
    with pytest.raises(StorageError, match=r"free, and 50,000 are still to come.*cure: free some room"):
        calls.fetch(server.url("file.tar"), path)
    assert left_over(path) == []
    usage.free += 1
    calls.fetch(server.url("file.tar"), path)


def test_a_folder_that_cannot_be_made(server: Server, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        calls.fetch(server.url("file.tar"), tmp_path / "file" / "inner" / "x")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_its_part_for_the_next(
    server: Server, calls: Calls, path: Path, end: signal.Signals
) -> None:
    server.pause = 0.02
    program = f"""
        import signal
        from pathlib import Path
        from sightline.downloads.fetch import fetch
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
        fetch({server.url("file.tar")!r}, Path({str(path)!r}))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stderr=subprocess.DEVNULL)
    part = path.with_name("file.tar.part")
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 5000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, end)
    assert process.wait(10) != 0
    have = part.stat().st_size
    assert 0 < have < len(CONTENT) and not path.exists()
    server.pause = 0
    calls.fetch(server.url("file.tar"), path)
    assert server.asked[-1][1] == f"bytes={have}-"
    assert path.read_bytes() == CONTENT
