"""`python -m tests.fuzz FOLDER [libFuzzer flags]`: fuzzes until told otherwise; an input that breaks something lands in
FOLDER/found, and belongs into tests/fuzz/inputs once it is repaired. `make fuzz` calls it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def main(folder: Path, flags: list[str]) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["webhook.cel"]):
        from tests.fuzz.target import one
    from tests.fuzz.seeds import INPUTS, expressions, found, vectors, words

    corpus, broken, seeds = folder / "corpus", folder / "found", folder / "seeds"
    for each in (corpus, broken, seeds):
        each.mkdir(parents=True, exist_ok=True)
    corpora = Path(__file__).resolve().parents[3] / "shared" / "corpora"
    for number, text in enumerate(dict.fromkeys([*expressions(), *vectors(corpora)])):
        (seeds / str(number)).write_bytes(b"\0" + text.encode("utf-8", "surrogatepass"))
    for number, data in enumerate(found()):
        (seeds / f"found-{number}").write_bytes(data)
    dictionary = folder / "words.dict"
    dictionary.write_text("".join(f'"{_quoted(word)}"\n' for word in words()))
    atheris.Setup(
        [
            sys.argv[0],
            *(f"-dict={dictionary}", f"-artifact_prefix={broken}/"),
            *("-timeout=20", "-rss_limit_mb=2048", "-max_len=1024"),
            *flags,
            *map(str, (corpus, seeds, INPUTS)),
        ],
        one,
    )
    atheris.Fuzz()


def _quoted(word: str) -> str:
    return "".join(character if character.isalnum() else f"\\x{ord(character):02x}" for character in word)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
