"""A set's images on one page: pictures with boxes, masks and keypoints above them that can be switched on and off.

One HTML file with everything in it. Annotations are SVG in pixels of the whole image, so that they stay sharp when a
picture is enlarged; what reaches over the border is cut off there.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor

from sightline.data.findings import Finding
from sightline.report.data_gallery_style import SCRIPT, STYLE
from sightline.report.data_pictures import DataPicture, ShownObject, visible_box
from sightline.report.draw import encode
from sightline.report.figures import COLOURS
from sightline.report.page import block, escape, page

_QUALITY = 80
_MASK_OPACITY = 110


@dataclass(frozen=True, eq=False)
class GalleryPage:
    """What a gallery shows.

    Args:
        title: of the page.
        notes: sentences under it.
        classes: names of all classes, in the order of their places.
        splits: names of the splits.
        figures: as :func:`figure` makes them.
        findings: titles of the kinds of findings by code.
    """

    title: str
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    figures: tuple[str, ...]
    findings: Mapping[str, str] = field(default_factory=dict)


def render(gallery: GalleryPage) -> str:
    """The gallery as the text of an HTML page."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in gallery.notes)
    choices = [
        _select("class", "all classes", {str(place): name for place, name in enumerate(gallery.classes)}),
        _select("split", "all splits", {str(place): name for place, name in enumerate(gallery.splits)}),
        _select("finding", "with and without findings", {c: f"{c}: {title}" for c, title in gallery.findings.items()}),
    ]
    switches = "".join(
        f'<label><input type="checkbox" data-layer="{layer}" checked> {layer}</label>'
        for layer in ("boxes", "masks", "keypoints", "names")
        if any(f'class="{layer}"' in one for one in gallery.figures)
    )
    controls = f'<div class="controls">{"".join(choices)}{switches}<output></output></div>'
    pictures = block("shown", gallery.figures) or "<p>No pictures.</p>"
    return page(gallery.title, f"{notes}\n{controls}", f"{pictures}\n", style=STYLE, script=SCRIPT)


def figure(picture: DataPicture, splits: Sequence[str]) -> str:
    """One image of the gallery as HTML.

    Args:
        picture: the image with its objects.
        splits: names of all splits of the page.
    """
    height, width = picture.size
    objects = sorted(picture.objects, key=lambda found: (found.flagged, -found.area))
    # Names come last, so that no mask covers them.
    drawn = "\n".join(
        [*(_drawn(found, picture) for found in objects), *(_name(found, picture) for found in objects)],
    )
    places = " ".join(str(place) for place in sorted({found.place for found in objects}))
    codes = " ".join(dict.fromkeys(finding.code for finding in picture.findings))
    split = splits.index(picture.split) if picture.split in splits else ""
    source = base64.b64encode(encode(picture.image, "JPEG", _QUALITY)).decode("ascii")
    return (
        f'<figure class="pic" tabindex="0" data-classes="{places}" data-split="{split}" '
        f'data-findings="{escape(codes)}">'
        f'<div class="frame" style="--aspect:{width / height:.4f}">'
        f'<img alt="{escape(picture.name)}" src="data:image/jpeg;base64,{source}">\n'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'style="font-size:{max(height, width) / 34:.1f}px">\n{drawn}\n</svg></div>\n{_caption(picture)}</figure>'
    )


def _select(name: str, nothing: str, values: Mapping[str, str]) -> str:
    if not values:
        return ""
    options = "".join(f'<option value="{escape(key)}">{escape(text)}</option>' for key, text in values.items())
    return f'<select data-filter="{name}" aria-label="{name}"><option value="">{nothing}</option>{options}</select>'


def _caption(picture: DataPicture) -> str:
    height, width = picture.size
    count = len(picture.objects)
    objects = "1 object" if count == 1 else f"{count} objects"
    split = f"{picture.split}, " if picture.split else ""
    text = f"<b>{escape(picture.name)}</b> <span>{escape(split)}{width} x {height}, {objects}</span>"
    remarks = "".join(f'<p class="remark">{escape(remark)}</p>' for remark in picture.remarks)
    return f"<figcaption>{text}{''.join(_finding(f) for f in picture.findings)}{remarks}</figcaption>"


def _finding(finding: Finding) -> str:
    where = f" <span>{escape(finding.where)}</span>" if finding.where else ""
    return f'<p class="finding"><b>{escape(finding.code)}</b> {escape(finding.what)}{where}</p>'


def _drawn(found: ShownObject, picture: DataPicture) -> str:
    """One object: its mask below, its box and its keypoints on top."""
    x1, y1, x2, y2 = visible_box(found.box, picture.size)
    box = f'<rect class="boxes" x="{x1:.2f}" y="{y1:.2f}" width="{x2 - x1:.2f}" height="{y2 - y1:.2f}"/>'
    written = f"{found.box[0]:g}, {found.box[1]:g}, {found.box[2]:g}, {found.box[3]:g}"
    note = " (ignored)" if found.ignore else ""
    title = f"<title>{escape(found.name)}{note}: x1, y1, x2, y2 = {written}</title>"
    return _group(found, f"{title}{_mask(found, picture)}{box}{_points(found, picture)}")


def _group(found: ShownObject, inside: str) -> str:
    kinds = "".join(f" {word}" for word, given in (("flagged", found.flagged), ("ignored", found.ignore)) if given)
    colour = COLOURS[found.place % len(COLOURS)]
    return f'<g class="object{kinds}" data-class="{found.place}" style="--colour:{colour}">{inside}</g>'


def _name(found: ShownObject, picture: DataPicture) -> str:
    x1, y1, x2, _ = visible_box(found.box, picture.size)
    letters = max(picture.size) / 34
    # Above the box, or within it where there is no room; at the right border it ends where the box ends.
    y = y1 - 0.3 * letters if y1 > 1.3 * letters else y1 + 1.1 * letters
    place = f'x="{x2:.1f}" text-anchor="end"' if x1 > 0.85 * picture.size[1] else f'x="{x1:.1f}"'
    return _group(found, f'<text class="names" {place} y="{y:.1f}">{escape(found.name)}</text>')


def _mask(found: ShownObject, picture: DataPicture) -> str:
    if found.polygons:
        paths = "".join(_path(polygon) for polygon in found.polygons)
        return f'<path class="masks" d="{paths}"/>'
    if found.mask is None or not found.mask.any():
        return ""
    rows, columns = found.mask.any(dim=1).nonzero()[:, 0], found.mask.any(dim=0).nonzero()[:, 0]
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    scale_x, scale_y = picture.size[1] / picture.image.shape[2], picture.size[0] / picture.image.shape[1]
    source = base64.b64encode(_mask_file(found.mask[top:bottom, left:right], found.place)).decode("ascii")
    return (
        f'<image class="masks" x="{left * scale_x:.2f}" y="{top * scale_y:.2f}" '
        f'width="{(right - left) * scale_x:.2f}" height="{(bottom - top) * scale_y:.2f}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{source}"/>'
    )


def _path(polygon: Sequence[float]) -> str:
    points = " ".join(f"{x:.1f} {y:.1f}" for x, y in zip(polygon[::2], polygon[1::2], strict=True))
    return f"M{points}Z"


def _mask_file(mask: Tensor, place: int) -> bytes:
    """A (h, w) bool mask as a PNG of one translucent colour."""
    image = Image.fromarray(mask.numpy().astype(np.uint8), "P")
    colour = COLOURS[place % len(COLOURS)]
    image.putpalette([0, 0, 0, *bytes.fromhex(colour[1:])])
    buffer = BytesIO()
    image.save(buffer, "PNG", transparency=bytes((0, _MASK_OPACITY)), bits=1)
    return buffer.getvalue()


def _points(found: ShownObject, picture: DataPicture) -> str:
    if found.keypoints is None:
        return ""
    points = [(float(x), float(y), float(seen)) for x, y, seen in found.keypoints]
    radius = max(picture.size) / 160
    lines = "".join(
        f'<line x1="{points[a][0]:.1f}" y1="{points[a][1]:.1f}" x2="{points[b][0]:.1f}" y2="{points[b][1]:.1f}"/>'
        for a, b in found.skeleton
        if points[a][2] > 0 and points[b][2] > 0
    )
    dots = "".join(
        f'<circle class="{"seen" if seen >= 2 else "hidden"}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        for x, y, seen in points
        if seen > 0
    )
    return f'<g class="keypoints">{lines}{dots}</g>'
