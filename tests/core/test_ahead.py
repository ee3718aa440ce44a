"""Work ahead: in order, never far, and an error where its item stands."""

import threading
import time

import pytest

from forge.core.ahead import ahead


def test_results_come_in_the_order_of_their_items_however_long_each_takes():
    assert list(range(12)) == list(ahead(lambda n: time.sleep(0.001 * (n % 3)) or n, range(12), 4))


def test_no_more_than_one_beyond_the_threads_is_drawn_before_a_result_is_wanted():
    drawn = []
    results = ahead(lambda n: n, (drawn.append(n) or n for n in range(9)), 2)
    assert [] == drawn
    assert (0, [0, 1, 2]) == (next(results), drawn)
    assert (1, [0, 1, 2, 3]) == (next(results), drawn)


def test_threads_work_side_by_side():
    both = threading.Barrier(2, timeout=20)
    assert [0, 1] == sorted(ahead(lambda n: both.wait() * 0 + n, range(2), 2))


def test_an_error_is_raised_where_its_item_stands_and_what_follows_is_let_go():
    begun = []

    def work(n):
        begun.append(n)
        return 1 // (n - 2)

    results = ahead(work, range(100), 1)
    assert [-1, -1] == [next(results), next(results)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert 4 >= len(begun)


def test_an_error_of_the_items_comes_behind_what_was_begun_before_it():
    def items():
        yield 1
        yield 0
        raise OSError("the disk is gone")

    results = ahead(lambda n: 1 // n, items(), 5)
    assert 1 == next(results)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert [1] == list(ahead(lambda n: n, iter([1]), 5))
    results = ahead(lambda n: n, items(), 5)
    assert [1, 0] == [next(results), next(results)]
    with pytest.raises(OSError, match="gone"):
        next(results)


def test_whoever_stops_asking_leaves_no_thread_behind():
    before = threading.active_count()
    results = ahead(lambda n: n, range(100), 3)
    next(results)
    results.close()
    assert before == threading.active_count()
