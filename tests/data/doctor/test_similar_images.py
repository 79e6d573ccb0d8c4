"""Identical and nearly identical images: what is found, what is not, and what cannot be compared."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from sightline.data.doctor import similar_images
from sightline.data.doctor.fingerprints import Windows, fingerprint, pixel_digest, search_vectors
from sightline.data.doctor.similar_images import Pair, clusters, find_similar, similar_findings

Change = Callable[[Image.Image], Image.Image]


def picture(seed: int, height: int = 240, width: int = 320) -> Image.Image:
    """Something like a photograph: few large shapes, many small ones."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), tuple(rng.integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for size in (120, 80, 50, 40, 30, 30, 20, 20, 20, 15, 15, 15):
        for _ in range(3):
            x, y = rng.uniform(-20, width), rng.uniform(-20, height)
            box = (x, y, x + size * rng.uniform(0.5, 1.5), y + size)
            draw.ellipse(box, fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def cropped(image: Image.Image) -> Image.Image:
    across, down = image.width // 100, image.height // 100
    return image.crop((across, down, image.width - across, image.height - down))


def stamped(image: Image.Image) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).rectangle((200, 205, 300, 230), fill="white")
    return image


CHANGES: dict[str, Change] = {
    "quality": lambda image: image,
    "smaller": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "cropped": cropped,
    "stamped": stamped,
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(tmp_path: Path, change: str) -> None:
    originals = [saved(picture(seed), tmp_path / f"{seed}.jpg", quality=95) for seed in range(8)]
    copies = [saved(CHANGES[change](picture(seed)), tmp_path / f"{seed}-copy.jpg", quality=30) for seed in range(8)]
    found = find_similar(originals + copies, workers=1)
    assert [(p.first, p.second, p.kind, p.mirrored) for p in found.pairs] == [
        (i, i + 8, "similar", False) for i in range(8)
    ]
    assert not found.unreadable


def test_mirror_images_are_found_as_such(tmp_path: Path) -> None:
    first = saved(picture(1), tmp_path / "a.png")
    second = saved(ImageOps.mirror(picture(1)), tmp_path / "b.png")
    (pair,) = find_similar([first, second]).pairs
    assert (pair.kind, pair.mirrored) == ("similar", True)


def test_same_bytes_and_same_pixels_are_identical(tmp_path: Path) -> None:
    first = saved(picture(1), tmp_path / "a.png")
    copy = tmp_path / "b.png"
    copy.write_bytes(first.read_bytes())
    packed = saved(picture(1), tmp_path / "c.png", compress_level=1)
    bitmap = saved(picture(1), tmp_path / "d.bmp")
    nearly = picture(1)
    nearly.putpixel((5, 5), (1, 2, 3))
    almost = saved(nearly, tmp_path / "e.png")
    kinds = {(p.first, p.second): p.kind for p in find_similar([first, copy, packed, bitmap, almost]).pairs}
    assert kinds[0, 1] == kinds[0, 2] == kinds[0, 3] == "identical"
    assert kinds[0, 4] == "similar"
    assert not any(1 in pair for pair in kinds if pair != (0, 1)), "a copy of the same bytes is compared no further"


def test_jpeg_and_its_decoded_pixels_are_identical(data_root: Path, tmp_path: Path) -> None:
    paths = sorted((data_root / "datasets/coco_tiny/val2017").glob("*.jpg"))[:6]
    with_png = [saved(Image.open(p).convert("RGB"), tmp_path / f"{p.stem}.png", compress_level=1) for p in paths]
    assert [(p.first, p.second, p.kind) for p in find_similar([*paths, *with_png]).pairs] == [
        (i, i + 6, "identical") for i in range(6)
    ]


def test_real_photographs_have_one_true_near_duplicate(data_root: Path) -> None:
    paths = sorted((data_root / "datasets/bccd/JPEGImages").glob("*.jpg"))
    found = find_similar(paths).pairs
    assert [(paths[p.first].stem, paths[p.second].stem) for p in found] == [("BloodImage_00037", "BloodImage_00038")]


def test_pictures_that_show_nothing_are_not_alike_unless_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.normal(128, 2, (64, 64)).astype(np.uint8)) for _ in range(2)]
    ramp = Image.fromarray(np.repeat(np.linspace(90, 160, 64)[:, None], 64, 1).astype(np.uint8))
    steep = Image.fromarray(np.repeat(np.linspace(20, 230, 64)[:, None], 64, 1).astype(np.uint8))
    grey = [Image.new("L", (64, 64), 7), Image.new("L", (64, 64), 7), Image.new("L", (64, 64), 9)]
    images = [*noise, ramp, steep, *grey]
    paths = [saved(image, tmp_path / f"{n}.png", compress_level=n) for n, image in enumerate(images)]
    assert paths[4].read_bytes() != paths[5].read_bytes()
    assert find_similar(paths).pairs == [Pair(4, 5, "identical")]


def test_one_sky_with_other_things_in_it_is_another_picture(tmp_path: Path) -> None:
    def sky(*planes: tuple[int, int]) -> Image.Image:
        image = Image.fromarray(np.repeat(np.linspace(150, 220, 240)[:, None], 320, 1).astype(np.uint8))
        for x, y in planes:
            ImageDraw.Draw(image).ellipse((x, y, x + 60, y + 25), fill=40)
        return image

    paths = [
        saved(sky((40, 50), (200, 150)), tmp_path / "a.png"),
        saved(sky((200, 40), (70, 180)), tmp_path / "b.png"),
        saved(sky((40, 50), (200, 150)), tmp_path / "c.jpg", quality=40),
    ]
    assert [(p.first, p.second) for p in find_similar(paths).pairs] == [(0, 2)]


def test_unreadable_images_are_told_and_the_rest_is_compared(tmp_path: Path) -> None:
    whole = saved(picture(1), tmp_path / "a.jpg", quality=90)
    cut = tmp_path / "b.jpg"
    cut.write_bytes(whole.read_bytes()[:2000])
    other = saved(picture(1), tmp_path / "c.jpg", quality=50)
    seen: list[tuple[int, int]] = []
    found = find_similar(
        [whole, cut, tmp_path / "none.jpg", other], progress=lambda done, total: seen.append((done, total))
    )
    assert [path.name for path, _ in found.unreadable] == ["b.jpg", "none.jpg"]
    assert all(str(path) in str(error) for path, error in found.unreadable)
    assert [(p.first, p.second) for p in found.pairs] == [(0, 3)]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert find_similar([]).pairs == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_fingerprints_are_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = saved(picture(3, 256, 320), tmp_path / "a.png", exif=exif)
    upright = saved(ImageOps.exif_transpose(Image.open(turned)), tmp_path / "b.png")
    one, other = fingerprint(turned), fingerprint(upright)
    assert one.size == other.size
    assert np.allclose(one.luma, other.luma, atol=1)
    assert pixel_digest(turned) == pixel_digest(upright)


def test_search_vectors_give_likeness_of_pictures_and_of_their_mirror_images() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)
    kept, changed = search_vectors(luma)
    kept_m, changed_m = search_vectors(luma[:, :, ::-1])
    assert np.allclose(kept_m, kept, atol=1e-6) and np.allclose(changed_m, -changed, atol=1e-6)
    assert np.allclose((kept**2).sum(1) + (changed**2).sum(1), 1, atol=1e-5)
    coarse = luma.reshape(5, 16, 2, 16, 2).mean((2, 4))
    slow = []
    for each in coarse:
        steps = np.concatenate([np.diff(each, axis=1).ravel(), np.diff(each, axis=0).ravel()])
        limit = 1.5 * np.abs(steps).mean()
        slow.append(np.clip(steps, -limit, limit))
    units = np.stack(slow) / np.linalg.norm(slow, axis=1, keepdims=True)
    assert np.allclose(kept @ kept.T + changed @ changed.T, units @ units.T, atol=1e-5)


def test_windows_have_no_mean_and_no_slope() -> None:
    down, across = np.mgrid[:32, :32]
    ramp = (3 * down + 4 * across).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    windows = Windows.of(np.stack([ramp, noise]))
    assert windows.units.shape == (49, 2, 64)
    assert not windows.shown[:, 0].any() and windows.shown[:, 1].all()
    assert np.allclose(windows.units[:, 1].sum(1), 0, atol=1e-4)
    assert np.allclose(np.linalg.norm(windows.units[:, 1], axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("mirrored", [False, True])
def test_likeness_is_that_of_windows_fitted_one_by_one(mirrored: bool) -> None:
    rng = np.random.default_rng(2)
    luma = rng.integers(100, 140, (3, 32, 32), dtype=np.uint8)
    luma[1, :20] = luma[0, :20]
    luma[2] = luma[1, :, ::-1]
    luma[:, 3:14, 2:15] = 90  # windows that show nothing in either
    mean, lower = similar_images._compare(luma, np.array([0, 0, 1]), np.array([1, 2, 2]), mirrored)
    down, across = np.mgrid[:8, :8]
    plane = np.stack([np.ones(64), down.ravel(), across.ravel()], 1)

    def rest(window: np.ndarray) -> np.ndarray:
        flat = window.astype(float).ravel()
        return flat - plane @ np.linalg.lstsq(plane, flat, rcond=None)[0]

    for place, (one, other) in enumerate([(0, 1), (0, 2), (1, 2)]):
        second = luma[other, :, ::-1] if mirrored else luma[other]
        values = []
        for y in range(0, 25, 4):
            for x in range(0, 25, 4):
                a, b = rest(luma[one, y : y + 8, x : x + 8]), rest(second[y : y + 8, x : x + 8])
                if max(a.std(), b.std()) > 2:
                    values.append(float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-3)))
        values.sort()
        assert np.isclose(mean[place], np.mean(values), atol=1e-3)
        assert np.isclose(lower[place], values[(len(values) - 1) // 4], atol=1e-3)


def test_pictures_that_differ_at_the_bottom_only_are_not_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(similar_images, "_FIRST_LOOK", 0.5)
    other = picture(1)
    other.paste(picture(2).crop((0, 180, 320, 240)), (0, 180))
    paths = [saved(picture(1), tmp_path / "a.png"), saved(other, tmp_path / "b.png")]
    assert find_similar(paths).pairs == []
    monkeypatch.setattr(similar_images, "_SPREAD", 2)
    assert len(find_similar(paths).pairs) == 1, "their windows agree on average, but not in the lower quarter"


def test_tiles_make_no_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = [saved(picture(seed // 2), tmp_path / f"{seed}.jpg", quality=40 + seed) for seed in range(14)]
    whole = find_similar(paths).pairs
    monkeypatch.setattr(similar_images, "_TILE", 3)
    tiled = find_similar(paths).pairs
    assert [(p.first, p.second) for p in whole] == [(i, i + 1) for i in range(0, 14, 2)]
    assert [(p.first, p.second) for p in tiled] == [(p.first, p.second) for p in whole]
    assert np.allclose([p.likeness for p in tiled], [p.likeness for p in whole])


def test_many_frames_of_one_scene_stay_connected_without_naming_every_pair(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(similar_images, "_TILE", 8)
    paths = [saved(picture(5), tmp_path / f"{n}.jpg", quality=40 + n) for n in range(40)]
    pairs = find_similar(paths).pairs
    assert clusters(pairs, 40) == [set(range(40))]
    assert len(pairs) <= 40 * 8


def test_clusters_are_what_pairs_connect() -> None:
    pairs = [Pair(1, 4, "similar"), Pair(2, 3, "identical"), Pair(4, 6, "similar")]
    assert clusters(pairs, 8) == [{1, 4, 6}, {2, 3}]
    assert clusters([], 3) == []


def test_findings_name_both_files_and_tell_splits_apart() -> None:
    images = [("train", Path("t/a.jpg")), ("train", Path("t/b.jpg")), ("val", Path("v/c.jpg"))]
    pairs = [Pair(0, 1, "identical"), Pair(0, 2, "identical"), Pair(1, 2, "similar", 0.87, True)]
    findings = similar_findings([*pairs, Pair(0, 1, "similar", 0.9)], images)
    assert [f.code for f in findings] == [
        *("images-identical", "images-identical-across", "images-similar-across", "images-similar")
    ]
    assert findings[2].what == "t/b.jpg (train) and v/c.jpg (val) are nearly identical (likeness 0.87, mirrored)"
    assert (findings[2].file, findings[2].image, findings[2].split) == ("t/b.jpg", "v/c.jpg", "train")
