"""`wouldblock backtest`: what changed policies would have said of recorded reviews."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from webhook import cli
from webhook.audit.render import safe
from webhook.check.backtest import Backtest, Change, Place, changes_of
from webhook.cli.common import add_policy_flags, policies_of
from webhook.cli.progress import Progress
from webhook.errors import UserError
from webhook.exemptions import NO_EXEMPTIONS, read_exemptions
from webhook.recorded import Damage, read, segments

SCHEMA = "wouldblock.dev/backtest/v1"

_EPILOG = """\
examples:
  wouldblock serve … --record /var/lib/wouldblock/reviews     in the cluster, for a week
  wouldblock backtest reviews --policies policies/            as they are now, against what was answered then
  wouldblock backtest reviews --policies new.yaml --against old.yaml
  wouldblock backtest reviews --policies new.yaml --output json | jq '.policies[] | select(.newly > 0)'

A record has no secrets: where a policy looks at what was redacted, the review is `not comparable` and is counted, not
guessed. Counts are reviews, of which one write may have several.

exit codes: 0 nothing is newly violated, 1 something is, 2 could not do it
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `serve --record DIR` wrote")
    parser.add_argument(
        "--against",
        nargs="+",
        action="extend",
        type=Path,
        metavar="OLD",
        help="policies to compare with, instead of what the webhook answered then",
    )
    parser.add_argument(
        "--policy", action="append", default=[], metavar="ID", help="show this policy alone (repeatable)"
    )
    parser.add_argument("--exemptions", type=Path, metavar="FILE", help="what it covers is not newly violated")
    parser.add_argument(
        "--examples", type=int, default=5, metavar="N", help="workloads shown for each policy (default %(default)s)"
    )
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="json: everything, all workloads (default %(default)s)",
    )
    add_policy_flags(parser)


def run(args: argparse.Namespace) -> int:
    if not args.folder.is_dir():
        raise UserError(f"{args.folder}: not a folder; expected the DIR of `wouldblock serve --record DIR`")
    files = segments(args.folder)
    if not files:
        raise UserError(
            f"{args.folder}: no recorded reviews here (reviews-….jsonl.gz); record some: wouldblock serve --record DIR"
        )
    new, state = policies_of(args)
    old = None
    if args.against:
        old, _ = policies_of(argparse.Namespace(**{**vars(args), "policies": args.against}))
    broken = [*new.broken, *(old.broken if old is not None else ())]
    for problem in broken:
        print(f"wouldblock: a policy is left out: {problem}", file=sys.stderr)
    unknown = sorted(set(args.policy) - {each.id for each in new.policies})
    if unknown:
        raise UserError(f"--policy {safe(unknown[0])}: not in the set; there are {', '.join(_ids(new.policies))}")
    exemptions = read_exemptions(args.exemptions) if args.exemptions else NO_EXEMPTIONS
    backtest, damage = Backtest(new, old=old, state=state, exemptions=exemptions), Damage()
    with Progress([str(each) for each in files]) as progress:
        for file in files:
            for header, review in read(file, damage):
                backtest.add(header, review)
            progress(str(file), file.stat().st_size)
    changes = changes_of(backtest, args.policy)
    if args.output == "json":
        print(msgspec.json.encode(_document(backtest, changes, damage, len(files))).decode())
    else:
        _show(backtest, changes, damage, len(files), args.examples)
    if broken or not backtest.reviews:
        return cli.FAILED
    return cli.FOUND if any(each.newly for each in changes) else cli.FINE


def _ids(policies: Iterable[Any]) -> list[str]:
    return [each.id for each in policies]


def _document(backtest: Backtest, changes: list[Change], damage: Damage, files: int) -> dict[str, Any]:
    """`policies[]`: `policy`, `known` (to the old side), counts of reviews (`compared`, `newly`, `no_longer`, `still`,
    `fine`, `exempted`, `errors`, `failed`), `not_comparable` (by reason), `newly_at[]` and `no_longer_at[]`
    (`namespace`, `workload`, `reviews`, `first`, `last`, `operation`, `message`). `record`: what was read and what
    could not be. Times are RFC 3339 in UTC. Keys may be added; none changes its meaning."""
    return {
        "schema": SCHEMA,
        "policies": [
            {
                **{
                    key: getattr(each, key)
                    for key in (
                        "policy",
                        "known",
                        "compared",
                        "newly",
                        "no_longer",
                        "still",
                        "fine",
                        "exempted",
                        "errors",
                        "failed",
                    )
                },
                "not_comparable": dict(sorted(each.not_comparable.items())),
                "newly_at": [_place(place) for place in _most(each.newly_at.values())],
                "no_longer_at": [_place(place) for place in _most(each.no_longer_at.values())],
            }
            for each in changes
        ],
        "record": {
            "files": files,
            "reviews": backtest.reviews,
            "start": _time(backtest.first),
            "end": _time(backtest.last),
            "rates": sorted(backtest.rates),
            "damage": damage.counts,
            "undecodable": backtest.unreadable,
            "left_out": dict(sorted(backtest.left_out.items())),
        },
    }


def _place(place: Place) -> dict[str, Any]:
    return {**msgspec.structs.asdict(place), "first": _time(place.first), "last": _time(place.last)}


def _most(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=lambda each: (-each.reviews, each.namespace, each.workload))


def _time(seconds: float) -> str:
    if not seconds:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_HEADS = ("POLICY", "NEWLY VIOLATED", "NO LONGER", "STILL", "FINE", "ERRORS", "NOT COMPARABLE")


def _show(backtest: Backtest, changes: list[Change], damage: Damage, files: int, examples: int) -> None:
    rows = [_cells(each) for each in changes if each.compared or each.failed or each.not_comparable]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    for row in [_HEADS, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for each in changes:
        for what, places in (("newly violated", each.newly_at), ("no longer violated", each.no_longer_at)):
            if places:
                print(f"\n{safe(each.policy)}, {what}{'' if each.known else ' (the policy is new)'}:")
                _show_places(_most(places.values()), examples)
        if each.not_comparable:
            print(f"\n{safe(each.policy)}, not comparable:")
            for why, count in sorted(each.not_comparable.items(), key=lambda item: (-item[1], item[0])):
                print(f"  {count} because {safe(why)}")
    silent = len(changes) - len(rows)
    print(f"\n{backtest.reviews} reviews of {_time(backtest.first)} to {_time(backtest.last)}, {files} file(s)")
    if any(rate < 1 for rate in backtest.rates):
        shares = ", ".join(f"{rate:.3g}" for rate in sorted(backtest.rates))
        print(f"a sample: the webhook recorded this share of its reviews: {shares}")
    if silent:
        print(f"{silent} polic{'y concerns' if silent == 1 else 'ies concern'} none of them")
    if backtest.left_out:
        print(f"found something then and are not in the new set: {safe(', '.join(sorted(backtest.left_out)))}")
    if backtest.unreadable:
        print(f"{backtest.unreadable} reviews hold objects that cannot be decoded")
    for reason, count in sorted(damage.counts.items()):
        print(f"not read: {count} {reason} ({safe(', '.join(damage.places[reason]))})")


def _show_places(places: list[Place], examples: int) -> None:
    for place in places[:examples]:
        where = f"{safe(place.namespace)}/" if place.namespace else ""
        print(f"  {where}{safe(place.workload)}: {place.reviews} review(s), last {_time(place.last)} {place.operation}")
        if place.message:
            print(f"    {safe(place.message)}")
    if len(places) > examples:
        print(f"  and {len(places) - examples} more workloads (--examples, --output json)")


def _cells(change: Change) -> tuple[str, ...]:
    return (
        safe(change.policy),
        str(change.newly),
        str(change.no_longer),
        str(change.still),
        str(change.fine),
        str(change.errors + change.failed),
        str(sum(change.not_comparable.values())),
    )
