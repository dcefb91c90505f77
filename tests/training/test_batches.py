"""Groups of examples that make batches of like length."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.training.batches import Example, of_like_length

EXAMPLES = st.lists(st.integers(1, 60).map(lambda n: Example(tuple(range(n)), 1)), min_size=1, max_size=40)


@given(EXAMPLES, st.integers(1, 200))
def test_every_example_is_in_one_group_that_fits(examples: list[Example], n_tokens: int) -> None:
    groups = of_like_length(examples, n_tokens)
    assert sorted(len(e.ids) for group in groups for e in group) == sorted(len(e.ids) for e in examples)
    for group in groups:
        assert group
        assert len(group) == 1 or len(group) * max(len(e.ids) for e in group) <= n_tokens


@given(EXAMPLES, st.integers(1, 200))
def test_groups_follow_one_another_by_length_and_are_full(examples: list[Example], n_tokens: int) -> None:
    for group, after in pairwise(of_like_length(examples, n_tokens)):
        longest, next_length = max(len(e.ids) for e in group), len(after[0].ids)
        assert longest <= next_length
        assert (len(group) + 1) * next_length > n_tokens
