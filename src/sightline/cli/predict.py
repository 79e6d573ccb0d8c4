"""``sightline predict``: what a trained model finds in images."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import combining, options
from sightline.cli.output import counter, show_findings, show_json
from sightline.errors import ConfigError, DataError

IMAGES_FILE = "images.json"
_DATA_ERROR = DataError.exit_code


def predict_command(
    model: options.ModelFile,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", help="Files, folders or patterns like 'p/*.jpg'.")
    ],
    out: options.Out = None,
    threshold: Annotated[float, typer.Option(metavar="0..1", help="Smallest score that is shown and written.")] = 0.5,
    imgsz: options.ImageSize = None,
    multi_scale: combining.MultiScaleOption = None,
    flip: combining.Flip = False,
    ensemble: combining.EnsembleOption = None,
    member_weights: combining.MemberWeights = None,
    fusion: combining.FusionOption = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    on_bad_image: options.OnBadImage = "skip",
    as_json: options.Json = False,
) -> None:
    """Find objects in images; write pictures and COCO results."""
    from sightline.data import bad_images
    from sightline.data.image_files import list_images
    from sightline.judging import ready
    from sightline.workflow import RUNS, new_folder, next_folder

    if not 0 <= threshold <= 1:
        raise ConfigError(f"a threshold of {threshold:g} makes no sense", cure="give a --threshold from 0 to 1")
    reader = bad_images.ImageReader(bad_images.on_bad_image(on_bad_image))
    paths = list_images(images)
    combined = combining.Combining(multi_scale, flip, tuple(ensemble or ()), member_weights, fusion, imgsz)
    system = combined.system(model)
    how = combined.described(model, system)
    system = ready(system, device=device, precision=precision)  # type: ignore[arg-type]  # ready checks it
    with new_folder(next_folder(RUNS / "predict", numbered=True) if out is None else out) as folder:
        document = _predict_all(system, paths, reader, folder, threshold)
    show_findings(reader.counts, "predict")
    for line in reader.skipped:
        print(f"sightline: error: {line}", file=sys.stderr)
    if as_json:
        show_json(
            {**document, "combination": how, "out": str(folder), "failed": reader.skipped, "remarks": reader.counts}
        )
    else:
        found = Counter(row["category"] for row in document["detections"])
        named = ", ".join(f"{count} {name}" for name, count in found.most_common())
        if how is not None:
            print(combining.told(how))
        print(f"{len(document['images'])} images: {named or 'nothing found'}\nwritten to {folder}")
    if reader.skipped:
        raise typer.Exit(_DATA_ERROR)


def _predict_all(system: Any, paths: list[Path], reader: Any, folder: Path, threshold: float) -> dict[str, Any]:
    """One image after the other, so that memory does not grow with their number; the reader keeps those it skipped."""
    from sightline.conversions import to_coco
    from sightline.files import write_atomically
    from sightline.report.draw import draw_detections, save_image

    classes = system.classes
    categories = dict(zip(classes.ids, classes.names, strict=True))
    names, rows, records = Names(), [], []
    with counter("predicting") as progress:
        for number, path in enumerate(paths, start=1):
            decoded = reader.read(path)
            if decoded is None:
                continue
            image = decoded.image
            (found,) = system.predict([image])
            found = found.to("cpu").above(threshold)
            rows += to_coco(found, number, classes)
            picture = names.free(path)
            save_image(draw_detections(image, found, classes), folder / picture)
            height, width = found.size
            record = {"id": number, "file_name": str(path), "height": height, "width": width, "picture": picture}
            records.append({**record, "remarks": list(decoded.remarks)} if decoded.remarks else record)
            progress(number, len(paths))
    listed = [{"id": key, "name": name} for key, name in categories.items()]
    write_atomically(folder / "predictions.json", json.dumps(rows))
    write_atomically(folder / IMAGES_FILE, json.dumps({"images": records, "categories": listed}, indent=1))
    detections = [{**row, "category": categories[row["category_id"]]} for row in rows]
    return {"images": records, "detections": detections}


class Names:
    """Names for pictures in one folder: that of the image as JPEG, with a number where two images have the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, path: Path) -> str:
        """A name that was not given before."""
        number, name = 1, f"{path.stem}.jpg"
        while name.lower() in self._taken:
            number += 1
            name = f"{path.stem}-{number}.jpg"
        self._taken.add(name.lower())
        return name
