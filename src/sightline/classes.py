"""The classes of a data set, and what a size is. Nothing here imports torch: commands that only read files use it."""

from dataclasses import dataclass

Size = tuple[int, int]
"""(height, width) in pixels."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class Classes:
    """The classes of a data set: names in label order, and the category ids that its files use.

    Args:
        names: one name a label, unique.
        ids: the original category id of each label, unique; 1..K when the source has none.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(1, len(self.names) + 1)))
        _require(len(self.names) == len(self.ids), "Classes needs one id for each name")
        _require(len(set(self.names)) == len(self.names), "class names must be unique")
        _require(len(set(self.ids)) == len(self.ids), "class ids must be unique")

    def __len__(self) -> int:
        return len(self.names)

    def label_of(self, name: str) -> int:
        """The label (0..K-1) of a class name; raises ``KeyError`` for an unknown one."""
        if name not in self.names:
            raise KeyError(name)
        return self.names.index(name)
