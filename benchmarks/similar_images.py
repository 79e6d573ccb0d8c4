"""What share of changed copies the search for near-duplicates finds, what it names wrongly, and how long it takes.

    python benchmarks/similar_images.py [DATASETS] [--pairs 40000]

DATASETS is a folder with bccd, coco_tiny and camvid; default: that of SIGHTLINE_DATA. The figures are in
data/doctor/similar_images.py.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from sightline.data.doctor import similar_images
from sightline.data.doctor.similar_images import find_similar

EACH = 20
SETS = {
    "bccd": ("JPEGImages/*.jpg",),
    "coco_tiny": ("*2017/*.jpg",),
    "camvid": ("train/*.jpg", "val/*.jpg", "test/*.jpg"),
}


def crop(*sides: float) -> Callable[[Image.Image], Image.Image]:
    """Cuts off shares of the left, upper, right and lower side."""

    def change(image: Image.Image) -> Image.Image:
        (width, height), (left, up, right, low) = image.size, sides
        return image.crop(
            (round(width * left), round(height * up), width - round(width * right), height - round(height * low))
        )

    return change


def stamp(image: Image.Image) -> Image.Image:
    """A white bar, half transparent, at the lower right."""
    image = image.copy()
    width, height = image.size
    box = (width * 0.6, height * 0.85, width * 0.95, height * 0.95)
    ImageDraw.Draw(image, "RGBA").rectangle(box, fill=(255, 255, 255, 160))
    return image


def noise(image: Image.Image) -> Image.Image:
    """Noise of 10 grey levels."""
    drawn = np.random.default_rng(0).normal(0, 10, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + drawn, 0, 255).astype(np.uint8))


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], int | None]] = {
    "JPEG quality 30": (lambda image: image, 30),
    "JPEG quality 10": (lambda image: image, 10),
    "half the size": (lambda image: image.resize((image.width // 2, image.height // 2)), 90),
    "a quarter": (lambda image: image.resize((image.width // 4, image.height // 4)), 90),
    "brightness +20%": (lambda image: ImageEnhance.Brightness(image).enhance(1.2), 90),
    "brightness -20%": (lambda image: ImageEnhance.Brightness(image).enhance(0.8), 90),
    "brightness +50%": (lambda image: ImageEnhance.Brightness(image).enhance(1.5), 90),
    "contrast +20%": (lambda image: ImageEnhance.Contrast(image).enhance(1.2), 90),
    "contrast -20%": (lambda image: ImageEnhance.Contrast(image).enhance(0.8), 90),
    "1% off each side": (crop(0.01, 0.01, 0.01, 0.01), 90),
    "2% off each side": (crop(0.02, 0.02, 0.02, 0.02), 90),
    "2% off a corner": (crop(0.02, 0.02, 0, 0), 90),
    "3% off a corner": (crop(0.03, 0.03, 0, 0), 90),
    "5% off a corner": (crop(0.05, 0.05, 0, 0), 90),
    "watermark": (stamp, 90),
    "mirrored": (ImageOps.mirror, 90),
    "grey": (lambda image: image.convert("L"), 90),
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(2)), 90),
    "noise": (noise, 90),
    "turned": (lambda image: image.rotate(90, expand=True), 90),
    "PNG": (lambda image: image, None),
}


def measure_recall(originals: list[Path]) -> None:
    """Prints how many changed copies are found."""
    for name, (change, quality) in CHANGES.items():
        with tempfile.TemporaryDirectory() as folder:
            copies = []
            for number, path in enumerate(originals):
                copies.append(Path(folder) / f"{number}.{'jpg' if quality else 'png'}")
                options = {"quality": quality} if quality else {"compress_level": 1}
                change(Image.open(path).convert("RGB")).save(copies[-1], **options)
            pairs = find_similar([*originals, *copies]).pairs
        found = [pair for pair in pairs if pair.second - pair.first == len(originals)]
        least = min((pair.likeness for pair in found), default=0)
        print(
            f"{name:18} {len(found)} of {len(originals)}, least likeness {least:.2f}, others {len(pairs) - len(found)}"
        )


def measure_pairs(count: int) -> None:
    """Prints how long the comparison of random pictures with the spectrum of photographs takes."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.rfftfreq(32), indexing="ij"))
    frequency[0, 0] = 1
    luma = np.empty((count, 32, 32), np.uint8)
    for start in range(0, count, 4096):
        white = rng.normal(size=luma[start : start + 4096].shape)
        drawn = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=(32, 32))
        luma[start : start + 4096] = np.clip(128 + 50 * drawn / drawn.std((1, 2), keepdims=True), 0, 255)
    started, cpu = time.perf_counter(), time.process_time()
    found = sum(1 for _ in similar_images._Search(luma, similar_images.THRESHOLD).pairs(np.arange(count)))
    print(
        f"{count} pictures: {time.perf_counter() - started:.1f} s, processor {time.process_time() - cpu:.1f} s, {found}"
    )


def main() -> int:
    """Runs all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = Path(os.environ["SIGHTLINE_DATA"]) / "datasets" if "SIGHTLINE_DATA" in os.environ else None
    parser.add_argument("datasets", type=Path, nargs="?", default=known)
    parser.add_argument("--pairs", type=int, default=40000)
    options = parser.parse_args()
    if options.datasets is None:
        print("skipped: give the folder of the data sets, or set SIGHTLINE_DATA")
        return 0
    originals: list[Path] = []
    for name, patterns in SETS.items():
        folder = options.datasets / name
        paths = sorted((p for each in patterns for p in folder.glob(each)), key=lambda path: path.name)
        started = time.perf_counter()
        pairs = find_similar(paths).pairs
        print(f"{name}: {len(paths)} images, {len(pairs)} pairs, {time.perf_counter() - started:.2f} s")
        originals += [paths[place] for place in np.linspace(0, len(paths) - 1, EACH).astype(int)]
    measure_recall(originals)
    measure_pairs(options.pairs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
