"""Who owns what: the map file, labels, annotations, and what is wrong in a map file, by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.audit.owners import Entry, Owner, Owners, read_owners
from webhook.errors import InvalidInput
from webhook.state import State, snapshot

FILE = """\
# who is called at night
owners:
- namespaces: ["*"]
  owner: platform
- namespaces: [shop, shop-*]
  owner: team-shop
- namespaces: [shop]
  workloads: [Deployment/search-*, CronJob/*]
  clusters: [prod-*]
  owner: team-search
- namespaces: [sandbox-?]
  owner: ""
"""


def state(**meta: dict[str, str]) -> State:
    """A snapshot with the Namespace `shop`."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **meta}}
    return snapshot([namespace], taken_at=0.0)


def written(folder: Path, text: str) -> Path:
    path = folder / "owners.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("namespace", "workload", "cluster", "owner", "line"),
    [
        ("web", "Deployment/web", "prod-1", "platform", 3),
        ("shop", "Deployment/web", "prod-1", "team-shop", 5),
        ("shop-eu", "", "", "team-shop", 5),
        ("shop", "Deployment/search-api", "prod-1", "team-search", 7),
        ("shop", "CronJob/report", "prod-1", "team-search", 7),
        ("shop", "Deployment/search-api", "test", "team-shop", 5),
        ("sandbox-1", "Deployment/x", "", "", 11),
        ("sandbox-10", "Deployment/x", "", "platform", 3),
        ("", "ClusterRole/x", "", "platform", 3),
        ("a\nshop", "", "", "platform", 3),
    ],
)
def test_the_last_entry_that_matches_wins(
    tmp_path: Path, namespace: str, workload: str, cluster: str, owner: str, line: int
) -> None:
    """As in a CODEOWNERS file: what is special stands below what is general."""
    owners = Owners(read_owners(written(tmp_path, FILE)))
    assert owners.of(namespace, workload, cluster=cluster) == Owner(owner, f"owners.yaml:{line}")


def test_labels_go_before_annotations_and_the_file_before_both(tmp_path: Path) -> None:
    """The first source that has an answer gives it, and is named."""
    both = state(labels={"team": "of-label"}, annotations={"wouldblock.dev/owner": "of-annotation"})
    assert Owners(state=both).of("shop") == Owner("of-label", "label team")
    only = state(labels={"other": "x"}, annotations={"owner": " of-annotation "})
    assert Owners(state=only).of("shop") == Owner("of-annotation", "annotation owner")
    assert Owners(state=only, keys=["other"]).of("shop") == Owner("x", "label other")
    assert Owners(read_owners(written(tmp_path, FILE)), state=both).of("shop").name == "team-shop"


def test_nobody_is_guessed() -> None:
    """Where no source has an answer there is no owner."""
    assert Owners(state=state(labels={"team": "  "})).of("shop") == Owner("", "")
    assert Owners(state=state(labels={"team": "x"})).of("elsewhere") == Owner("", "")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("- namespaces: [a]\n", 1, "expected a mapping with a list `owners`"),
        ("owners: {}\n", 1, "expected a mapping with a list `owners`"),
        ("owners: []\nteams: []\n", 2, "unknown field; expected `owners`"),
        ("owners:\n- shop\n", 2, "expected an entry such as"),
        ("owners:\n- namespaces: [a]\n  owner: x\n  team: y\n", 4, "unknown field; expected namespaces, workloads"),
        ("owners:\n- namespaces: [a]\n  owner: 7\n", 3, "expected text in `owner`"),
        ("owners:\n- namespaces: [a]\n", 2, "expected text in `owner`"),
        ("owners:\n- owner: x\n", 2, "expected `namespaces`"),
        ("owners:\n- namespaces: shop\n  owner: x\n", 2, "expected a list of patterns in `namespaces`"),
        ("owners:\n- namespaces:\n  - a\n  - 7\n  owner: x\n", 4, "expected text"),
        ("owners:\n- namespaces: [a]\n  workloads: [web]\n  owner: x\n", 3, "expected Kind/name"),
        ("owners:\n- {namespaces: [a], owner: ann}\n- {namespaces: [a], owner: bob}\n", 2, "never applies: line 3"),
        ("owners: [\n", 2, "not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    """File, line, what was expected."""
    with pytest.raises(InvalidInput) as caught:
        read_owners(written(tmp_path, text))
    (problem,) = caught.value.problems
    assert (problem.line, says in problem.message) == (line, True), str(problem)


def test_all_problems_of_a_file_are_said_at_once(tmp_path: Path) -> None:
    """Nothing is used of a file that has one."""
    with pytest.raises(InvalidInput) as caught:
        read_owners(written(tmp_path, "owners:\n- namespaces: [a]\n- owner: x\n"))
    assert len(caught.value.problems) == 2


def test_two_documents_are_no_map(tmp_path: Path) -> None:
    """Which of them would win nobody could say."""
    with pytest.raises(InvalidInput, match="found 2"):
        read_owners(written(tmp_path, "owners: []\n---\nowners: []\n"))


NAMES = st.text(st.sampled_from("ab-*?"), min_size=1, max_size=4)


@given(entries=st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=2), st.sampled_from("xyz"))), name=NAMES)
def test_precedence_is_that_of_the_naive_reading(entries: list[tuple[list[str], str]], name: str) -> None:
    """Whatever the patterns: the owner is that of the last entry one of whose patterns matches."""
    import fnmatch

    expected = ""
    for patterns, owner in entries:
        if any(fnmatch.fnmatchcase(name, each) for each in patterns):
            expected = owner
    owners = Owners([Entry(namespaces=tuple(patterns), owner=owner) for patterns, owner in entries])
    assert owners.of(name).name == expected
