"""Flags that several verbs share: which policies, which cluster state, which Pod Security level."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from webhook.cel.releases import KNOWN, parse_version

if TYPE_CHECKING:
    from webhook.audit.owners import Owners
    from webhook.policyset import PolicySet
    from webhook.state import State


def add_policy_flags(parser: argparse.ArgumentParser) -> None:
    """`--policies`, `--snapshot`, `--pod-security-level`, `--pod-security-version`."""
    group = parser.add_argument_group("policies")
    group.add_argument(
        "--policies",
        nargs="+",
        action="extend",
        type=Path,
        metavar="PATH",
        help="files or folders of ValidatingAdmissionPolicies, bindings and params (default: the shipped set)",
    )
    add_enable_flag(group)
    add_version_flag(group)
    group.add_argument(
        "--snapshot",
        nargs="+",
        action="extend",
        type=Path,
        metavar="PATH",
        help="cluster state from `kubectl get namespaces,configmaps -A -o yaml`, for policies that need it",
    )
    group.add_argument(
        "--pod-security-level",
        choices=("privileged", "baseline", "restricted"),
        default="restricted",
        help="where the namespace's labels are not known (default %(default)s)",
    )
    group.add_argument(
        "--pod-security-version", default="latest", metavar="vX.Y", help="likewise (default %(default)s)"
    )


def add_version_flag(group: argparse._ActionsContainer) -> None:
    """`--kubernetes-version`, for a parser or a group of one."""
    group.add_argument(
        "--kubernetes-version",
        choices=KNOWN,
        default=KNOWN[-1],
        help="version of the API server, whose CEL functions policies may use (default %(default)s)",
    )


def add_enable_flag(group: argparse._ActionsContainer) -> None:
    """`--enable`, for a parser or a group of one."""
    group.add_argument(
        "--enable",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="policies that are off by default and wanted; `all` for every one",
    )


def add_webhook_name_flag(group: argparse._ActionsContainer) -> None:
    """`--webhook-name`, for a parser or a group of one."""
    from webhook.annotations import WEBHOOK_NAME

    group.add_argument(
        "--webhook-name",
        action="append",
        metavar="NAME",
        help=f"name of the webhook whose annotations are read, with any prefix (default {WEBHOOK_NAME})",
    )


def policies_of(args: argparse.Namespace) -> tuple[PolicySet, State]:
    """The set and the state that the flags name. Broken policies are in `PolicySet.broken`."""
    # The compiler is not needed for --help.
    from webhook.cel.versions import Version
    from webhook.load import load, shipped
    from webhook.native.pod_security import PodSecurityConfig
    from webhook.state import EMPTY, read_snapshot

    state = read_snapshot(args.snapshot) if args.snapshot else EMPTY
    pod_security = PodSecurityConfig(level=args.pod_security_level, version=args.pod_security_version)
    policies = load(
        args.policies or shipped(),
        state=state,
        pod_security=pod_security,
        enable=args.enable,
        version=Version(parse_version(args.kubernetes_version)),
    )
    return policies, state


def add_owner_flags(parser: argparse.ArgumentParser) -> None:
    """`--owners`, `--owner-key`. With `--snapshot` of `add_policy_flags` the Namespaces' own labels speak too."""
    from webhook.audit.owners import KEYS

    group = parser.add_argument_group("owners")
    group.add_argument(
        "--owners",
        type=Path,
        metavar="FILE",
        help="which team owns what: YAML {owners: [{namespaces: [shop, shop-*], owner: team-shop}]}; the last entry "
        "that matches wins, `workloads: [Deployment/web-*]` and `clusters:` narrow it down",
    )
    group.add_argument(
        "--owner-key",
        action="append",
        metavar="KEY",
        help="label, else annotation, of the Namespaces in --snapshot that names the owner where the file does not "
        f"(repeatable, default {', '.join(KEYS)})",
    )


def owners_of(args: argparse.Namespace, state: State) -> Owners:
    """Who owns what, by the flags. Raises `InvalidInput` with all that is wrong in the file."""
    from webhook.audit.owners import KEYS, Owners, read_owners

    return Owners(read_owners(args.owners) if args.owners else (), state=state, keys=args.owner_key or KEYS)
