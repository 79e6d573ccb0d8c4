"""The folder of one run, and the rule that nothing in it is ever overwritten by another run.

config.json, history.csv, metrics.json, predictions.json, best.safetensors, last/ (exact resume), previous/ (the
checkpoint before that), report.html, log.txt.
"""

import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from sightline.errors import ConfigError, SightlineError
from sightline.files import is_leftover, remove_leftovers, write_atomically, writing
from sightline.runtime import is_helper_process
from sightline.training.checkpoints import finish_writing, go_back, has_checkpoint

_LOCK = ".lock"
_BEFORE_FIRST_CHECKPOINT = ("config.json", "log.txt", "last.new")
"""What a run writes before its first checkpoint; with the lock file, the mark of a run that never began."""

_MAKE_ROOM = "make room, then go on with --resume, or start again if nothing had been saved"


@dataclass(frozen=True)
class RunFolder:
    """A folder that one run writes to. Make it with :meth:`create`, close it (or use ``with``) to let others in.

    Args:
        path: the folder.
        resumed: whether it holds a run that goes on.
        lock: the open lock file; None in the helper processes of a distributed run, which write nothing.
    """

    path: Path
    resumed: bool
    lock: IO[bytes] | None

    @classmethod
    def create(cls, path: Path | str, *, resume: bool, from_previous: bool = False) -> "RunFolder":
        """Make the folder, or open that of a run that is to go on.

        What a run left that was interrupted before its first checkpoint is cleared away, and so is what was being
        written when a run was killed.

        Args:
            path: the folder.
            resume: whether a run is there already that goes on.
            from_previous: put the checkpoint before the last one in its place; a damaged last one is moved aside.

        Raises:
            ConfigError: a run is there and is not to be resumed, there is nothing to resume, or another process is
                using the folder; nothing was changed.
            ModelFileError: there is no whole checkpoint before the last; nothing was changed.
        """
        path = Path(path)
        if is_helper_process():
            return cls(path, resume, None)
        require_usable(path, resume=resume)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path / _LOCK)
        except OSError as error:
            raise ConfigError(f"the run folder cannot be written ({error.strerror})", place=path) from error
        run = cls(path, resume, lock)
        with ExitStack() as undo:
            undo.callback(run.close)
            run._clean(from_previous=from_previous)
            undo.pop_all()
        return run

    def _clean(self, *, from_previous: bool) -> None:
        """Take away what an earlier process left half-written or damaged; the folder is locked by now."""
        with writing(self.path, "see who owns the folder"):
            remove_leftovers(self.path)
            if not self.resumed:
                _clear(self.path)
            finish_writing(self.last)
            if from_previous:
                aside = go_back(self.last)
                self.log(
                    "goes back to the checkpoint before the last" + (f"; that one lies in {aside}" if aside else "")
                )

    @property
    def last(self) -> Path:
        """The folder of the checkpoint for exact resume."""
        return self.path / "last"

    @property
    def best(self) -> Path:
        """The model file of the best validation."""
        return self.path / "best.safetensors"

    @property
    def history(self) -> Path:
        """The table of losses and metrics, one row a validation."""
        return self.path / "history.csv"

    def record(self, section: str, values: Mapping[str, object], *, free: Collection[str] = ()) -> None:
        """Write a section of config.json; a run that goes on must have the same values.

        Args:
            section: key in config.json.
            values: what JSON can hold.
            free: keys (``outer.inner``) that may differ when a run goes on; the new value is kept.

        Raises:
            ConfigError: a value differs from that of the run that is resumed; names the key.
            SightlineError: the file cannot be written.
        """
        file = self.path / "config.json"
        new = json.loads(json.dumps(values, default=str))
        config = _read_json(file) if file.exists() else {}
        if self.resumed and section in config:
            require_same(config[section], new, free, file, section)
        if self.lock is not None:
            with writing(file, _MAKE_ROOM):
                write_atomically(file, json.dumps({**config, section: new}, indent=2) + "\n")

    def recorded(self, section: str) -> dict[str, Any]:
        """A section of config.json; empty if there is none."""
        file = self.path / "config.json"
        return dict(_read_json(file).get(section, {})) if file.exists() else {}

    def log(self, line: str) -> None:
        """Append a line to log.txt."""
        place = self.path / "log.txt"
        with writing(place, _MAKE_ROOM), place.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def close(self) -> None:
        """Let other processes use the folder."""
        if self.lock is not None:
            self.lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def require_usable(path: Path, *, resume: bool) -> None:
    """Raise ``ConfigError`` where :meth:`RunFolder.create` would, as far as can be seen without writing."""
    if is_helper_process():
        return
    if path.exists() and not path.is_dir():
        raise ConfigError("a file is in the way of the run folder", place=path, cure="choose another --out")
    if not resume and not _is_free(path):
        raise ConfigError(
            "the run folder is not empty",
            place=path,
            cause="a run is there already",
            cure="choose another --out, or go on with that run: by --resume if it was interrupted, by --extend if it "
            "is finished",
        )
    if resume and not has_checkpoint(path / "last"):
        raise ConfigError(
            "there is no run to resume",
            place=path,
            cause="the path is mistyped, or the run ended before its first checkpoint",
            cure="leave --resume out to start a new run",
        )
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError("the run folder cannot be written", place=above, cure="choose another --out")


def _is_free(path: Path) -> bool:
    """Whether a run may start in a folder: there is nothing in it, or only what one left that never began."""
    names = {entry.name for entry in path.iterdir() if not is_leftover(entry.name)} if path.is_dir() else set()
    never_began = names <= {_LOCK, *_BEFORE_FIRST_CHECKPOINT} and not has_checkpoint(path / "last")
    return not names or (_LOCK in names and never_began)


def _clear(path: Path) -> None:
    """Take away what a run left that never began."""
    for name in _BEFORE_FIRST_CHECKPOINT:
        left = path / name
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def _locked(path: Path) -> IO[bytes]:
    """An open file that no other process has; the system lets go of it however this process ends."""
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # lockf and not flock: a lock that loading processes inherit would outlive a run that was killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigError(
            "another process is using this run folder",
            place=path.parent,
            cause="the same run was started twice",
            cure="wait for it, stop it, or choose another --out",
        ) from error
    return file


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SightlineError(f"cannot be read ({error})", place=file, cause="it was changed by hand") from error


def require_same(old: object, new: object, free: Collection[str], file: Path, section: str) -> None:
    """Raise ``ConfigError`` naming the first setting that is not as it was, except for keys that are free.

    Args:
        old: as recorded; nested mappings of JSON values.
        new: as wanted now.
        free: keys (``outer.inner``) that may differ.
        file: where the old ones are recorded.
        section: of the file.
    """
    missing = object()
    before, now = _flat(old), _flat(new)
    for key in [*now, *(key for key in before if key not in now)]:
        if key in free or before.get(key, missing) == now.get(key, missing):
            continue
        raise ConfigError(
            f"{key} is {_shown(now, key)}, but the run to resume was started with {_shown(before, key)}",
            place=f"{file}, {section}",
            cure=f"resume with the same {key.split('.')[-1]}, or start a new run in another --out",
        )


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, keys joined by dots; lists are values, but for those of mappings, which are numbered."""
    if isinstance(value, list) and value and all(isinstance(inner, dict) for inner in value):
        value = {str(number): inner for number, inner in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    items: dict[str, object] = {}
    for key, inner in value.items():
        items |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return items


def _shown(values: Mapping[str, object], key: str) -> str:
    return json.dumps(values[key]) if key in values else "not set"
