"""Many texts in two arrays come back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.strings import Strings

TEXTS = st.lists(st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=6), max_size=8)


@given(texts=TEXTS, start=st.integers(-9, 9), stop=st.integers(-9, 9), step=st.sampled_from([-2, -1, 1, 3]))
def test_they_are_the_list(texts: list[str], start: int, stop: int, step: int) -> None:
    packed = Strings.of(texts)
    assert list(packed) == packed.to_list() == texts
    assert packed[start:stop:step].to_list() == texts[start:stop:step]
    assert [packed[i] for i in range(-len(texts), len(texts))] == texts + texts
    assert packed.data.dtype == "uint8" and packed.ends.dtype == "int64"


@pytest.mark.parametrize("place", [2, -3])
def test_places_beyond_are_refused(place: int) -> None:
    with pytest.raises(IndexError):
        Strings.of(["a", "b"])[place]


def test_file_names_that_are_no_utf8_are_kept() -> None:
    name = b"\xff\xfe.png".decode("utf-8", "surrogateescape")
    assert Strings.of(["", name, ""]).to_list() == ["", name, ""]
