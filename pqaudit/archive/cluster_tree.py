"""The tree in which partials are merged: leaves are tasks that read, and inner nodes merge neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from pqaudit.parallel import Batch

FAN_IN: Final = 16
_MOST_LEVELS: Final = 3
"""So a node has no more than 4,096 tasks below it, which the scheduler must remember until the node is taken."""


@dataclass(slots=True, eq=False)
class Node:
    """A task of the tree.

    Attributes:
        first, sources: index of the first source below it, and their number.
        parent: what merges it with its neighbours, or None where the client takes it.
        batch: of a leaf, what it reads.
        octets: of a leaf, what it reads.
        tries: of a leaf, how often its capture killed a worker in a task with others.
        aside: of a leaf, why its capture is not read.
        number: of a leaf, its number among the tasks that read.
        children: of an inner node, in the order of sources; they come one by one.
        waiting: of an inner node, how many children are not done.
        future: of its task, once that is submitted.
        done: its task has ended well.
        attempts: how often its task was submitted.
    """

    first: int
    sources: int
    parent: Node | None = None
    batch: Batch | None = None
    octets: int = 0
    tries: int = 0
    aside: str | None = None
    number: int = 0
    children: list[Node] = field(default_factory=list)
    waiting: int = 0
    future: Any = None
    done: bool = False
    attempts: int = 0

    def replace_by_children(self) -> None:
        """Give the children to the parent, in the place of this node."""
        parent = self.parent
        for child in self.children:
            child.parent = parent
        if parent is not None:
            place = parent.children.index(self)
            parent.children[place : place + 1] = self.children
            parent.waiting += sum(not child.done for child in self.children) - (not self.done)


class Tree:
    """Makes the nodes of a tree from its leaves, which come from left to right.

    Args:
        leaves: their number.
        most_tops: levels are put on top until no more than this many nodes remain, which the client takes; or as many
            levels as there may be.
    """

    def __init__(self, leaves: int, most_tops: int) -> None:
        self._widths = [leaves]
        while self._widths[-1] > most_tops and len(self._widths) <= _MOST_LEVELS:
            self._widths.append(-(-self._widths[-1] // FAN_IN))
        self._open: dict[int, Node] = {}  # by level: the inner node that gets children
        self._leaves = 0

    def leaf(self, batch: Batch, octets: int) -> Node:
        """The next leaf, with its place in the tree."""
        index = self._leaves
        self._leaves += 1
        node = Node(batch.first, len(batch.sources), batch=batch, octets=octets, number=index)
        below = node
        for level in range(1, len(self._widths)):
            place, child = divmod(index, FAN_IN)
            if child:
                parent = self._open[level]
                self._grow(parent, below)
                below.parent = parent
                parent.children.append(below)
                break
            width = min(FAN_IN, self._widths[level - 1] - index)
            parent = self._open[level] = Node(below.first, below.sources, children=[below], waiting=width)
            below.parent = parent
            below, index = parent, place
        return node

    def _grow(self, parent: Node | None, new: Node) -> None:
        while parent is not None:
            parent.sources += new.sources
            parent = parent.parent
