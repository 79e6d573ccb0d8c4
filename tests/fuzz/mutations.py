"""Ways to spoil a set: its bytes, its tokens, its JSON values, its files and folders."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

TEXTS = frozenset({".json", ".xml", ".txt", ".csv", ".yaml", ".yml"})
PICTURES = frozenset({".png", ".jpg"})

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -0.0,
        1,
        -1,
        2,
        3.5,
        255,
        65536,
        2**31,
        2**31 - 1,
        2**53 + 1,
        2**63,
        -(2**63),
        2**64,
        10**400,
    ),
    *(1e30, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"), 0.1, "", " ", "\0", "a\0b", "../../etc/passwd"),
    *(
        "/etc/passwd",
        "/",
        ".",
        "..",
        "a/b/c.png",
        "\ud800",
        "\udc80",
        "é",
        "e\u0301",
        "ﬁ",
        "\ufeff",
        "x" * 5000,
        "\n",
        "%s",
    ),
    *("C:\\x.png", "NaN", "1e999", [], {}, [[]], [[[[]]]], [None], {"a": 1}, {"size": [16, 24], "counts": ""}),
    *(
        {"size": [16, 24], "counts": "~" * 50},
        {"size": [16, 24], "counts": [384]},
        {"size": [2**31, 2**31], "counts": [1]},
    ),
    *([1], [1, 2, 3, 4], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [[1e9, 0, 0, 1e9, 3, 3]], [float("nan")] * 4, [1e400] * 6),
)
TOKENS = (
    *(
        b"NaN",
        b"nan",
        b"inf",
        b"-inf",
        b"Infinity",
        b"1e999",
        b"-1e999",
        b"-0",
        b"0",
        b"-1",
        b"1",
        b"2",
        b"99999999999999999999",
    ),
    *(
        b"2147483648",
        b"9223372036854775808",
        b"0x10",
        b"1_000",
        b"1.5",
        b".5",
        b"5.",
        b"1e-400",
        b'""',
        b"''",
        b"null",
        b"true",
    ),
    *(
        b"[]",
        b"{}",
        b"[[]]",
        b"[[[[]]]]",
        b'"\\ud800"',
        b'"\\u0000"',
        b"\x00",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xff",
        b"\xc3",
    ),
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\t",
        b" ",
        b",",
        b";",
        b":",
        b'"',
        b"'",
        b"\\",
        b"/",
        b"..",
        b"../..",
        b"/",
        b"~",
        b"*",
        b"&a",
        b"*a",
    ),
    *(
        b"!!python/object:os.system",
        b"<<: *a",
        b"---",
        b"- ",
        b"? ",
        b"|",
        b">",
        b"%",
        b"@",
        b"<!DOCTYPE a>",
        b"<![CDATA[",
        b"]]>",
    ),
    *(b"<a>", b"</a>", b"&amp;", b"&x;", b"&#0;", b"<object>", b"</object>", b"<bndbox>", b"<size>", b"<annotation>"),
    *(
        b'"images"',
        b'"annotations"',
        b'"categories"',
        b'"bbox"',
        b'"segmentation"',
        b'"keypoints"',
        b'"iscrowd"',
        b'"id"',
    ),
    *(
        b"names:",
        b"path:",
        b"train:",
        b"nc:",
        b"kpt_shape:",
        b"xmin",
        b"class",
        b"filename",
        b"\xd9\xa3",
        b"\xe2\x82\xac",
    ),
    *(b"[" * 1500, b"{" * 300, b"(" * 50, b"A" * 3000),
)
_TOKEN = re.compile(rb'-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|"[^"\n]{0,60}"|<[^>\n]{0,40}>|\w+')

Change = Callable[[bytes, random.Random], bytes]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert_bytes(data: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + rng.randbytes(rng.randint(1, 12)) + data[place:]


def delete_bytes(data: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + data[place + rng.choice((1, 1, 2, 7, 50)) :]


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def repeat_chunk(data: bytes, rng: random.Random) -> bytes:
    start, length, place = rng.randint(0, len(data)), rng.randint(1, 120), rng.randint(0, len(data))
    return data[:place] + data[start : start + length] * rng.choice((1, 1, 2, 20)) + data[place:]


def swap_chunks(data: bytes, rng: random.Random) -> bytes:
    a, b, c, d = sorted(rng.randint(0, len(data)) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def insert_token(data: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + rng.choice(TOKENS) + data[place:]


def replace_token(data: bytes, rng: random.Random) -> bytes:
    found = list(_TOKEN.finditer(data))
    if not found:
        return rng.choice(TOKENS)
    token = rng.choice(found)
    return data[: token.start()] + rng.choice(TOKENS) + data[token.end() :]


def swap_tokens(data: bytes, rng: random.Random) -> bytes:
    found = list(_TOKEN.finditer(data))
    if len(found) < 2:
        return data
    first, second = sorted(rng.sample(range(len(found)), 2))
    a, b = found[first], found[second]
    return data[: a.start()] + b.group() + data[a.end() : b.start()] + a.group() + data[b.end() :]


def change_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    place = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), lines[place])
    elif kind == 2:
        rng.shuffle(lines)
    else:
        lines[place] = lines[place].rstrip(b"\r\n") + rng.choice((b" ", b"\t", b" 7", b",", b";;;")) + b"\n"
    return b"".join(lines)


def recode(data: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return b"\xef\xbb\xbf" + data
    text = data.decode("utf-8", "replace")
    return text.encode(("utf-16", "utf-16-le", "latin-1")[kind - 1], "replace")


def change_json(data: bytes, rng: random.Random) -> bytes:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return replace_token(data, rng)
    for _ in range(rng.randint(1, 4)):
        holder = content
        while isinstance(holder, dict | list) and holder:
            key: Any = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
            inner = holder[key]  # type: ignore[call-overload]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
                holder = inner
                continue
            _change_item(holder, key, rng)
            break
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _change_item(holder: Any, key: Any, rng: random.Random) -> None:
    kind = rng.random()
    if kind < 0.7:
        holder[key] = deepcopy(rng.choice(VALUES))
    elif kind < 0.8:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(rng.randrange(len(holder)), holder[key])
    else:
        holder[str(rng.choice(VALUES))] = holder.pop(key)


BYTES: tuple[Change, ...] = (flip_bits, insert_bytes, delete_bytes, truncate, repeat_chunk, swap_chunks)
WORDS: tuple[Change, ...] = (
    insert_token,
    replace_token,
    replace_token,
    replace_token,
    swap_tokens,
    change_lines,
    recode,
)


def change_file(path: Path, rng: random.Random) -> None:
    """Spoils the content of one file."""
    data = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.6:
        change: Change = change_json
    elif path.suffix in TEXTS and rng.random() < 0.75:
        change = rng.choice(WORDS)
    else:
        change = rng.choice(BYTES)
    path.write_bytes(change(data, rng))


def change_folder(folder: Path, rng: random.Random) -> None:
    """Spoils which files there are."""
    everything = sorted(folder.rglob("*"))
    if everything:
        rng.choice(FOLDER_CHANGES)(rng.choice(everything), rng, everything)


def _rename(path: Path, rng: random.Random, _: Sequence[Path]) -> None:
    names = (path.name.swapcase(), "é" + path.name, path.stem, path.name + " ", "\udcff.png")
    path.rename(path.with_name(rng.choice(names)))


def _remove(path: Path, *_: object) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_folder_of(path: Path, *_: object) -> None:
    _remove(path)
    path.mkdir()


def _make_empty(path: Path, *_: object) -> None:
    _remove(path)
    path.write_bytes(b"")


def _make_circle(path: Path, *_: object) -> None:
    _remove(path)
    path.symlink_to(path.name)


def _make_dangling(path: Path, *_: object) -> None:
    _remove(path)
    path.symlink_to("nowhere")


def _add_link(path: Path, rng: random.Random, _: Sequence[Path]) -> None:
    place = _folder_of(path) / rng.choice(("loop", "train", "images", "a.json"))
    if not os.path.lexists(place):
        place.symlink_to(rng.choice((".", "..", "loop")))


def _copy_over(path: Path, rng: random.Random, everything: Sequence[Path]) -> None:
    other = rng.choice(everything)
    if other.is_file() and path.is_file() and other != path:
        path.write_bytes(other.read_bytes())


def _add_file(path: Path, rng: random.Random, _: Sequence[Path]) -> None:
    place = _folder_of(path) / rng.choice(NAMES)
    if not os.path.lexists(place):
        place.write_bytes(rng.choice(TOKENS))


def _add_folder(path: Path, rng: random.Random, _: Sequence[Path]) -> None:
    place = _folder_of(path) / rng.choice(FOLDERS)
    if not os.path.lexists(place):
        place.mkdir()


def _folder_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


FOLDER_CHANGES: tuple[Callable[[Path, random.Random, Sequence[Path]], None], ...] = (
    *(_remove, _rename, _make_folder_of, _make_empty, _make_circle, _make_dangling, _add_link, _copy_over),
    *(_add_file, _add_folder),
)

NAMES = (
    *(
        "classes.txt",
        "data.yaml",
        "labels.csv",
        "train.txt",
        "classes.csv",
        "a.json",
        "a.xml",
        "x.txt",
        "é.png",
        "a b.jpg",
    ),
    *(
        ".hidden",
        "Thumbs.db",
        "\udcfe.jpg",
        "labels.cache",
        "UPPER.JPG",
        "x" * 250 + ".png",
        "new\nline.png",
        "_annotations.coco.json",
    ),
)
FOLDERS = (
    "Annotations",
    "JPEGImages",
    "annotations",
    "images",
    "labels",
    "masks",
    "train",
    "valid",
    "testannot",
    "classes.txt",
)


def spoil(folder: Path, rng: random.Random) -> None:
    """One to four changes, most of them to annotations."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
        texts = [path for path in files if path.suffix in TEXTS]
        pictures = [path for path in files if path.suffix in PICTURES]
        wanted = rng.random()
        if texts and wanted < 0.7:
            change_file(rng.choice(texts), rng)
        elif pictures and wanted < 0.85:
            change_file(rng.choice(pictures), rng)
        else:
            change_folder(folder, rng)
