"""Who looked, how often, and what made one result of it: of several looks of a model, and of several models."""

from collections.abc import Mapping
from typing import Any


def combination_facts(combination: Mapping[str, Any] | None) -> dict[str, str]:
    """Rows of a table; none for one look of one model.

    Args:
        combination: as ``CombinedSystem.describe`` has it, with the words for its models under ``models`` where they
            are known.
    """
    if combination is None:
        return {}
    several = "members" in combination
    members = combination["members"] if several else [combination]
    models = combination.get("models") or [None] * len(members)
    weights = combination.get("weights") or [1.0] * len(members)
    facts = {}
    for number, (member, model, weight) in enumerate(zip(members, models, weights, strict=True), start=1):
        said = named(member, model) + (f", weight {weight:g}" if several else "")
        facts[f"member {number}" if several else "model"] = "; ".join([said, *looks(member, by_itself=several)])
    return facts | {"fused by": _fusion(combination["fusion"])}


def named(member: Mapping[str, Any], model: str | None) -> str:
    """A member's place and system; the system alone where the place is not known."""
    return str(member["system"]) if model is None else f"{model} ({member['system']})"


def looks(member: Mapping[str, Any], *, by_itself: bool) -> list[str]:
    """How a member looks, where it looks several times.

    Args:
        member: as it describes itself.
        by_itself: whether its looks are fused before others join.
    """
    if "flip" not in member:
        return []
    sides = member["short_sides"]
    sizes = "its own size" if sides is None else f"short sides {', '.join(map(str, sides))}"
    said = [f"looks at {sizes}{' and mirrored' if member['flip'] else ''}"]
    return [*said, f"its looks fused by {_fusion(member['fusion'])}"] if by_itself else said


def _fusion(fusion: Mapping[str, Any]) -> str:
    settings = [f"{key} {value}" for key, value in fusion.items() if key not in ("name", "source")]
    return f"{', '.join([fusion['name'], *settings])} ({fusion['source']})"
