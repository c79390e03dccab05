"""What is made beside the first reviews."""

from __future__ import annotations

import threading

import msgspec

from webhook.load import load, shipped
from webhook.policy import Policy
from webhook.serve.prepare import Preparation

NATIVE, *OTHERS = load(shipped()).policies


def of(prepare: object) -> Policy:
    return msgspec.structs.replace(OTHERS[0], prepare=prepare)


def test_one_after_the_other_whatever_fails() -> None:
    done: list[int] = []
    ended = threading.Event()

    def fails() -> None:
        done.append(1)
        raise ValueError

    def last() -> None:
        done.append(2)
        ended.set()

    Preparation([NATIVE, of(fails), of(last)]).start()
    assert ended.wait(30)
    assert done == [1, 2]


def test_it_ends_when_it_is_closed() -> None:
    done: list[int] = []
    going, closed = threading.Event(), threading.Event()

    def first() -> None:
        going.set()
        closed.wait(30)
        done.append(1)

    preparation = Preparation([of(first), of(lambda: done.append(2))])
    preparation.start()
    assert going.wait(30)
    preparation.close()
    closed.set()
    preparation._thread.join(30)
    assert done == [1]
