"""Collapsing chains of links: nothing needed is lost, whatever the tree looks like; against a model."""

from hypothesis import given
from hypothesis import strategies as st

from vmlab.managed.snapshots.disk_chains import plan_collapse


@st.composite
def trees(draw):
    """A tree of links by parent, each with its own writes, and the set of links somebody needs."""
    count = draw(st.integers(1, 12))
    parents = {"0": None} | {str(n): str(draw(st.integers(0, n - 1))) for n in range(1, count)}
    leaves = sorted(set(parents) - set(parents.values()))
    needed = set(draw(st.lists(st.sampled_from(sorted(parents)), max_size=count)))
    return parents, needed | {draw(st.sampled_from(leaves))}


def content(parents, writes, link):
    """Return the content that is read through a link: its writes over those below."""
    below = content(parents, writes, parents[link]) if parents[link] is not None else {}
    return below | writes[link]


def carried_out(parents, writes, steps):
    """The model's merge: a link's writes go over its parent's, and it is gone."""
    parents, writes = dict(parents), {link: dict(own) for link, own in writes.items()}
    for step in steps:
        if step.into is not None:
            assert parents[step.link] == step.into
            writes[step.into] |= writes[step.link]
        else:
            assert step.link not in parents.values()
        del parents[step.link], writes[step.link]
        parents = {link: step.into if parent == step.link else parent for link, parent in parents.items()}
    return parents, writes


@given(trees(), st.data())
def test_every_needed_link_reads_the_same_after_a_collapse(tree, data):
    parents, needed = tree
    blocks = st.dictionaries(st.integers(0, 5), st.integers(0, 99), max_size=6)
    writes = {link: data.draw(blocks) for link in parents}
    before = {link: content(parents, writes, link) for link in needed}
    steps, names = plan_collapse(parents, needed)
    after, merged = carried_out(parents, writes, steps)
    for link in needed:
        assert content(after, merged, names.get(link, link)) == before[link]


@given(trees())
def test_what_remains_is_needed_or_holds_up_two_others(tree):
    parents, needed = tree
    steps, names = plan_collapse(parents, needed)
    after, _ = carried_out(parents, {link: {} for link in parents}, steps)
    wanted = {names.get(link, link) for link in needed}
    for link in after:
        assert link in wanted or sum(parent == link for parent in after.values()) > 1


def test_removing_the_only_snapshot_leaves_the_base():
    steps, names = plan_collapse({"base": None, "base-1": "base"}, ["base-1"])
    assert [(step.link, step.into) for step in steps] == [("base-1", "base")]
    assert names == {"base-1": "base"}
