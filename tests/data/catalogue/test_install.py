"""From a name to a folder: downloads, archives put there by hand, interruptions, two processes at once."""

import hashlib
import json
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from conftest_catalogue import Server, tar_of, tree, zip_of

from sightline.data.catalogue import entries, install
from sightline.data.catalogue.entries import CATALOGUE, Archive, Entry
from sightline.data.catalogue.folder import MARK, datasets_folder
from sightline.data.catalogue.git_tree import tree_id
from sightline.downloads.fetch import Patience
from sightline.downloads.lock import locked
from sightline.errors import DataError

TRAINVAL = tar_of({"kit/SET/Annotations/a.xml": b"<a/>", "kit/SET/list.txt": b"old", "kit/readme": b"not wanted"})
TEST = tar_of({"kit/SET/Annotations/b.xml": b"<b/>", "kit/SET/list.txt": b"new"}, "w:gz")
WANTED = {"Annotations/a.xml": b"<a/>", "Annotations/b.xml": b"<b/>", "list.txt": b"new"}
CONTENTS = (("trainval.tar", TRAINVAL), ("test.tgz", TEST))
QUICK = Patience(timeout=10, sleep=lambda _seconds: None)


@pytest.fixture
def entry(server: Server, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """Two archives that make one set, in the catalogue and on the server."""
    for name, content in CONTENTS:
        server.files[name], server.etags[name] = content, f'"{name}"'
    return listed(
        monkeypatch,
        *(Archive(server.url(n), n, len(c), hashlib.md5(c).hexdigest(), "kit/SET") for n, c in CONTENTS),
    )


def listed(monkeypatch: pytest.MonkeyPatch, *archives: Archive) -> Entry:
    made = replace(CATALOGUE["voc2007"], name="toy", title="Toy set", archives=archives)
    monkeypatch.setitem(entries.CATALOGUE, "toy", made)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "sets"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_DATASETS", str(tmp_path / "from_environment"))
    monkeypatch.delenv("SIGHTLINE_MIRROR", raising=False)


def files(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(folder).items() if name != MARK}


def test_a_set_is_there_and_a_second_call_does_nothing(server: Server, entry: Entry, root: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = install.install("toy", root=root, progress=lambda done, total: told.append((done, total)))
    assert folder == root / "toy"
    assert files(folder) == WANTED
    mark = json.loads((folder / MARK).read_text())
    assert mark["name"] == "toy"
    assert [archive["checksum"] for archive in mark["archives"]] == [f"md5 {a.md5}" for a in entry.archives]
    assert [(a["checked"], a["replaced"]) for a in mark["archives"]] == [
        ("published checksum", 0),
        ("published checksum", 1),
    ]
    everything = 2 * (len(TRAINVAL) + len(TEST))
    assert told[-1] == (everything, everything)
    assert told == sorted(told)
    assert sorted(p.name for p in root.iterdir()) == [".toy.lock", "archives", "toy"]
    assert list((root / "archives").iterdir()) == []  # what was downloaded is not kept twice
    server.files.clear()
    assert install.install("TOY", root=root) == folder
    assert len(server.asked) == 2


def test_a_mirror_is_asked_instead(
    server: Server, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files |= {f"mirror/toy/{name}": content for name, content in CONTENTS}
    install.install("toy", root=tmp_path / "a", base_url=server.url("mirror/"))
    monkeypatch.setenv("SIGHTLINE_MIRROR", server.url("mirror"))
    assert install.install("toy") == tmp_path / "from_environment" / "toy"
    assert [asked[0] for asked in server.asked] == 2 * ["mirror/toy/trainval.tar", "mirror/toy/test.tgz"]


def test_an_interrupted_download_goes_on_with_the_next_call(server: Server, entry: Entry, root: Path) -> None:
    server.cuts = [None, 50, 0, 0, 0]
    with pytest.raises(DataError) as caught:
        install.install("toy", root=root, patience=QUICK)
    text = str(caught.value)
    assert "\n" not in text
    assert f"download {entry.archives[1].url} ({len(TEST) / 1e6:.0f} MB) elsewhere" in text
    assert entry.archives[0].url not in text
    assert f"put it into {root / 'archives' / 'toy'}" in text
    assert not (root / "toy").exists()
    assert files(install.install("toy", root=root)) == WANTED
    assert [(asked[0], asked[1]) for asked in server.asked[-1:]] == [("test.tgz", "bytes=50-")]
    assert [asked[0] for asked in server.asked].count("trainval.tar") == 1


def test_offline_names_all_that_is_missing_and_uses_what_was_put_there(
    server: Server, entry: Entry, root: Path
) -> None:
    def offline() -> Path:
        return install.install("toy", root=root, base_url="http://127.0.0.1:9", patience=QUICK)

    with pytest.raises(DataError, match=r"Toy set cannot be downloaded: .*no network.*trainval.*and.*test") as caught:
        offline()
    assert "\n" not in str(caught.value)
    store = root / "archives" / "toy"
    for name, content in CONTENTS:
        store.joinpath(name).write_bytes(content)
    assert files(offline()) == WANTED
    assert sorted(p.name for p in store.iterdir()) == ["test.tgz", "trainval.tar"]  # a person's files stay


def test_a_wrong_archive_of_a_person_is_said_and_not_touched(server: Server, entry: Entry, root: Path) -> None:
    store = root / "archives" / "toy"
    store.mkdir(parents=True)
    store.joinpath("test.tgz").write_bytes(bytes(len(TEST)))
    with pytest.raises(DataError, match=r"test\.tgz: this archive has the md5 .*remove the file"):
        install.install("toy", root=root)
    assert store.joinpath("test.tgz").read_bytes() == bytes(len(TEST))
    store.joinpath("test.tgz").unlink()
    assert files(install.install("toy", root=root)) == WANTED


def test_a_downloaded_archive_that_went_bad_is_downloaded_again(
    server: Server, entry: Entry, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(install, "unpack", lambda *_args, **_named: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            install.install("toy", root=root)
    store = root / "archives" / "toy"
    assert store.joinpath("test.tgz").read_bytes() == TEST
    store.joinpath("test.tgz").write_bytes(b"x")
    said: list[str] = []
    assert files(install.install("toy", root=root, say=said.append)) == WANTED
    assert len(said) == 1 and "downloaded again" in said[0]
    assert [asked[0] for asked in server.asked] == ["trainval.tar", "test.tgz", "test.tgz"]


def test_wrong_bytes_and_unsafe_archives_leave_no_set(
    server: Server, entry: Entry, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["test.tgz"] = bytes(len(TEST))
    with pytest.raises(DataError, match=r"test\.tgz: the downloaded file has the md5 .* twice"):
        install.install("toy", root=root)
    evil = zip_of({"fine": b"1", "../evil": b"2"})
    server.files["evil.zip"] = evil
    listed(monkeypatch, Archive(server.url("evil.zip"), "evil.zip"))
    for _ in range(2):  # an archive that nobody vouches for is not kept to fail again
        with pytest.raises(DataError, match="leads out of its folder"):
            install.install("toy", root=root)
    assert [asked[0] for asked in server.asked].count("evil.zip") == 2
    assert not any(p.name == "evil" for p in root.parent.rglob("*"))
    assert sorted(p.name for p in root.iterdir()) == [".toy.lock", "archives"]


def test_without_a_published_checksum_the_first_one_is_recorded(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["plain.zip"] = content = zip_of({"a": b"1"})
    listed(monkeypatch, Archive(server.url("plain.zip"), "plain.zip"))
    said: list[str] = []
    folder = install.install("toy", root=root, say=said.append)
    checksum = f"sha256 {hashlib.sha256(content).hexdigest()}"
    assert said == [f"plain.zip: no published checksum; {checksum} recorded"]
    (archive,) = json.loads((folder / MARK).read_text())["archives"]
    assert (archive["checksum"], archive["checked"]) == (checksum, "nothing published")


def test_an_archive_of_a_commit_is_checked_by_its_tree(
    server: Server, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "same" / "inner").mkdir(parents=True)
    (tmp_path / "same" / "inner" / "a").write_bytes(b"1")
    server.files["c.zip"] = zip_of({"repo-1/set/inner/a": b"2", "repo-1/readme": b""})
    listed(monkeypatch, Archive(server.url("c.zip"), "c.zip", None, None, "repo-1/set", tree_id(tmp_path / "same")))
    with pytest.raises(DataError, match=r"c\.zip: the unpacked files have the git tree"):
        install.install("toy", root=root)
    assert not (root / "toy").exists()
    server.files["c.zip"] = zip_of({"repo-1/set/inner/a": b"1", "repo-1/readme": b"changed"})
    assert files(install.install("toy", root=root)) == {"inner/a": b"1"}


def test_a_folder_in_the_way_is_left_alone(server: Server, entry: Entry, root: Path) -> None:
    (root / "toy").mkdir(parents=True)
    (root / "toy" / "mine").touch()
    with pytest.raises(DataError, match=r"toy: is in the way"):
        install.install("toy", root=root)
    assert server.asked == []
    (root / "toy" / "mine").unlink()
    folder = install.install("toy", root=root)
    mark = json.loads((folder / MARK).read_text())
    mark["archives"].pop()
    (folder / MARK).write_text(json.dumps(mark))
    with pytest.raises(DataError, match="other archives than the catalogue"):
        install.install("toy", root=root)
    (folder / MARK).write_text("{")
    with pytest.raises(DataError, match="no note of Sightline's"):
        install.install("toy", root=root)
    assert files(folder) == WANTED


def test_a_folder_that_cannot_be_written(server: Server, entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written.*SIGHTLINE_DATASETS"):
        install.install("toy", root=tmp_path / "file")


def test_half_unpacked_files_are_thrown_away(server: Server, entry: Entry, root: Path) -> None:
    (root / ".toy.unpacking").mkdir(parents=True)
    (root / ".toy.unpacking" / "half").touch()
    assert files(install.install("toy", root=root)) == WANTED


def test_two_processes_make_one_set(server: Server, entry: Entry, root: Path) -> None:
    """The first is slow; the second waits for it, and finds all there."""
    server.pause = 0.005
    program = textwrap.dedent(f"""
        from dataclasses import replace
        from pathlib import Path
        from sightline.data.catalogue import entries, install
        archives = {entry.archives!r}
        entries.CATALOGUE["toy"] = replace(entries.CATALOGUE["voc2007"], name="toy", archives=archives)
        print(install.install("toy", root=Path({str(root)!r})))
    """).replace("Archive(", "entries.Archive(")
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert {out.strip() for out, _ in ended} == {str(root / "toy")}
    assert files(root / "toy") == WANTED
    assert sorted(asked[0] for asked in server.asked) == ["test.tgz", "trainval.tar"]


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    events: list[str] = []
    held, release = threading.Event(), threading.Event()

    def first() -> None:
        with locked(tmp_path / "lock", lambda: events.append("first waits")):
            held.set()
            release.wait(10)
            events.append("first leaves")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait(10)
    with locked(tmp_path / "lock", lambda: events.append("second waits"), sleep=lambda _seconds: release.set()):
        events.append("second enters")
    thread.join()
    assert events == ["second waits", "first leaves", "second enters"]


def test_what_a_person_means_by_data(
    server: Server, entry: Entry, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert install.resolve_data("toy", root=root) == root / "toy"
    (tmp_path / "toy").mkdir()
    assert install.resolve_data("toy", root=root) == Path("toy")  # a path that exists wins
    for text in ("gone/away", "gone.json", "/gone", "./gone", "~"):
        assert install.resolve_data(text) == Path(text)  # whoever opens it says that it is not there
    with pytest.raises(DataError, match=r"'voc2017' is no file or folder.*did you mean voc20(07|12)\? valid: bccd"):
        install.resolve_data("voc2017")
    with pytest.raises(DataError, match=r"no data set 'coco' in the catalogue.*coco2017"):
        install.install("coco", root=root)


def test_where_sets_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert datasets_folder() == tmp_path / "from_environment"
    monkeypatch.delenv("SIGHTLINE_DATASETS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets_folder() == tmp_path / "sightline" / "datasets"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert datasets_folder() == tmp_path / ".cache" / "sightline" / "datasets"
