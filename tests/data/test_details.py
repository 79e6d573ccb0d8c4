"""Entries' texts, one by one and many at a time."""

from pathlib import Path

import numpy as np
import pytest

from sightline.data.details import Details
from sightline.errors import DataError

SPANS = np.asarray([[1, 7], [9, 8]], np.int64)
TEXT = b'[{"a":1},{"b":22}]'


@pytest.mark.parametrize("in_file", [True, False])
def test_many_texts_are_those_that_are_read_one_by_one(tmp_path: Path, in_file: bool) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(TEXT)
    details = Details.in_file(path) if in_file else Details.in_memory(TEXT)
    assert list(details.each(SPANS)) == [details.text(1, 7), details.text(9, 8)] == [b'{"a":1}', b'{"b":22}']
    assert list(details.each(SPANS[:0])) == []


def test_a_file_that_has_changed_or_is_gone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(TEXT)
    details = Details.in_file(path)
    path.write_bytes(TEXT + b" ")
    for read in (lambda: details.text(1, 7), lambda: list(details.each(SPANS))):
        with pytest.raises(DataError, match="has changed"):
            read()
    path.unlink()
    for read in (lambda: details.text(1, 7), lambda: list(details.each(SPANS))):
        with pytest.raises(DataError, match="cannot be read"):
            read()
