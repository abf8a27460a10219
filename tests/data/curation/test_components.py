"""Connected components against a search of the graph, edge by edge."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chiasm.data.curation.components import apart, groups, join, kept_of


def searched(count, edges):
    """Labels by walking from every member."""
    near = [[] for _ in range(count)]
    for one, two in edges:
        near[one].append(two)
        near[two].append(one)
    labels = [-1] * count
    for start in range(count):
        todo = [start] if labels[start] < 0 else []
        while todo:
            here = todo.pop()
            if labels[here] < 0:
                labels[here] = start
                todo += near[here]
    return labels


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 40))
    member = st.integers(0, count - 1)
    return count, draw(st.lists(st.tuples(member, member), max_size=60))


@given(graphs())
def test_labels_are_those_of_a_search(graph):
    count, edges = graph
    assert join(apart(count), edges).tolist() == searched(count, edges)


@given(graphs(), st.randoms(use_true_random=False))
def test_order_and_portions_of_edges_make_no_difference(graph, chance):
    count, edges = graph
    shuffled = [(two, one) for one, two in edges]
    chance.shuffle(shuffled)
    labels = apart(count)
    for at in range(0, len(shuffled), 7):
        labels = join(labels, shuffled[at : at + 7])
    assert (labels == join(apart(count), edges)).all()


def test_a_long_chain_in_the_worst_order_is_one_group():
    count = 20_000
    chance = np.random.default_rng(0)
    path = chance.permutation(count)
    labels = join(apart(count), np.stack((path[:-1], path[1:]), axis=1))
    assert not labels.any()


def test_groups_are_those_of_two_or_more():
    assert [group.tolist() for group in groups(np.array([0, 1, 1, 3, 0, 1]))] == [[0, 4], [1, 2, 5]]


def test_the_worthiest_stays_then_the_first():
    group = np.array([1, 2, 4])
    assert kept_of(group, []) == 1
    assert kept_of(group, [[9, 3, 5, 0, 5]]) == 2
    assert kept_of(group, [[9, 3, 5, 0, 5], [0, 9, 1, 0, 2]]) == 4
