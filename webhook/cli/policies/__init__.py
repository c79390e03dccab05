"""`wouldblock policies`: what is in the set, what runs, what is wrong with it, why it fires, whether its cases hold.

One module a sub-verb, or a few that are alike; here are their flags.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from webhook.cli.common import add_policy_flags, add_version_flag

_EPILOG = """\
examples:
  wouldblock policies list
  wouldblock policies show image-tag-mutable --python
  wouldblock policies explain image-tag-mutable --object deployment.yaml
  wouldblock policies new my-policy --kind Deployment
  wouldblock policies validate ./policies
  wouldblock policies manifest > policies.json        what `readiness` needs to know of the set that serves
"""
_LIST_EPILOG = "example:\n  wouldblock policies list --policies ./policies --output json\n"
_SHOW_EPILOG = """\
examples:
  wouldblock policies show image-tag-mutable
  wouldblock policies show image-tag-mutable --python      the code that runs, made from its CEL expressions
"""
_VALIDATE_EPILOG = """\
examples:
  wouldblock policies validate ./policies
  wouldblock policies validate policy.yaml binding.yaml params.yaml --output json

A policy is good when the API server would accept it as a new one. Notes are no problems.
exit codes: 0 all good, 1 problems found, 2 nothing to validate
"""
_MANIFEST_EPILOG = "example:\n  wouldblock policies manifest --policies ./policies > policies.json\n"
_RUNS = {
    "list": ("catalogue", "list_"),
    "show": ("catalogue", "show"),
    "validate": ("catalogue", "validate"),
    "manifest": ("catalogue", "manifest"),
    "explain": ("explain", "run"),
    "new": ("new", "run"),
    "test": ("test", "run"),
}


def register(parser: argparse.ArgumentParser) -> None:
    """The sub-verbs and their flags."""
    from webhook.cli.policies import explain, new
    from webhook.cli.policies import test as testing

    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="policies_verb", metavar="VERB", required=True)

    def add(name: str, summary: str, epilog: str, *, output: bool = True) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.description = summary[0].upper() + summary[1:] + "."
        if output:
            sub.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
        return sub

    add_policy_flags(add("list", "list the policies of the set in set order", _LIST_EPILOG))
    show = add("show", "show one policy: what it matches, where it comes from, its code", _SHOW_EPILOG)
    show.add_argument("id", metavar="ID")
    show.add_argument("--python", action="store_true", help="print the generated Python of a CEL policy")
    add_policy_flags(show)
    validate = add("validate", "find everything that is wrong with policy files", _VALIDATE_EPILOG)
    validate.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    add_version_flag(validate)
    validate.add_argument(
        "--stored",
        action="store_true",
        help="as if the server had them already: new policies may only use what the version before has, too",
    )
    manifest = add("manifest", "print digests and matches of the set, as JSON, for reading logs", _MANIFEST_EPILOG)
    add_policy_flags(manifest)
    why = add("explain", "show why a policy says what it says of an object: the value of every part", explain.EPILOG)
    explain.register(why)
    add_policy_flags(why)
    new.register(add("new", "write a policy to start from, with its cases", new.EPILOG, output=False))
    test = add("test", "run the cases that stand beside policies", testing.EPILOG)
    test.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files or folders (default: the shipped set)")
    test.add_argument("--mutate", action="store_true", help="also change each policy a little: some case must notice")


def run(args: argparse.Namespace) -> int:
    module, function = _RUNS[args.policies_verb]
    code: int = getattr(importlib.import_module(f"webhook.cli.policies.{module}"), function)(args)
    return code
