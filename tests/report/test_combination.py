"""Who looked, and how, in a report."""

from sightline.report.combination import combination_facts

VOTING = {"name": "voting", "threshold": 0.5, "source": "Gidaris and Komodakis 2015"}
AVERAGE = {"name": "average", "of": "regions", "source": "He et al. 2016"}


def test_every_member_is_named_with_its_weight() -> None:
    members = [{"system": "faster_rcnn"}, {"system": "mask_rcnn"}]
    combination = {"models": ["runs/a", "b.safetensors"], "members": members, "weights": [2.0, 0.5], "fusion": AVERAGE}
    assert combination_facts(combination) == {
        "member 1": "runs/a (faster_rcnn), weight 2",
        "member 2": "b.safetensors (mask_rcnn), weight 0.5",
        "fused by": "average, of regions (He et al. 2016)",
    }


def test_one_model_is_named_with_its_looks() -> None:
    looks = {"system": "rcnn", "short_sides": [480, 600], "flip": True, "fusion": VOTING}
    assert combination_facts({"models": ["runs/a"], **looks}) == {
        "model": "runs/a (rcnn); looks at short sides 480, 600 and mirrored",
        "fused by": "voting, threshold 0.5 (Gidaris and Komodakis 2015)",
    }
    several = combination_facts({"members": [looks, {"system": "rcnn"}], "weights": None, "fusion": AVERAGE})
    assert several["member 1"].startswith("rcnn, weight 1; looks at short sides 480, 600 and mirrored; its looks fused")
    assert several["member 2"] == "rcnn, weight 1"


def test_one_look_of_one_model_is_no_combination() -> None:
    assert combination_facts(None) == {}
