"""Reading ahead and writing behind: the order, the overlap, the bound, and errors of the threads."""

from __future__ import annotations

import threading

import pytest

from nst_gluon.pictures.pipeline import Behind, ahead

PATIENCE = 30


def test_items_come_in_order_and_all_of_them():
    assert list(ahead(iter(range(20)), 3)) == list(range(20))
    assert list(ahead([])) == []


def test_the_next_item_is_read_while_the_caller_has_the_one_before():
    reading = threading.Event()

    def items():
        yield 1
        reading.set()
        yield 2

    for item in ahead(items()):
        if item == 1:
            assert reading.wait(PATIENCE)


def test_no_more_is_read_than_may_wait():
    read = []

    def items():
        for number in range(50):
            read.append(number)
            yield number

    for count, _ in enumerate(ahead(items(), 2), 1):
        assert len(read) <= count + 2


def test_an_error_of_the_source_comes_in_its_place():
    def items():
        yield 1
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for item in ahead(items(), 4):
            seen.append(item)
    assert seen == [1]


def test_a_caller_who_stops_early_leaves_no_thread():
    before = threading.active_count()
    items = ahead(iter(range(1000)))
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before


def test_calls_are_made_behind_in_order_and_awaited():
    begun, go, done = threading.Event(), threading.Event(), []

    def work(number):
        begun.set()
        assert go.wait(PATIENCE)
        done.append(number)

    with Behind(work) as call:
        call(1)
        assert begun.wait(PATIENCE) and done == []
        go.set()
        for number in range(2, 6):
            call(number)
    assert done == [1, 2, 3, 4, 5]


def test_an_error_behind_surfaces_and_nothing_after_it_is_done():
    done = []

    def work(number):
        if number == 2:
            raise OSError("disk full")
        done.append(number)

    with pytest.raises(OSError, match="disk full"), Behind(work) as call:
        for number in range(1, 10):
            call(number)
    assert done[0] == 1 and 9 not in done


def test_an_interrupt_drops_what_has_not_begun():
    begun, go, done = threading.Event(), threading.Event(), []

    def work(number):
        begun.set()
        assert go.wait(PATIENCE)
        done.append(number)

    with pytest.raises(KeyboardInterrupt), Behind(work, 3) as call:
        for number in range(3):
            call(number)
        assert begun.wait(PATIENCE)
        call._waiting[-1].add_done_callback(lambda _: go.set())  # when the last of them has been dropped
        raise KeyboardInterrupt
    assert done == [0]
