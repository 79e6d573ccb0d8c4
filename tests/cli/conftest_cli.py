"""What the tests of the command line share beside fixtures."""

import hashlib
from pathlib import Path

TINY = ["--backbone", "mobilenet_v3_small", "--imgsz", "64", "--set", "channels=16", "--set", "head_width=16"]
TINY += ["--set", "proposals=20", "--set", "region_samples=16"]
QUICK = ["--epochs", "1", "--batch", "2", "--workers", "0", "--precision", "32"]


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash of its content."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
