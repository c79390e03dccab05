"""`wouldblock webhook-config`: the ValidatingWebhookConfiguration that the policies need, and its guard."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from webhook import cli, registration
from webhook.cli.common import add_enable_flag
from webhook.errors import InvalidInput, UserError
from webhook.policyset import PolicySet

_EPILOG = """\
examples:
  wouldblock webhook-config --ca-file certs/ca.crt | kubectl apply -f -
  wouldblock webhook-config --policies policies/ --guard      the guard that pins the configuration
  wouldblock webhook-config --check deploy/base/webhook.yaml  has the file drifted from the policies?
  kubectl get validatingwebhookconfiguration wouldblock -o yaml | wouldblock webhook-config --check -

Apply the guard before the configuration when the rules change: until then it refuses the new ones.

exit codes: 0 fine, 1 --check found a difference, 2 a policy, file or flag is wrong
"""

_SERVER_FIELDS = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and nothing is written as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def register(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--policies",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="PATH",
        help="policy files and folders (default: shipped)",
    )
    parser.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="PEM of the CA, or both while one replaces another"
    )
    add_enable_flag(parser)
    parser.add_argument("--service", default=registration.SERVICE, help="default %(default)s")
    parser.add_argument("--namespace", default=registration.NAMESPACE, help="of the Service; default %(default)s")
    parser.add_argument("--path", default=registration.PATH, help="default %(default)s")
    parser.add_argument("--port", type=int, default=registration.PORT, help="of the Service; default %(default)s")
    parser.add_argument("--name", default=registration.NAME, help="of the configuration; default %(default)s")
    parser.add_argument(
        "--exclude-namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="one more that is not looked at; repeatable",
    )
    parser.add_argument("--guard", action="store_true", help="the guard instead of the configuration")
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="compare with FILE (- for stdin) instead of printing"
    )
    parser.add_argument("--output", choices=("yaml", "json"), default="yaml")


def run(args: argparse.Namespace) -> int:
    """Raises `UserError`, `OSError`."""
    configuration = registration.webhook_configuration(
        _policies(args.policies, args.enable),
        service=args.service,
        namespace=args.namespace,
        path=args.path,
        port=args.port,
        ca_bundle=_ca_bundle(args.ca_file) if args.ca_file else b"",
        name=args.name,
        exclude_namespaces=args.exclude_namespace,
    )
    objects = registration.guard(configuration) if args.guard else [configuration]
    if args.check:
        return _check(args.check, objects, compare_ca=args.ca_file is not None)
    if args.output == "yaml":
        how = "wouldblock webhook-config" + " --guard" * args.guard
        print(f"# Made by `{how}`: it follows from the policies, so do not edit it.\n{_yaml(objects)}", end="")
    else:
        print(_json(objects), end="")
    return cli.FINE


def _policies(paths: list[Path], enable: list[str]) -> PolicySet:
    # The compiler is not needed for --help.
    from webhook.load import load, shipped

    policies = load(paths or shipped(), enable=enable)
    if policies.broken:
        raise InvalidInput(policies.broken)
    return policies


def _ca_bundle(path: Path) -> bytes:
    """The file's certificates. Raises `UserError` for a key, a leaf, or no certificate at all."""
    # `cryptography` is slow to import, and needed for this flag only.
    from webhook_certs import pem

    data = pem.read(path)
    if pem.is_key(data):
        raise UserError(f"{path}: holds a private key, which must not get into the cluster's API; give ca.crt")
    if not all(pem.is_authority(each) for each in pem.certificates(path, data)):
        raise UserError(f"{path}: holds a certificate that is no CA; give ca.crt, not tls.crt, which will be replaced")
    return data


def _check(path: Path, objects: list[dict[str, Any]], *, compare_ca: bool) -> int:
    text = sys.stdin.read() if path == Path("-") else path.read_text("utf-8")
    try:
        found = [each for document in yaml.safe_load_all(text) for each in _unlisted(document)]
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: is no YAML: {error}") from None
    if not found or not all(isinstance(each, dict) for each in found):
        raise UserError(f"{path}: holds no Kubernetes object; expected what `wouldblock webhook-config` prints")
    there = _yaml(_comparable(each, keep_ca=compare_ca) for each in found)
    wanted = _yaml(_comparable(each, keep_ca=compare_ca) for each in objects)
    if there == wanted:
        return cli.FINE
    sys.stdout.writelines(
        difflib.unified_diff(
            there.splitlines(keepends=True),
            wanted.splitlines(keepends=True),
            fromfile=str(path),
            tofile="what the policies need",
        )
    )
    print(f"{path} has drifted from the policies; write it anew with this command, without --check", file=sys.stderr)
    return cli.FOUND


def _unlisted(document: Any) -> list[Any]:
    """The objects of a document: what `kubectl get` writes for several is a List."""
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        return list(document["items"])
    return [] if document is None else [document]


def _comparable(found: dict[str, Any], *, keep_ca: bool) -> dict[str, Any]:
    """A copy in key order, without what the API server and kubectl add, and without CAs unless they are compared."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found, order="sorted"))
    copy.pop("status", None)
    metadata = copy.get("metadata")
    if isinstance(metadata, dict):
        for field in _SERVER_FIELDS:
            metadata.pop(field, None)
        if isinstance(metadata.get("annotations"), dict):
            metadata["annotations"].pop(_LAST_APPLIED, None)
            if not metadata["annotations"]:
                del metadata["annotations"]
    hooks = copy.get("webhooks")
    for hook in hooks if isinstance(hooks, list) and not keep_ca else ():
        if isinstance(hook, dict) and isinstance(hook.get("clientConfig"), dict):
            hook["clientConfig"].pop("caBundle", None)
    return copy


def _yaml(objects: Iterable[dict[str, Any]]) -> str:
    return "---\n".join(
        yaml.dump(each, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=1_000) for each in objects
    )


def _json(objects: list[dict[str, Any]]) -> str:
    """One object, or a List of several: what kubectl reads either way."""
    value = objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": objects}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
