# SPDX-License-Identifier: Apache-2.0
"""The checker itself, with histories of which the answer is known. No cluster, no mount."""
import random
import time

import pytest

from linearizability import Entry, Operation, Place, Register, check, going_back


def op(kind, value, begin, end=float("inf"), certain=True):
    return Operation("key", kind, value, begin, end, certain)


def fine(model, *history):
    return check({"key": model}, history) == []


# --- Registers ---

def test_one_after_the_other():
    assert fine(Register(0), op("write", 1, 0, 1), op("read", 1, 2, 3), op("write", 2, 4, 5),
                op("read", 2, 6, 7))


def test_an_old_read_is_found():
    found = check({"key": Register(0)}, [op("write", 1, 0, 1), op("read", 0, 2, 3)])
    assert len(found) == 1 and "read 0" in found[0]


def test_the_first_state_counts():
    assert fine(Register(5), op("read", 5, 0, 1))
    assert not fine(Register(5), op("read", 0, 0, 1))


def test_a_read_beside_a_write_sees_either():
    for seen in (0, 1):
        assert fine(Register(0), op("write", 1, 0, 10), op("read", seen, 2, 3))


def test_two_reads_beside_a_write_do_not_go_back():
    write = op("write", 1, 0, 10)
    assert fine(Register(0), write, op("read", 0, 1, 2), op("read", 1, 3, 4))
    assert not fine(Register(0), write, op("read", 1, 1, 2), op("read", 0, 3, 4))


def test_two_readers_disagree_on_the_order_of_two_writes():
    writes = [op("write", 1, 0, 10), op("write", 2, 0, 10)]
    assert fine(Register(0), *writes, op("read", 1, 11, 12), op("read", 1, 13, 14))
    assert not fine(Register(0), *writes, op("read", 1, 11, 12), op("read", 2, 13, 14))
    assert not fine(Register(0), *writes, op("read", 1, 1, 2), op("read", 2, 3, 4),
                    op("read", 1, 5, 6))


def test_an_acknowledged_write_that_is_lost_is_found():
    assert not fine(Register(0), op("write", 1, 0, 1), op("write", 2, 2, 3), op("read", 1, 9, 10))


def test_an_unknown_write_happens_late_or_never():
    unknown = op("write", 1, 0, certain=False)
    assert fine(Register(0), unknown, op("read", 0, 1, 2), op("read", 0, 8, 9))
    assert fine(Register(0), unknown, op("read", 0, 1, 2), op("read", 1, 8, 9))
    assert not fine(Register(0), unknown, op("read", 1, 1, 2), op("read", 0, 8, 9))
    assert not fine(Register(0), unknown, op("read", 1, -2, -1))


def test_an_unknown_write_happens_once():
    unknown = op("write", 1, 0, certain=False)
    assert not fine(Register(0), unknown, op("read", 1, 1, 2), op("write", 2, 3, 4),
                    op("read", 1, 5, 6))


def test_an_uncertain_write_with_an_end_is_not_late():
    truncation = op("write", "", 0, 5, certain=False)
    assert fine(Register("x"), truncation, op("read", "", 1, 2))
    assert fine(Register("x"), truncation, op("read", "x", 1, 2), op("read", "x", 6, 7))
    assert fine(Register("x"), truncation, op("read", "", 6, 7))
    assert not fine(Register("x"), truncation, op("read", "x", 6, 7), op("read", "", 8, 9))


# --- Names ---

def test_one_winner():
    assert fine(Entry(), op("create", None, 0, 5), op("remove", None, 6, 7),
                op("create", None, 6, 8))
    assert not fine(Entry(), op("create", None, 0, 5), op("create", None, 0, 5))
    assert not fine(Entry(), op("create", None, 0, 5), op("remove", None, 6, 9),
                    op("create", None, 1, 5))


def test_looking_at_a_name():
    assert fine(Entry(), op("look", False, 0, 1), op("create", None, 0, 5), op("look", True, 6, 7))
    assert not fine(Entry(), op("create", None, 0, 5), op("look", False, 6, 7))


def test_an_unknown_removal_explains_a_second_winner():
    history = [op("create", None, 0, 1), op("create", None, 8, 9)]
    assert not fine(Entry(), *history)
    assert fine(Entry(), *history, op("remove", None, 2, certain=False))
    assert not fine(Entry(), *history, op("remove", None, 2, certain=False),
                    op("create", None, 10, 11))


def test_moves():
    assert fine(Place("a"), op("move", ("a", "b"), 0, 1), op("look", ["b"], 2, 3),
                op("move", ("b", "c"), 2, 5))
    assert not fine(Place("a"), op("move", ("a", "b"), 0, 5), op("move", ("a", "c"), 0, 5))
    assert not fine(Place("a"), op("move", ("a", "b"), 0, 5), op("look", ["a", "b"], 0, 5))
    assert not fine(Place("a"), op("look", [], 0, 5))


def test_keys_are_apart():
    models = {"a": Register(0), "b": Register(0)}
    found = check(models, [Operation("a", "read", 0, 0, 1), Operation("b", "read", 1, 0, 1)])
    assert len(found) == 1 and found[0].startswith("b:")


# --- Many ---

def random_history(seed, processes, count, unknown=0.02):
    """What that many processes see of a real register: each operation takes effect somewhere
    within its time."""
    random_numbers = random.Random(seed)
    points = []
    for process in range(processes):
        now = random_numbers.random()
        for _ in range(count // processes):
            begin = now + random_numbers.expovariate(1)
            end = begin + random_numbers.expovariate(1)
            now = end
            points.append((random_numbers.uniform(begin, end), begin, end, process))
    state, history = 0, []
    for number, (_, begin, end, process) in enumerate(sorted(points), 1):
        if random_numbers.random() < 0.5:
            history.append(Operation("key", "read", state, begin, end, who=str(process)))
        elif random_numbers.random() < unknown:
            if random_numbers.random() < 0.5:
                state = number
            history.append(Operation("key", "write", number, begin, certain=False))
        else:
            state = number
            history.append(Operation("key", "write", number, begin, end, who=str(process)))
    return history


@pytest.mark.parametrize("seed", range(20))
def test_real_registers_pass_and_a_wrong_read_does_not(seed):
    history = random_history(seed, 6, 300)
    assert check({"key": Register(0)}, history) == []
    reads = [i for i, one in enumerate(history) if one.kind == "read"]
    index = reads[len(reads) // 2]
    wrong = next(one for one in history if one.kind == "write" and one.certain)
    long_ago = wrong.end + 10 < history[index].begin
    assert long_ago and history[index].value != wrong.value
    history[index] = Operation("key", "read", wrong.value, history[index].begin, history[index].end)
    assert len(check({"key": Register(0)}, history)) == 1


def test_long_histories_take_seconds():
    history = random_history(1, 8, 4000)
    began = time.process_time()
    assert check({"key": Register(0)}, history) == []
    assert time.process_time() - began < 30


def test_many_unknown_ones_that_are_the_same_take_no_longer():
    unknown = [op("write", "", begin, certain=False) for begin in range(60)]
    reads = [op("read", "" if begin % 2 else begin // 2, 100 + 2 * begin, 101 + 2 * begin)
             for begin in range(1, 60)]
    writes = [op("write", begin // 2, 100 + 2 * begin - 0.5, 100 + 2 * begin - 0.1)
              for begin in range(2, 60, 2)]
    assert fine(Register(0), *unknown, *reads, *writes)
    assert not fine(Register(0), *unknown[:20], *reads, *writes)


# --- Reads that do not go back ---

def test_going_back():
    assert going_back([(0, 1, 1, "a"), (2, 3, 1, "b"), (4, 5, 2, "a")]) == []
    assert going_back([(0, 3, 2, "a"), (1, 2, 1, "b")]) == []  # beside each other
    assert going_back([(0, 1, 2, "a"), (2, 3, 1, "b")]) != []
    assert len(going_back([(0, 1, 5, "a"), (0, 9, 1, "b"), (2, 3, 4, "c"), (4, 5, 5, "a")])) == 1
