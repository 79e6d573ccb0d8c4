"""What keeps the processes of a run from waiting for one that is gone.

A process that fails leaves the others in an exchange that never ends. So each shows every second that it lives, in the
store by which the processes met; each looks at the others; and one that ends by an error leaves its error there. Then
all end, within a minute and with one line that names the process and what happened to it.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from lightning_fabric import Fabric
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from sightline.errors import ConfigError, DataError, HelperEndedError, ModelFileError, SightlineError
from sightline.training.processes.launching import Helpers

BEAT = 1.0
"""Seconds between two signs of life."""

PATIENCE = 30.0
"""Seconds without a sign of life after which a process counts as gone."""

_SUSPICIOUS = 6.0
"""The same once an exchange with the others has failed."""

_GRACE = 5.0
"""Seconds that this process has to end by itself once another is known to be gone."""

_ANSWER = 15.0
_HEARD = 4.0
_CURE = "go on from the last checkpoint with the same command and --resume"
_KINDS: dict[str, type[SightlineError]] = {kind.__name__: kind for kind in (ConfigError, DataError, ModelFileError)}
_OF_AN_EXCHANGE = ("gloo", "nccl", "connection", "peer", "timed out", "timeout", "socket", "broken pipe", "store")


class Board:
    """What the processes tell each other beside the exchange: signs of life, errors, and that an error was read.

    Args:
        rank: of this process.
        count: of all.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank = rank
        self.count = count
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        wait = timedelta(seconds=PATIENCE)
        # A connection of its own: the group's may be busy for minutes.
        self._store = TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=wait)
        self.beat(0)
        for other in range(count):
            self._store.set(self._key("heard", rank, other), "")
        self._store.set(self._key("error", rank), "")

    def _key(self, *words: object) -> str:
        return "/".join(["sightline", *map(str, words)])

    def beat(self, number: int) -> None:
        """Show that this process lives."""
        self._store.set(self._key("beat", self.rank), str(number))

    def beats(self) -> list[int]:
        """The last sign of each process."""
        return [int(text) for text in self._store.multi_get([self._key("beat", rank) for rank in range(self.count)])]

    def tell(self, error: SightlineError) -> None:
        """Leave this process's error."""
        parts = (type(error).__name__, error.what, error.place, error.cause, error.cure)
        self._store.set(self._key("error", self.rank), json.dumps(parts))

    def errors(self) -> dict[int, SightlineError]:
        """The errors that the others have left, by rank; they are marked as read."""
        texts = self._store.multi_get([self._key("error", rank) for rank in range(self.count)])
        found = {rank: json.loads(text) for rank, text in enumerate(texts) if text and rank != self.rank}
        for rank in found:
            self._store.set(self._key("heard", rank, self.rank), "yes")
        return {rank: _read(rank, *parts) for rank, parts in found.items()}

    def heard(self) -> set[int]:
        """The processes that have read this one's error."""
        texts = self._store.multi_get([self._key("heard", self.rank, rank) for rank in range(self.count)])
        return {rank for rank, text in enumerate(texts) if text}


@dataclass(frozen=True)
class Trouble:
    """What happened to another process.

    Args:
        rank: which.
        error: to end with.
        gone: whether it can no longer tell anybody.
    """

    rank: int
    error: SightlineError
    gone: bool


def _read(rank: int, kind: str, what: str, place: str | None, cause: str | None, cure: str | None) -> SightlineError:
    return _KINDS.get(kind, SightlineError)(f"process {rank}: {what}", place=place, cause=cause, cure=cure)


@dataclass
class Heartbeat:
    """The other processes of a run, watched by a thread.

    Args:
        board: where they are seen.
        helpers: those of them that this process has started.
        tells: whether a person sees what this process says; the others leave that to it.
    """

    board: Board
    helpers: Helpers
    tells: bool
    _errors: dict[int, SightlineError] = field(default_factory=dict)
    _seen: list[tuple[int, float]] = field(default_factory=list)
    _alone: bool = False
    _looked: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Show signs of life and watch the others, in two threads: through a dead cable the store never answers."""
        for name, work in (("signs", self._show), ("watch", self._watch)):
            threading.Thread(target=work, name=f"sightline-{name}", daemon=True).start()

    def _show(self) -> None:
        number = 0
        while not self._ended.wait(BEAT) and not self._alone:
            number += 1
            self._look(number)

    def _watch(self) -> None:
        doomed = None
        while not self._ended.wait(BEAT):
            trouble = self.trouble(PATIENCE)
            if trouble is None:
                doomed = None
            elif doomed is None:
                doomed = time.monotonic()
            elif time.monotonic() - doomed > _GRACE and not self._ended.is_set():
                self._leave(trouble)

    def stop(self) -> None:
        """The run is over."""
        self._ended.set()

    def _look(self, number: int) -> None:
        try:
            self.board.beat(number)
            beats, now = self.board.beats(), time.monotonic()
            known = self._seen or [(-1, now)] * len(beats)
            self._seen = [old if old[0] == beat else (beat, now) for old, beat in zip(known, beats, strict=True)]
            self._errors |= self.board.errors()
            self._looked = time.monotonic()
        except (RuntimeError, ValueError):
            # The process that keeps the store has ended.
            self._alone = True

    def trouble(self, patience: float) -> Trouble | None:
        """What is known to have happened to another process, if anything: its own error first."""
        if self._errors:
            return Trouble(min(self._errors), self._errors[min(self._errors)], gone=False)
        for rank, ending in self.helpers.ended().items():
            return _gone(rank, f"it ended by {ending}")
        now = time.monotonic()
        for rank, (_, since) in enumerate(self._seen):
            if rank != self.board.rank and now - since > patience:
                return _gone(rank, f"no sign of life for {now - since:.0f} s")
        silent = now - self._looked > patience
        return _gone(0, "it no longer answers") if self._alone or silent else None

    def explain(self, error: BaseException) -> Trouble | None:
        """What happened to another process, if that is why an exchange failed here; waits until it is known."""
        if not _of_an_exchange(error):
            return None
        limit = time.monotonic() + _ANSWER
        while time.monotonic() < limit:
            found = self.trouble(_SUSPICIOUS)
            if found is not None:
                return found
            time.sleep(BEAT / 4)
        return None

    def tell(self, error: SightlineError) -> bool:
        """Leave this process's error for the others; whether one that a person sees has read it."""
        others = set(range(self.board.count)) - {self.board.rank}
        limit = time.monotonic() + _HEARD
        with contextlib.suppress(RuntimeError, ValueError):  # the store is gone, and with it those who would read
            self.board.tell(error)
            while time.monotonic() < limit and not others <= self.board.heard():
                time.sleep(BEAT / 4)
            return 0 in self.board.heard() and not self.tells
        return False

    def must_say(self, trouble: Trouble) -> bool:
        """Whether a person would not learn of it if this process kept silent."""
        return self.tells or (trouble.rank == 0 and trouble.gone and self.board.rank == 1)

    def _leave(self, trouble: Trouble) -> None:
        """End the process from outside of an exchange that nothing else ends; checkpoints take their place whole."""
        if self.must_say(trouble):
            sys.stderr.write(f"sightline: error: {trouble.error}\n")
            sys.stderr.flush()
        self.helpers.kill()
        os._exit(trouble.error.exit_code)


def _gone(rank: int, how: str) -> Trouble:
    error = SightlineError(
        f"process {rank} of the run is gone: {how}",
        cause="it was killed (out of memory?), or its machine or the network failed",
        cure=_CURE,
    )
    return Trouble(rank, error, gone=True)


def _of_an_exchange(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _OF_AN_EXCHANGE)


@contextlib.contextmanager
def heartbeat(fabric: Fabric, helpers: Helpers) -> Iterator[None]:
    """Inside, what ends one process ends all, with the same error in each.

    Raises:
        SightlineError: what happened to another process.
        HelperEndedError: the error is told by the first process, and nothing is left to say.
    """
    if fabric.world_size == 1:
        yield
        return
    heart = Heartbeat(Board(fabric.global_rank, fabric.world_size), helpers, fabric.is_global_zero)
    fabric.barrier()
    heart.start()
    try:
        yield
        fabric.barrier()
    except Exception as error:
        raise _answer(heart, error, same_machine=fabric.node_rank == 0) from error
    finally:
        heart.stop()


def _answer(heart: Heartbeat, error: Exception, *, same_machine: bool) -> Exception:
    """The error to end with: another's if that is the reason, else this process's own."""
    trouble = heart.explain(error)
    if trouble is not None:
        silent = same_machine and not heart.must_say(trouble)
        return HelperEndedError(trouble.error.what) if silent else trouble.error
    own = error if isinstance(error, SightlineError) else SightlineError(f"{type(error).__name__}: {error}")
    told = heart.tell(own)
    return HelperEndedError(own.what) if told and same_machine else error
