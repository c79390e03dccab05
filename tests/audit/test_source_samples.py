"""Every sample of `corpora/audit`: as many events as its README says, and the same facts whatever is around them."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.audit_envelopes import BINARY, ENVELOPES
from webhook.audit import events
from webhook.audit.fact import Fact
from webhook.audit.facts import Collector, Interest
from webhook.audit.source import Lines, Unreadable, read

pytestmark = pytest.mark.corpus
EVERYTHING = Interest(frozenset(), everything=True)
CUT = {"cut_event": 1}

# file → (records that are events, those of them that are cut, distinct events, format, what was refused)
SAMPLES: dict[str, tuple[int, int, int, str, dict[str, int]]] = {
    "aks/derived-log-analytics-api.json": (11, 0, 7, "aks-log-analytics", {}),
    "aks/derived-log-analytics-rows.json": (11, 0, 7, "aks-log-analytics", {}),
    "aks/derived-log-analytics.csv": (11, 0, 7, "aks-log-analytics", {}),
    "aks/derived-storage-truncated-16k.jsonl": (1, 1, 1, "aks", CUT),
    "aks/eventhub-record-bom.json": (1, 0, 1, "aks", {}),
    "aks/eventhub-records.json": (22, 0, 22, "aks", {}),
    # Hand-written, mostly without auditID and times: not all can be told apart.
    "aks/panther.jsonl": (34, 0, 5, "aks", {}),
    "aks/storage-datadog.jsonl": (21, 0, 21, "aks", {}),
    "aks/unwrapped-event-bom.json": (1, 0, 1, "native", {}),
    "cases/mutationlab.jsonl": (20, 0, 2, "shipped", {}),
    "eks/derived-filter-log-events.json": (12, 1, 8, "eks-cloudwatch", CUT),
    "eks/derived-firehose-object.json.gz": (12, 1, 8, "eks-cloudwatch", {"control_message": 1, **CUT}),
    "eks/derived-insights.json": (4, 0, 3, "eks-cloudwatch", {}),
    "eks/derived-kinesis-record.json": (12, 1, 8, "eks-cloudwatch", CUT),
    "eks/derived-lambda-event.json": (12, 1, 8, "eks-cloudwatch", CUT),
    "eks/derived-s3-export.gz": (12, 1, 8, "prefixed", CUT),
    "eks/derived-subscription-plain.json": (12, 1, 8, "eks-cloudwatch", CUT),
    "eks/derived-tail-text.log": (12, 1, 8, "prefixed", CUT),
    "elastic/derived-elasticdump.jsonl": (11, 0, 7, "elastic", {}),
    "elastic/derived-search-response.json": (11, 0, 7, "elastic", {}),
    "eventlist/aggregated-flunder-create-eventlist.json": (1, 0, 1, "event-list", {}),
    "eventlist/audit-deletecollection-official-raw-hollow.json": (1, 0, 1, "event-list", {}),
    "eventlist/audit-deletecollection-official-teardown-hollow.json": (1, 0, 1, "event-list", {}),
    "eventlist/audit-deletecollection-proxy-raw-listbody.json": (1, 0, 1, "event-list", {}),
    "eventlist/audit-deletecollection-proxy-teardown-deleteoptions.json": (1, 0, 1, "event-list", {}),
    "eventlist/config-deletecollection.json": (1, 0, 1, "native", {}),
    "eventlist/config-update.json": (1, 0, 1, "native", {}),
    "eventlist/deployment-scale-subresource.json": (1, 0, 1, "native", {}),
    "eventlist/flux-secret-dryrun-patch-eventlist.json": (1, 0, 1, "event-list", {}),
    "eventlist/flux-secret-persisted-patch-eventlist.json": (1, 0, 1, "event-list", {}),
    "eventlist/k3s-addon-unchanged-rv-update-eventlist.json": (1, 0, 1, "event-list", {}),
    "eventlist/kube-1.37-post-000.json": (64, 0, 64, "event-list", {}),
    "eventlist/kube-1.37-post-003.json": (100, 0, 100, "event-list", {}),
    "eventlist/kube-1.37-post-007.json": (100, 0, 100, "event-list", {}),
    "eventlist/kube-1.37-post-012.json": (100, 0, 100, "event-list", {}),
    "fluent/derived-dedotted.jsonl": (11, 0, 7, "native", {}),
    "fluent/derived-fluentbit-log-key.jsonl": (11, 0, 7, "shipped", {}),
    "fluent/derived-vector.jsonl": (11, 0, 7, "shipped", {}),
    "gke/khi.jsonl": (3, 0, 3, "gke-logentry", {}),
    # Six of them are of Deployment Manager and Compute.
    "gke/panther.jsonl": (51, 0, 12, "gke-logentry", {"not_audit_event": 6}),
    "legacy/falco-2018.jsonl": (51, 0, 49, "native", {"not_audit_event": 1}),
    "loki/derived-logcli-default.log": (11, 0, 7, "prefixed", {}),
    "loki/derived-logcli-jsonl.jsonl": (11, 0, 7, "loki", {}),
    "loki/derived-query-range.json": (11, 0, 7, "loki", {}),
    "otlp/kube.json": (3, 0, 3, "otlp", {}),
    "otlp/openshift.json": (3, 0, 3, "otlp", {}),
    "prefixed/derived-cri.log": (12, 0, 8, "container-log", {"not_audit_text": 12}),
    "prefixed/derived-docker-json.log": (11, 0, 7, "container-log", {}),
    "prefixed/derived-kubectl-prefix-timestamps.log": (11, 0, 7, "prefixed", {}),
    "prefixed/derived-oc-node-logs.log": (11, 0, 7, "prefixed", {}),
    "prefixed/derived-syslog.log": (11, 0, 7, "prefixed", {}),
    "raw/derived-openshift-filter.jsonl.gz": (5, 0, 5, "native", {}),
    "raw/kube-1.37.jsonl": (1_391, 0, 1_391, "native", {}),
    "raw/openshift-filter.expected.jsonl": (4, 0, 4, "native", {}),
    "raw/openshift-filter.jsonl": (5, 0, 5, "native", {}),
    "raw/openshift-metadata-pretty.json": (1, 0, 1, "native", {}),
    "raw/openshift-requestresponse.jsonl": (63, 0, 63, "native", {}),
    "raw/panther-eks.jsonl": (164, 0, 6, "native", {}),
    "viaq/kubernetes.json": (1, 0, 1, "openshift-viaq", {}),
    "viaq/not-kubernetes-auditd.json": (0, 0, 0, "", {"not_audit_event": 1}),
    "viaq/not-kubernetes-ovn.json": (0, 0, 0, "", {"not_audit_event": 1}),
    "viaq/openshift.json": (1, 0, 1, "openshift-viaq", {}),
}


def test_no_sample_is_forgotten(corpora: Path) -> None:
    folder = corpora / "audit"
    found = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {"README.md"}
    assert found == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample(corpora: Path, name: str) -> None:
    records, cut, distinct, kind, refused = SAMPLES[name]
    unreadable = Unreadable()
    found: Counter[str] = Counter()
    ids = set()
    for batch in read([str(corpora / "audit" / name)], unreadable):
        if isinstance(batch, Lines):
            each = [events.decode(line) for line in batch.lines]
            assert all(map(events.is_event, each))
        else:
            each = [record.event for record in batch.records]
            found["cut"] += sum(record.cut for record in batch.records)
        found[batch.format] += len(each)
        ids |= {(one.audit_id, one.stage, one.request_received_timestamp) for one in each}
    assert (sum(found.values()) - found["cut"], found["cut"], len(ids)) == (records, cut, distinct)
    assert set(found) - {"cut"} == ({kind} if kind else set())
    assert unreadable.counts == refused


@pytest.mark.parametrize(
    ("name", "cluster"),
    [
        ("aks/storage-datadog.jsonl", "mike-azure-aks"),
        ("aks/eventhub-records.json", "kubetest"),
        ("eks/derived-lambda-event.json", "example"),
        ("gke/khi.jsonl", "sample-project/us-central1-a/sample-cluster"),
        ("otlp/kube.json", "b8af9b52-4ef1-444a-9b62-3b7bd2ab02f6"),
        ("viaq/openshift.json", "d24a392b-dd87-4eb8-a1a9-7384423567e3"),
        ("raw/kube-1.37.jsonl", ""),
    ],
)
def test_what_the_export_says_of_the_cluster(corpora: Path, name: str, cluster: str) -> None:
    assert {batch.cluster for batch in read([str(corpora / "audit" / name)], Unreadable())} == {cluster}


def facts_of(*files: Path | str, skip_reads: bool = True) -> list[tuple[int, Fact]]:
    unreadable = Unreadable()
    collector = Collector(interest=EVERYTHING, is_ours=lambda name: False, unreadable=unreadable)
    for found in read(list(map(str, files)), unreadable, skip_reads=skip_reads):
        collector.add(found)
    return list(collector.facts.rows())


WHOLE = [
    name
    for name, (records, cut, distinct, *_) in SAMPLES.items()
    if "derived" in name and (records - cut, distinct - bool(cut)) == (11, 7) and not name.startswith("elastic")
]
"""Samples of the same eleven records of seven events. Elastic's lack parts of the bodies."""


@pytest.mark.parametrize("name", WHOLE)
def test_equal_events_give_equal_facts(corpora: Path, name: str) -> None:
    folder = corpora / "audit"
    assert len(WHOLE) >= 15
    expected = facts_of(folder / "prefixed/derived-oc-node-logs.log")
    assert len(expected) >= 3
    assert facts_of(folder / name) == expected


def test_a_gke_create_is_the_pods(corpora: Path) -> None:
    """The name that was generated is in the resource's name; annotations are the entry's labels."""
    (created,) = [
        record.event
        for batch in read([str(corpora / "audit/gke/khi.jsonl")], Unreadable())
        if not isinstance(batch, Lines)
        for record in batch.records
        if record.event.verb == "create"
    ]
    assert created.object_ref is not None
    assert created.object_ref == events.ObjectRef(
        resource="pods",
        namespace="1-2-deployment-update",
        name="nginx-deployment-surge-8655b4b8c5-xf5f4",
        api_version="v1",
    )
    assert created.response_status is not None
    assert (created.stage, created.response_status.code) == ("ResponseComplete", 201)
    assert created.user == events.User("system:serviceaccount:kube-system:replicaset-controller")
    assert created.audit_id == "85371f7c-2383-4041-96e8-dad63d2d1990"
    assert created.annotations is not None
    assert created.annotations["pod-security.kubernetes.io/enforce-policy"] == "privileged:latest"
    sent = events.body(created)
    assert sent.metadata is not None
    assert sent.metadata.owner_references == [
        events.OwnerReference("ReplicaSet", "nginx-deployment-surge-8655b4b8c5", True)
    ]


@pytest.fixture(scope="module")
def real(raw: Path) -> list[bytes]:
    return (raw / "kube-1.37.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_envelope_of_a_real_log(tmp_path: Path, real: list[bytes], envelope: str) -> None:
    """The whole log of a real API server, in each envelope: the same facts."""
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(b"\n".join(real) + b"\n")
    packed.write_bytes(ENVELOPES[envelope](real))
    assert facts_of(packed) == facts_of(plain, skip_reads=False)


@given(st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_order_copies_files_and_envelopes_do_not_matter(
    real: list[bytes], tmp_path_factory: pytest.TempPathFactory, random_: random.Random
) -> None:
    """Shuffled, split, duplicated, packed anew, several formats in one file and in one run: the same facts."""
    folder = tmp_path_factory.mktemp("mixed")
    chosen = random_.sample(real, 60)
    (folder / "plain").write_bytes(b"\n".join(chosen))
    lines = chosen + random_.sample(chosen, 20)
    random_.shuffle(lines)
    (folder / "mixed").mkdir()
    for number in range(4):
        part = lines[number * 20 : number * 20 + 20]
        names = random_.sample([each for each in ENVELOPES if each not in BINARY], 2)
        if random_.random() < 0.5:
            data = b"\n".join(ENVELOPES[each](part[i * 10 : i * 10 + 10]) for i, each in enumerate(names))
        else:
            data = ENVELOPES[random_.choice(sorted(BINARY))](part)
        (folder / "mixed" / str(number)).write_bytes(gzip.compress(data) if random_.random() < 0.3 else data)
    assert facts_of(folder / "mixed") == facts_of(folder / "plain", skip_reads=False)
