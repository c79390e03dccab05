"""`wouldblock policies new`: what it writes is a policy that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.check.skeleton import known_kinds
from webhook.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main(["policies", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("kind", [*known_kinds(), "Widget"])
def test_it_is_valid_and_its_cases_hold_and_notice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    more = ["--api-version", "example.com/v1beta1"] if kind == "Widget" else []
    code, out, _ = run(capsys, "new", "mine", "--kind", kind, "--dir", tmp_path / "deep", *more)
    assert code == 0
    policy = tmp_path / "deep" / "mine.yaml"
    assert out.splitlines()[:2] == [str(policy), str(tmp_path / "deep" / "mine.cases.yaml")]
    code, out, _ = run(capsys, "validate", policy)
    assert (code, out) == (0, "1 policies good, 0 problems, 0 notes\n")
    code, out, _ = run(capsys, "test", "--mutate", policy)
    assert (code, out.splitlines()) == (0, ["2 cases, 0 not as expected", "2 changed policies, 0 not noticed"])


def test_metadata_and_text_that_yaml_would_take_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    title = 'Owner: none # "yet"'
    arguments = ("--severity", "high", "--pack", "house rules: 1", "--title", title, "--dir", tmp_path)
    assert run(capsys, "new", "mine", *arguments)[0] == 0
    code, out, _ = run(capsys, "show", "mine", "--policies", tmp_path)
    shown = [line.split(None, 1) for line in out.splitlines()]
    assert (code, ["title", title] in shown, ["severity", "high"] in shown) == (0, True, True)
    assert ["pack", "house rules: 1"] in shown
    assert ["matches", "CREATE, UPDATE of deployments (apps/v1)"] in shown


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.cases.yaml").write_text("precious")
    code, _, err = run(capsys, "new", "mine", "--dir", tmp_path)
    assert (code, "not overwritten" in err) == (2, True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Bad_Id"], "policy id 'Bad_Id'"),
        (["../up"], "policy id '../up'"),
        (["mine", "--kind", "Widget"], "--api-version"),
        (["mine", "--kind", "a b"], "one word"),
        (["mine", "--api-version", "x y"], "GROUP/VERSION"),
        (["mine", "--resource", "A]"], "plural"),
    ],
)
def test_names_that_cannot_be(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    code, _, err = run(capsys, "new", *arguments, "--dir", tmp_path)
    assert (code, said in err) == (2, True)
    assert not list(tmp_path.iterdir())
