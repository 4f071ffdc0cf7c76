"""What the roots need stays, whatever the graph; what goes is needed by none of them."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tasks.stages.manifest import InputRecord, Manifest
from tasks.stages.retention.roots import Policy, Root, has_weights, reachable, why_dropped
from tasks.storage.digests import FileDigest


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def manifest(number: int, inputs: list[int], *, weights: bool = False) -> Manifest:
    """An output made from others, and from a user's file."""
    records = {f"i.{n}": InputRecord("d", "s", key_of(n)) for n in inputs}
    records["file"] = InputRecord("d", "external", "")
    name = "model.safetensors" if weights else "rows.jsonl"
    files = (FileDigest(name, 1, "0" * 32, "0" * 64),)
    return Manifest(key_of(number), "s", 1, None, None, records, "d", files, {})


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Manifest]:
    """A graph without cycles: each output is made from earlier ones; some manifests are gone."""
    found = {}
    for number in range(draw(st.integers(1, 14))):
        earlier = draw(st.lists(st.integers(0, number - 1), max_size=3)) if number else []
        one = manifest(number, earlier, weights=draw(st.booleans()))
        if draw(st.integers(0, 9)):
            found[one.key] = one
    return found


roots = st.lists(
    st.builds(Root, st.integers(0, 15).map(key_of), st.just("why"), st.booleans()), max_size=5
)


def ancestry(manifests: dict[str, Manifest], key: str) -> set[str]:
    """An independent, slow walk: the key and whatever it was made from."""
    own = manifests.get(key)
    inputs = [record.key for record in own.inputs.values() if record.key] if own else []
    return {key}.union(*(ancestry(manifests, one) for one in inputs))


@given(graphs(), roots)
def test_what_a_root_was_made_from_stays_and_all_else_goes(
    manifests: dict[str, Manifest], roots: list[Root]
) -> None:
    needed = set().union(*(ancestry(manifests, root.key) for root in roots))
    assert set(reachable(manifests, roots)) == needed
    assert set(why_dropped(manifests, roots, Policy())) == manifests.keys() - needed


@given(graphs(), roots)
def test_weights_kept_apart_go_but_for_those_of_roots(
    manifests: dict[str, Manifest], roots: list[Root]
) -> None:
    plain = why_dropped(manifests, roots, Policy())
    fewer = why_dropped(manifests, roots, Policy(keep_weights=1))
    assert plain.keys() <= fewer.keys()
    own = {root.key for root in roots if root.has_weights}
    more = fewer.keys() - plain.keys()
    assert all(has_weights(manifests[key]) and key not in own for key in more)
    left = manifests.keys() - fewer.keys()
    assert all(key in own or not has_weights(manifests[key]) for key in left)


@given(graphs(), roots, roots)
def test_another_root_never_makes_more_go(
    manifests: dict[str, Manifest], roots: list[Root], more: list[Root]
) -> None:
    for policy in (Policy(), Policy(keep_weights=0)):
        few = why_dropped(manifests, roots, policy)
        many = why_dropped(manifests, [*roots, *more], policy)
        assert many.keys() <= few.keys()


def test_each_reason_names_the_root_that_came_first() -> None:
    chain = {one.key: one for one in (manifest(0, []), manifest(1, [0]), manifest(2, [1]))}
    first, second = Root(key_of(1), "pinned"), Root(key_of(2), "run b")
    whys = {key: root.why for key, root in reachable(chain, [first, second]).items()}
    assert whys == {key_of(0): "pinned", key_of(1): "pinned", key_of(2): "run b"}
