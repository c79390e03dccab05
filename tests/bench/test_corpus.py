"""The reviews that are sent: reproducible, in the sizes and proportions they claim, as the API server writes them."""

from __future__ import annotations

import collections
from pathlib import Path

import msgspec
import pytest

from webhook import review
from webhook.bench import corpus
from webhook.errors import InvalidInput

UID = "12345678-1234-4234-8234-123456789abc"


@pytest.fixture(scope="module")
def reviews() -> list[corpus.Review]:
    return corpus.generate(1)


def test_a_seed_gives_the_same_bytes(reviews: list[corpus.Review]) -> None:
    assert corpus.generate(1) == reviews
    assert corpus.generate(2) != reviews
    assert corpus.reference(1) == corpus.reference(1)


def test_sizes(reviews: list[corpus.Review]) -> None:
    sizes = sorted(one.size() for one in reviews)
    assert 1_500 <= sizes[0] < 2_000
    assert 380_000 < sizes[-1] <= 400_000
    assert 6_000 < sizes[len(sizes) // 2] < 12_000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_seed_keeps_the_range(seed: int) -> None:
    sizes = [one.size() for one in corpus.generate(seed)]
    assert min(sizes) >= 1_400
    assert 360_000 < max(sizes) <= 400_000


def test_the_mix_is_mostly_pods_and_their_controllers(reviews: list[corpus.Review]) -> None:
    labels = collections.Counter(one.label for one in reviews)
    assert {"CREATE pods", "UPDATE deployments", "DELETE pods", "UPDATE deployments/scale", "CONNECT pods/exec"} <= set(
        labels
    )
    workloads = sum(
        count
        for label, count in labels.items()
        if label.split()[1].split("/")[0] in ("pods", "deployments", "replicasets")
    )
    assert 0.6 < workloads / len(reviews) < 0.95


def test_each_is_a_review_with_its_uid_at_the_beginning(reviews: list[corpus.Review]) -> None:
    for one in reviews:
        body = one.body.filled(UID)
        assert len(body) == one.size()
        decoded = review.decode(body)
        assert decoded.request.uid == UID
        assert body.index(UID.encode()) < 120
        assert body.endswith(b"}\n")
        # Go escapes these three in every string.
        assert not set(b"<>&") & set(body)


def test_objects_by_operation(reviews: list[corpus.Review]) -> None:
    for one in reviews:
        request = review.decode(one.body.filled(UID)).request
        new, old = bytes(request.object) != b"null", bytes(request.old_object) != b"null"
        expected = {"CREATE": (True, False), "UPDATE": (True, True), "DELETE": (False, True), "CONNECT": (True, False)}
        assert (new, old) == expected[request.operation], one.label


@pytest.mark.parametrize("tidy", [False, True])
def test_the_reference_is_a_10_kb_deployment_of_seven_containers_in_a_24_kb_review(tidy: bool) -> None:
    one = corpus.reference(tidy=tidy)
    request = review.decode(one.body.filled(UID)).request
    value = review.decode_object(request.object)
    assert (request.operation, value["kind"]) == ("UPDATE", "Deployment")
    assert len(value["spec"]["template"]["spec"]["containers"]) == 7
    del value["metadata"]["managedFields"]
    assert 9_500 < len(msgspec.json.encode(value)) < 11_000
    assert 23_000 < one.size() < 25_000


def test_reads_the_users_own(tmp_path: Path, reviews: list[corpus.Review]) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b"\n".join(one.body.filled(UID) for one in reviews[:3]))
    assert [one.label for one in corpus.read(file)] == [one.label for one in reviews[:3]]
    assert corpus.read(file) == reviews[:3]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 0, "empty"),
        ("\n{", 2, "truncated"),
        ('{"kind":"Pod"}', 1, "`kind` is not AdmissionReview"),
        ('{"kind":"AdmissionReview","request":{}}', 1, "`request.uid` is missing"),
        ("[]", 1, "`kind` is not AdmissionReview"),
    ],
)
def test_names_the_line_that_is_no_review(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        corpus.read(file)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(file), line)
    assert says in problem.message
