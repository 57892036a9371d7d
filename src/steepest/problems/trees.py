"""Tensors in nested tuples, lists and dicts: outputs of models, and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Tree = Any  # a tensor, or a tuple, list or dict of trees; other leaves are left unchanged


def leaves(tree: Tree) -> Iterator[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | tuple | list):
        for part in tree.values() if isinstance(tree, Mapping) else tree:
            yield from leaves(part)


def mapped(change: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """The tree with `change` applied to every tensor."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        changed = {key: mapped(change, part) for key, part in tree.items()}
        return changed if type(tree) is dict else type(tree)(**changed)
    if isinstance(tree, tuple | list):
        parts = [mapped(change, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def size_of(tree: Tree) -> int:
    """The number of examples: the length of the first tensor that has one, else 0."""
    return next((len(t) for t in leaves(tree) if t.ndim), 0)


def joined(trees: Sequence[Tree]) -> Tree:
    """Concatenate trees along their examples."""
    if len(trees) == 1:
        return trees[0]
    columns = zip(*map(leaves, trees), strict=True)
    whole = iter([torch.cat(column) for column in columns])
    return mapped(lambda _: next(whole), trees[0])


def can_join(tree: Tree, size: int) -> bool:
    """Whether every part of a tree has a row for each of `size` examples."""
    if isinstance(tree, Tensor):
        return tree.ndim > 0 and len(tree) == size
    if isinstance(tree, Mapping):
        return all(can_join(part, size) for part in tree.values())
    if isinstance(tree, tuple | list):
        return all(part is None or can_join(part, size) for part in tree)
    return False


def alike(one: Tree, other: Tree) -> bool:
    """Whether the rows of two trees have the same shapes."""
    shapes = [[t.shape[1:] for t in leaves(tree)] for tree in (one, other)]
    return shapes[0] == shapes[1]


def equal(one: Tree, other: Tree) -> bool:
    """Whether the tensors of two trees are equal, NaN to NaN."""
    mine, theirs = [*leaves(one)], [*leaves(other)]
    if len(mine) != len(theirs):
        return False
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(mine, theirs, strict=True))
