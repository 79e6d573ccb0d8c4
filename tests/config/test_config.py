import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.config import closest, describe_fields, parse_assignments, parse_settings, to_dict
from sightline.errors import ConfigError


@dataclass(frozen=True)
class Head:
    """A nested configuration."""

    width: int = 64
    """Channels."""


@dataclass(frozen=True)
class Base:
    """Fields may be inherited."""

    lr: float = 0.02
    """Peak learning rate,
    per batch."""


@dataclass(frozen=True)
class Sample(Base):
    """A configuration with each kind of field."""

    kind: Literal["fpn", "none"] = "fpn"
    sizes: tuple[tuple[int, ...], ...] = ((32,), (64, 128))
    """Pixels."""
    limit: int | None = None
    either: int | str = 1
    flag: bool = True
    head: Head = field(default_factory=Head)

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError("lr must be positive")


@dataclass(frozen=True)
class Strict:
    """A field without a default."""

    depth: int


def test_defaults_stand_where_nothing_is_said():
    assert parse_settings(Sample, {}) == Sample()


def test_values_of_every_kind_are_taken():
    settings = {"lr": 1, "kind": "none", "sizes": [[8, 16]], "limit": 3, "flag": False, "head": {"width": 8}}
    expected = Sample(lr=1.0, kind="none", sizes=((8, 16),), limit=3, flag=False, head=Head(8))
    assert parse_settings(Sample, settings) == expected
    assert parse_settings(Sample, {"head": Head(8)}).head == Head(8)


def test_a_base_keeps_what_is_not_changed():
    base = Sample(lr=0.5, head=Head(8), limit=2)
    assert parse_settings(Sample, {"head": {}, "limit": None}, base=base) == Sample(lr=0.5, head=Head(8))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lrr": 1}, ["lrr", "did you mean lr?", "valid: lr, kind, sizes"]),
        ({"head": {"widht": 1}}, ["head.widht", "did you mean width?"]),
        ({"lr": "fast"}, ['Sample.lr cannot be "fast"', "number", "give float", "0.02"]),
        ({"lr": "0.1"}, ["Sample.lr"]),
        ({"lr": -1.0}, ["lr must be positive"]),
        ({"limit": 1.5}, ["Sample.limit cannot be 1.5", "int | None"]),
        ({"flag": 1}, ["Sample.flag cannot be 1"]),
        ({"kind": "fnp"}, ['Sample.kind cannot be "fnp"', "did you mean fpn? valid: fpn, none"]),
        ({"sizes": [1]}, ["Sample.sizes.0 cannot be 1"]),
        ({"either": None}, ["Sample.either cannot be null"]),
        ({"head": {"width": "8"}}, ["Sample.head.width"]),
        ({"lr": object()}, ["not plain"]),
    ],
)
def test_a_mistake_gets_one_line_with_place_and_cure(settings, words):
    with pytest.raises(ConfigError) as caught:
        parse_settings(Sample, settings)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_missing_setting_is_named():
    with pytest.raises(ConfigError, match="needs the setting depth"):
        parse_settings(Strict, {})


@given(
    lr=st.floats(1e-6, 1e6),
    kind=st.sampled_from(["fpn", "none"]),
    sizes=st.lists(st.lists(st.integers(1, 999), max_size=3).map(tuple), max_size=3).map(tuple),
    limit=st.none() | st.integers(-5, 5),
    width=st.integers(1, 512),
)
def test_a_configuration_survives_json(lr, kind, sizes, limit, width):
    config = Sample(lr=lr, kind=kind, sizes=sizes, limit=limit, head=Head(width))
    assert parse_settings(Sample, json.loads(json.dumps(to_dict(config)))) == config


def test_assignments_are_json_or_plain_words():
    assignments = ["a=1", "b=[1, 2]", "c=true", "d=resnet50", "e.f=1.5", "e.g=x=y", " h = null ", "i="]
    expected = {"a": 1, "b": [1, 2], "c": True, "d": "resnet50", "e": {"f": 1.5, "g": "x=y"}, "h": None, "i": ""}
    assert parse_assignments(assignments) == expected


@pytest.mark.parametrize("wrong", [["a"], ["=1"], ["a=1", "a=2"], [".a=1"], ["a=1", "a.b=1"]])
def test_a_wrong_assignment_is_an_error(wrong):
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments(wrong)


def test_fields_are_described_by_the_strings_under_them():
    docs = {doc.name: doc for doc in describe_fields(Sample)}
    assert list(docs) == ["lr", "kind", "sizes", "limit", "either", "flag", "head"]
    assert docs["lr"].doc == "Peak learning rate, per batch."
    assert (docs["kind"].type, docs["kind"].doc) == ("Literal['fpn', 'none']", "")
    assert (docs["sizes"].default, docs["sizes"].doc) == (((32,), (64, 128)), "Pixels.")
    assert docs["head"].default == Head()
    assert not docs["lr"].required
    assert describe_fields(Strict)[0].required


def test_the_closest_valid_word_is_offered():
    assert closest("fastr_rcnn", ["faster_rcnn", "ssd"]) == "did you mean faster_rcnn? valid: faster_rcnn, ssd"
    assert closest("zzz", ["ssd"]) == "valid: ssd"
    assert closest("zzz", []) == "none is valid here"
