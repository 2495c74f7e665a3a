"""The tree of merging covers every source once, in order, whatever the number of leaves."""

from __future__ import annotations

import pytest

from pqaudit.archive.cluster_tree import FAN_IN, Node, Tree
from pqaudit.parallel import Batch


def grown(leaves: int, most_tops: int) -> tuple[list[Node], list[Node]]:
    """The leaves, of two sources each, and the nodes on top."""
    tree = Tree(leaves, most_tops)
    made = [tree.leaf(Batch(2 * index, (f"{index}a", f"{index}b")), 0) for index in range(leaves)]
    tops: list[Node] = []
    for node in made:
        while node.parent is not None:
            node = node.parent
        if not tops or node is not tops[-1]:
            tops.append(node)
    return made, tops


def leaves_of(node: Node) -> list[Node]:
    if node.batch is not None:
        return [node]
    return [leaf for child in node.children for leaf in leaves_of(child)]


@pytest.mark.parametrize("most_tops", [16, 40])
@pytest.mark.parametrize("leaves", [1, 16, 17, 40, 256, 257, 1000, 5000, 70_000])
def test_every_leaf_stands_in_its_place(leaves: int, most_tops: int) -> None:
    made, tops = grown(leaves, most_tops)
    assert len(tops) <= max(most_tops, -(-leaves // 4096))
    assert [leaf for top in tops for leaf in leaves_of(top)] == made
    begin = 0
    for top in tops:
        assert top.first == begin
        begin += top.sources
        inner = [top]
        while inner:
            node = inner.pop()
            below = leaves_of(node)
            assert (node.first, node.sources) == (below[0].first, 2 * len(below))
            assert len(node.children) <= FAN_IN
            assert node.waiting == len(node.children)
            assert all(child.parent is node for child in node.children)
            inner += node.children
    assert begin == 2 * leaves


def test_children_take_the_place_of_their_node() -> None:
    made, tops = grown(300, 16)
    parent = made[20].parent
    assert parent is not None
    assert parent.parent is tops[0]
    for child in parent.children:
        child.done = True
    waiting = tops[0].waiting
    parent.replace_by_children()
    assert tops[0].waiting == waiting - 1
    assert [leaf for top in tops for leaf in leaves_of(top)] == made
