import io
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from sightline.errors import DataError
from sightline.training.history import describe_row, read_history, write_history
from sightline.training.loader import Sampling
from sightline.training.pace import StepPace, TimePace
from sightline.training.progress import PlainProgress, Progress, RichProgress, StepView
from sightline.training.state import TrainState, state_from_json, state_to_json
from sightline.training.stopping import StopRequest


def view(progress: float, seconds_left: float | None = 75.4) -> StepView:
    return StepView("train", progress, 1.5, 12, 0.25, 13.1, 0.01, seconds_left)


def test_plain_lines_come_now_and_then_and_at_the_end() -> None:
    out, now = io.StringIO(), [0.0]
    with PlainProgress(10, out, lambda: now[0]) as progress:
        for second in range(25):
            now[0] = float(second)
            progress.step(view(second / 25))
        progress.step(view(1.0, 0))
        progress.log("done")
    lines = out.getvalue().splitlines()
    assert len(lines) == 5 and lines[-1] == "done"
    assert lines[0] == "train   0%  epoch 1.50  step 12  loss 0.2500  lr 1.00e-02  13.1 images/s  01:15 left"


def test_nothing_is_silent_for_longer_than_ten_seconds() -> None:
    out, now = io.StringIO(), [0.0]
    told: list[float] = []
    progress = PlainProgress(stream=out, clock=lambda: now[0])

    def at(second: float) -> None:
        now[0] = second
        progress.beat()  # as the thread does every second
        if len(out.getvalue().splitlines()) > len(told):
            told.append(second)

    progress.working("starting")
    at(0)
    for second in range(1, 26):  # a phase that says nothing of itself
        at(second)
    for second in range(26, 46):  # one that counts
        now[0] = second
        progress.working("decoding", second, 100)
        at(second)
    for second in range(46, 60):  # a step that does not end
        now[0] = second
        if second == 46:
            progress.step(view(0.1))
        at(second)
    lines = out.getvalue().splitlines()
    assert lines[:3] == ["starting", "starting (10 s)", "starting (20 s)"]
    assert lines[3:6] == [f"decoding: {done} of 100" for done in (28, 36, 44)]
    assert lines[6] == "train, after step 12 (8 s)"
    assert max(after - before for before, after in pairwise([*told, 60])) <= 10


def test_a_thread_tells_of_what_takes_long_and_ends_with_the_outermost_block() -> None:
    out = io.StringIO()
    progress = PlainProgress(0.5, out)
    with progress:
        with progress:
            progress.working("waiting")
        deadline = time.monotonic() + 20
        while "waiting (" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert out.getvalue().splitlines()[:2] == ["waiting", "waiting (2 s)"]
    assert "sightline-pulse" not in [thread.name for thread in threading.enumerate()]


def test_bar_shows_how_far_a_phase_is() -> None:
    out = io.StringIO()
    with RichProgress(Console(file=out, force_terminal=True, width=120)) as progress:
        progress.working("decoding", 30, 100)
    assert "decoding" in out.getvalue() and "30%" in out.getvalue() and "30 of 100" in out.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(None, "--:--"), (59.6, "01:00"), (3725, "1:02:05")])
def test_time_left(seconds: float | None, text: str) -> None:
    assert view(0.5, seconds).left() == text


def test_bar_shows_loss_rate_and_time_left() -> None:
    out = io.StringIO()
    bar: Progress = RichProgress(Console(file=out, force_terminal=True, width=120))
    with bar as progress:
        progress.log("[not markup]")
        progress.step(view(0.4))
    for part in ("[not markup]", "40%", "loss 0.250", "13.1 images/s", "01:15 left"):
        assert part in out.getvalue()


def test_history_comes_back_bit_for_bit_with_the_columns_of_all_stages(tmp_path: Path) -> None:
    rows: list[dict[str, float | str]] = [
        {"stage": "rpn", "epoch": 1.0, "train/total": 0.1 + 0.2},
        {"stage": "head, last", "epoch": 2.0, "AP": float("nan")},
    ]
    write_history(tmp_path / "h.csv", rows)
    read = read_history(tmp_path / "h.csv")
    assert read[0] == rows[0] and str(read[1]) == str(rows[1])
    assert (tmp_path / "h.csv").read_text().splitlines()[0] == "stage,epoch,train/total,AP"
    assert read_history(tmp_path / "none.csv") == []
    (tmp_path / "h.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no history"):
        read_history(tmp_path / "h.csv")


def test_row_on_a_line_has_totals_and_metrics() -> None:
    row: dict[str, float | str] = {
        "stage": "train", "epoch": 2.0, "step": 8, "lr": 0.1, "train/total": 0.5, "train/x": 0.2, "val/x": 0.3,
        "val/AP": 0.25,
    }  # fmt: skip
    assert describe_row(row) == "train epoch 2.0, step 8:  train/total 0.5000  AP 0.2500"


def test_state_as_json() -> None:
    state = TrainState(step=3, loss_sums={"x": 0.1 + 0.2}, best=1 / 3)
    assert state_from_json(state_to_json(state)) == state


def test_first_request_waits_for_the_step_and_the_second_does_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.wanted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone() -> None:
    def enter() -> None:
        with StopRequest() as stop:
            assert not stop.wanted

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()


SAMPLING = Sampling(0, images=10, batch_size=4)


def test_steps_validate_at_the_end_of_epochs_and_of_the_stage() -> None:
    def due(every: int) -> list[int]:
        pace = StepPace(SAMPLING, every, steps=12)
        return [step for step in range(13) if pace.validation_due(TrainState(step=step), 0.0)]

    assert due(1) == [3, 5, 8, 10, 12]
    assert due(2) == [5, 10, 12]
    assert not StepPace(SAMPLING, 1, 12).validation_due(TrainState(step=5, validated_step=5), 0.0)


def test_clock_keeps_time_for_the_last_validation_and_saving() -> None:
    pace = TimePace(SAMPLING, 1, began=100.0, budget=50.0, validation_steps=3.0)
    measured = TrainState(step=10, validation_seconds=5.0, saving_seconds=1.0)
    # One step takes (120 - 100) / 10 = 2 s; kept are 1.1 * 5 + 2 * 1 + 2 / 2 = 8.5 s.
    assert pace.progress(measured, 120.0) == pytest.approx(20 / 41.5)
    guessed = TrainState(step=10)
    assert pace.progress(guessed, 120.0) == pytest.approx(20 / (50 - 1.1 * 6 - 1))
    slow = TrainState(step=10, validation_seconds=500.0)
    assert pace.progress(slow, 110.0) == pytest.approx(10 / 25)
    assert pace.progress(TrainState(), 1000.0) == 0.0
    assert pace.seconds_left(measured, 120.0, 1.0) == 30.0


def test_clock_has_time_for_the_first_validation() -> None:
    pace = TimePace(SAMPLING, 1, began=0.0, budget=60.0, validation_steps=3.0)
    # Three steps are an epoch; at 2 s a step a validation is guessed at 6 s, at 5 s a step at 15 s.
    assert pace.validation_due(TrainState(step=3), 6.0)
    assert not pace.validation_due(TrainState(step=3), 15.0)
    assert pace.validation_due(TrainState(step=9), 45.0)  # the last one, which every run has


def test_clock_spends_a_tenth_on_validation() -> None:
    pace = TimePace(SAMPLING, 1, began=0.0, budget=1000.0, validation_steps=3.0)
    state = TrainState(step=500, validated_step=3, validated_at=100.0, validation_seconds=10.0)
    assert not pace.validation_due(state, 189.0)
    assert pace.validation_due(state, 191.0)
    assert not pace.validation_due(state, 975.0)
    assert pace.validation_due(state, 990.0)
