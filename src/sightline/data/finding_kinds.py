"""What can be wrong with labelled images: every kind has a stable code, a severity, a cause and a cure.

An ``error`` makes labels wrong or loses them, a ``warning`` should be looked at, a ``note`` is legal and counted.
docs/findings.md is this table for readers.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    Args:
        code: what programs and people call it; it never changes.
        severity: error, warning or note.
        title: what is wrong, without the case at hand.
        cause: the likely cause.
        cure: what to do about it.
        refused: whether opening the set for training or evaluation is refused; what is not is repaired or left alone.
        repair: what ``sightline data check --fix`` does; empty where a person has to decide.
    """

    code: str
    severity: Severity
    title: str
    cause: str
    cure: str
    refused: bool = False
    repair: str = ""


_FILE = "an interrupted copy or download"
_TOOL = "an error of the tool or script that wrote the file"
_OTHER_FORM = "a converter that mixed up two ways to write boxes"
_CORRECT = "correct the annotation file"
_DROP = "the annotation is left out"

_ALL = (
    # Files and values.
    Kind(
        "file-unreadable",
        "error",
        "annotation file that cannot be read",
        _FILE,
        "fetch the file again",
        True,
        "the file and its image are left out; a split that is one file is refused",
    ),
    Kind(
        "json-duplicate-key",
        "error",
        "key twice in one JSON object; the last one counts",
        _TOOL,
        _CORRECT,
        repair="the last one is kept",
    ),
    Kind("key-missing", "error", "value that must be there is missing", _TOOL, _CORRECT, True, "the entry is left out"),
    Kind("value-malformed", "error", "value of the wrong kind", _TOOL, _CORRECT, True, "the entry is left out"),
    Kind(
        "number-not-finite",
        "error",
        "NaN, infinity or a number too large",
        "a division by zero when it was made",
        _CORRECT,
        True,
        "the entry is left out",
    ),
    Kind(
        "file-not-image",
        "warning",
        "file among images that is no image",
        "a film, a note or an archive in a class's folder",
        "take it away",
        repair="it is not copied",
    ),
    # Ids and classes.
    Kind(
        "image-id-duplicate",
        "error",
        "image id used twice",
        "two files that were joined",
        "give each image its own id",
        True,
        "the later image gets a new id and no annotations",
    ),
    Kind(
        "annotation-id-duplicate",
        "error",
        "annotation id used twice",
        "two files that were joined",
        "give each annotation its own id; other tools silently keep only one",
        repair="the later one gets a new id",
    ),
    Kind(
        "annotation-id-missing",
        "note",
        "annotation without an id",
        _TOOL,
        "nothing needs to be done",
        repair="it gets one",
    ),
    Kind(
        "class-duplicate",
        "error",
        "class id or name used twice",
        "two files that were joined",
        "give each class one id and one name",
        True,
        "classes of one name become one; an id of two names is refused",
    ),
    Kind(
        "image-id-unknown",
        "error",
        "annotation of an image that is not listed",
        "the image was taken from the list",
        "list the image, or remove the annotation",
        True,
        _DROP,
    ),
    Kind(
        "class-unknown",
        "error",
        "annotation of a class that is not listed",
        "another list of classes than at labelling",
        "list the class, or remove the annotation",
        True,
        _DROP,
    ),
    Kind(
        "class-ids-off-by-one",
        "error",
        "class ids that all lie one beside the listed ones",
        "ids that count from 0 mixed with ids that count from 1",
        "shift the ids by one",
        True,
        "all ids are shifted by one",
    ),
    Kind(
        "class-absent",
        "warning",
        "class without objects in this split, which other splits have",
        "a split that was not stratified",
        "split anew with `sightline data split`",
    ),
    Kind(
        "class-names-alike",
        "warning",
        "two class names that are probably one",
        "another spelling, or a slip of the finger",
        "give both the same name where they are one class",
    ),
    Kind(
        "class-unused",
        "note",
        "class without objects in any split",
        "a list that was made for a larger set",
        "nothing needs to be done",
    ),
    # Images.
    Kind(
        "image-missing",
        "error",
        "image file that is not there",
        "the images were moved, or not all were copied",
        "put the image there, or remove the entry",
        True,
        "the image and its annotations are left out",
    ),
    Kind(
        "image-letter-case",
        "error",
        "image file found only under another letter case or Unicode form",
        "the set was made on a system that ignores case",
        "rename the file, or the entry",
        True,
        "the entry gets the file's name",
    ),
    Kind(
        "annotation-missing",
        "error",
        "listed image without an annotation file",
        "not all files were copied",
        "add the file (without objects if there are none), or remove the line",
        True,
        "the line is left out",
    ),
    Kind(
        "image-unlisted",
        "warning",
        "image file that no annotation file lists",
        "the image was never labelled",
        "label it, or list it as an image without objects, or take it away",
        repair="it is not copied",
    ),
    Kind(
        "image-listed-twice",
        "warning",
        "image file listed by more than one entry",
        "two files that were joined",
        "join the entries",
        repair="a line that comes again is left out; entries of COCO and of tables stay",
    ),
    Kind(
        "image-damaged",
        "error",
        "image that cannot be decoded",
        _FILE,
        "fetch the file again, or leave it out",
        repair="the image and its annotations are left out",
    ),
    Kind(
        "image-size-differs",
        "error",
        "annotated size is another picture's",
        "the picture was resized, turned or replaced after it was annotated",
        "correct the size and the boxes, or annotate the picture as it is shown",
    ),
    Kind(
        "image-size-off",
        "warning",
        "annotated size is not the file's, but the boxes fit",
        _TOOL,
        "correct the size",
        repair="the file's size is written",
    ),
    Kind(
        "image-size-missing",
        "note",
        "image size missing, read from the file",
        _TOOL,
        "nothing needs to be done",
        repair="the file's size is written",
    ),
    Kind(
        "image-filename-differs",
        "warning",
        "<filename> is another file's name",
        "files that were renamed",
        "correct the name",
        repair="the file's name is written",
    ),
    Kind(
        "image-empty",
        "note",
        "image without objects",
        "nothing to see, or not labelled yet",
        "nothing needs to be done if there is nothing to see",
    ),
    Kind(
        "image-animated",
        "note",
        "animation or stack of pictures: the first one counts",
        "a video or scan",
        "save the frames one by one",
    ),
    Kind("images-identical", "warning", "identical images in one split", "copies", "keep one of them"),
    Kind(
        "images-identical-across",
        "error",
        "identical images in two splits",
        "a split that was made before copies were removed",
        "keep one of them, or split anew with `sightline data split`; results are too good otherwise",
    ),
    Kind(
        "images-similar",
        "warning",
        "nearly identical images in one split",
        "frames of one video, or copies",
        "keep them together when splitting",
    ),
    Kind(
        "images-similar-across",
        "warning",
        "nearly identical images in two splits",
        "frames of one video, or copies",
        "split anew with `sightline data split`; results are too good otherwise",
    ),
    # Boxes.
    Kind(
        "box-clipped",
        "warning",
        "box clipped to the image",
        "an annotation that leaves the image",
        _CORRECT,
        repair="the box is clipped",
    ),
    Kind(
        "box-on-border",
        "note",
        "box clipped to the image by a pixel or less",
        "rounding, or pixels that count from 1",
        "nothing needs to be done",
        repair="the box is clipped",
    ),
    Kind("box-no-area", "error", "box without area dropped", "a click instead of a drag", _CORRECT, repair=_DROP),
    Kind(
        "box-reversed",
        "error",
        "reversed box dropped",
        "corners in the wrong order, or a negative width",
        _CORRECT,
        repair="the corners are put in order",
    ),
    Kind(
        "box-outside", "error", "box outside the image dropped", "the box is another picture's", _CORRECT, repair=_DROP
    ),
    Kind(
        "box-tiny",
        "warning",
        "box with a side of two pixels or less",
        "a click instead of a drag",
        "look at it",
    ),
    Kind(
        "box-aspect",
        "warning",
        "box of an absurd shape, longer than 30 times its width",
        "a slip of the mouse",
        "look at it",
    ),
    Kind(
        "boxes-are-corners",
        "error",
        "x, y, x, y written where x, y, width, height belong",
        _OTHER_FORM,
        "write x, y, width, height",
        refused=True,
        repair="corners become x, y, width, height",
    ),
    Kind(
        "boxes-are-sizes",
        "error",
        "x, y, width, height written where x, y, x, y belong",
        _OTHER_FORM,
        "write xmin, ymin, xmax, ymax",
        refused=True,
        repair="x, y, width, height become corners",
    ),
    Kind(
        "boxes-are-normalised",
        "error",
        "boxes in 0..1 where pixels belong",
        _OTHER_FORM,
        "multiply by the image's size",
        refused=True,
        repair="the boxes are multiplied by the image's size",
    ),
    Kind(
        "boxes-are-pixels",
        "error",
        "boxes in pixels where 0..1 belong",
        _OTHER_FORM,
        "divide by the image's size",
        refused=True,
        repair="the boxes are divided by the image's size",
    ),
    Kind(
        "boxes-wrong-side",
        "error",
        "boxes divided by the wrong side of the image",
        "width and height mixed up when the boxes were normalised",
        "divide x by the width and y by the height",
        refused=True,
        repair="x is multiplied by height / width, y by width / height",
    ),
    Kind(
        "boxes-count-from-zero",
        "note",
        "boxes read as written: the folder has coordinates that count from 0",
        "another tool than PASCAL VOC's",
        "nothing needs to be done",
        repair="the same boxes are written as VOC counts them, from 1",
    ),
    Kind(
        "annotation-duplicate",
        "warning",
        "the same class and box twice in one image",
        "two files that were joined",
        "remove one of them",
        repair="the later one is left out",
    ),
    # Masks and keypoints.
    Kind(
        "crowd-without-rle",
        "warning",
        "crowd without run lengths",
        _TOOL,
        "write its mask as run lengths",
        repair="its polygons, or its box, become run lengths",
    ),
    Kind(
        "polygon-short",
        "warning",
        "polygon with fewer than three points dropped",
        _TOOL,
        _CORRECT,
        repair="the polygon is left out",
    ),
    Kind(
        "mask-size-differs",
        "error",
        "run lengths of another image size",
        "the image was resized or turned after it was annotated",
        _CORRECT,
        repair="the mask is left out",
    ),
    Kind(
        "mask-malformed",
        "error",
        "mask that cannot be decoded",
        _TOOL,
        _CORRECT,
        repair="the mask is left out",
    ),
    Kind("mask-empty", "warning", "mask without a pixel", "a polygon thinner than a pixel", _CORRECT),
    Kind(
        "mask-box-differs",
        "warning",
        "mask that does not fit its box",
        "one of the two was edited alone",
        "look at it",
    ),
    Kind(
        "keypoint-outside",
        "warning",
        "labelled keypoint outside the image",
        _TOOL,
        _CORRECT,
        repair="the keypoint becomes unlabelled",
    ),
    Kind(
        "keypoints-unnamed",
        "error",
        "more keypoints than the classes name",
        "classes without their list of keypoints",
        "name the keypoints in the class's entry",
        True,
        "keypoints without a name are left out",
    ),
    Kind(
        "caption-ignored",
        "note",
        "annotation that is a caption and no object",
        "a file of captions",
        "nothing needs to be done",
        repair="it is left out",
    ),
)

KINDS = MappingProxyType({kind.code: kind for kind in _ALL})
"""Every kind of finding by its code."""
