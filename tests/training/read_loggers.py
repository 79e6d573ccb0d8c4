"""What loggers wrote, read back from their files by their own readers: points as {name: [(step, value), ...]}."""

import struct
from collections.abc import Iterator
from pathlib import Path

Points = dict[str, list[tuple[int, float]]]


def tensorboard_points(folder: Path) -> Points:
    loaded = _events(folder)
    return {tag: [(e.step, e.value) for e in loaded.Scalars(tag)] for tag in loaded.Tags()["scalars"]}


def tensorboard_pictures(folder: Path) -> list[str]:
    return list(_events(folder).Tags()["images"])


def tensorboard_texts(folder: Path) -> dict[str, list[str]]:
    loaded = _events(folder)
    return {
        tag: [e.tensor_proto.string_val[0].decode() for e in loaded.Tensors(tag)] for tag in loaded.Tags()["tensors"]
    }


def _events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def mlflow_run(store: Path):
    """The only run of a store, and its points."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    points: Points = {
        name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics
    }
    return run, points


def wandb_records(folder: Path) -> list:
    """The records of all offline runs in W&B's folder, oldest first."""
    from wandb.proto.wandb_internal_pb2 import Record

    files = sorted(folder.glob("offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    return [Record.FromString(data) for file in files for data in _records(file.read_bytes())]


def wandb_points(records: list) -> Points:
    import json

    points: Points = {}
    for record in records:
        if record.WhichOneof("record_type") != "history":
            continue
        items = {"/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        step = items.pop("_step", record.history.step.num)
        for name, value in items.items():
            if not name.startswith(("_", "best/")) and isinstance(value, int | float):
                points.setdefault(name, []).append((step, value))
    return points


def _records(data: bytes) -> Iterator[bytes]:
    """The log format of LevelDB after W&B's seven bytes: blocks of 32768, records of CRC, length, type and data."""
    assert data[:4] == b":W&B"
    place, whole = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        if kind == 0:
            return
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""
