# SPDX-License-Identifier: Apache-2.0
"""Whether a recorded history could have come from one object that does one thing at a time.

The search of Wing and Gong, with the states that were seen already kept (as Lowe proposed): an
order of the operations is looked for in which each takes effect between its begin and its end and
gives what was observed. Keys are independent of each other, and searched one by one.

    history = [Operation("a", "write", 1, begin=0.0, end=0.1), Operation("a", "read", 1, 0.2, 0.3)]
    assert check({"a": Register(0)}, history) == []
"""
import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Operation:
    """`certain`: it has taken effect, by its end at the latest. Else: between its begin and its end,
    or never. An operation whose outcome is unknown is not certain, and has no end."""
    key: str
    kind: str
    value: object
    begin: float
    end: float = math.inf
    certain: bool = True
    who: str = ""

    def __str__(self):
        outcome = "" if self.certain else " (perhaps)"
        return f"{self.begin:.6f}..{self.end:.6f} {self.who} {self.kind} {self.value!r}{outcome}"


# --- Models: step() gives the state after an operation, or IMPOSSIBLE ---

IMPOSSIBLE = object()


class Register:
    """A file that is overwritten as a whole: "write" and "read", with the content."""

    def __init__(self, initial):
        self.initial = initial

    @staticmethod
    def step(state, operation):
        if operation.kind == "write":
            return operation.value
        return state if state == operation.value else IMPOSSIBLE

    @staticmethod
    def relevant(operations):
        """What may be left out changes no answer: an uncertain write that nobody has read."""
        read = {one.value for one in operations if one.kind == "read"}
        return [one for one in operations
                if one.certain or one.kind == "read" or one.value in read]


class Entry:
    """A name that is there or not: "create" and "remove" as they succeed, "look" with what it saw.

    A lock is one as well: to make its directory is to hold it."""
    initial = False

    @staticmethod
    def step(state, operation):
        if operation.kind == "look":
            return state if state == operation.value else IMPOSSIBLE
        wanted = operation.kind == "create"
        return wanted if state != wanted else IMPOSSIBLE

    @staticmethod
    def relevant(operations):
        return operations


class Place:
    """One file that is under one of several names: "move" (from, to) as it succeeds, and "look"
    with the names that were there, sorted."""

    def __init__(self, initial):
        self.initial = initial

    @staticmethod
    def step(state, operation):
        if operation.kind == "look":
            return state if [state] == list(operation.value) else IMPOSSIBLE
        source, target = operation.value
        return target if state == source else IMPOSSIBLE

    @staticmethod
    def relevant(operations):
        return operations


# --- The search ---

def check(models, history):
    """What is wrong, as texts; empty if the history is linearizable."""
    by_key = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    found = [check_key(models[key], operations) for key, operations in sorted(by_key.items())]
    return [text for text in found if text]


def check_key(model, operations):
    """A text about the place where no order is possible, or nothing."""
    operations = sorted(model.relevant(operations), key=lambda one: one.begin)
    certain = sum(1 << index for index, one in enumerate(operations) if one.certain)
    start = (0, model.initial)
    seen = {start}
    stack = [start]
    best = start
    while stack:
        done, state = stack.pop()
        if done & certain == certain:
            return None
        if (done & certain).bit_count() >= (best[0] & certain).bit_count():
            best = (done, state)
        for index in _next(operations, done):
            after = model.step(state, operations[index])
            if after is IMPOSSIBLE:
                continue
            further = (_without_late(operations, done | 1 << index, operations[index].begin), after)
            if further not in seen:
                seen.add(further)
                stack.append(further)
    return _describe(operations, best)


def _first_open(done):
    """The index of the lowest bit that is not set."""
    return (~done & (done + 1)).bit_length() - 1


def _next(operations, done):
    """What may come next: all that began before the first certain one of the rest has ended. The
    last of them first, since the caller takes from the end."""
    found = []
    earliest_end = math.inf
    for index in range(_first_open(done), len(operations)):
        operation = operations[index]
        if operation.begin > earliest_end:
            break
        if done >> index & 1:
            continue
        found.append(index)
        if operation.certain:
            earliest_end = min(earliest_end, operation.end)
    # Certain ones first: others usually have not happened, or not yet.
    found.sort(key=lambda index: (not operations[index].certain, operations[index].end))
    return reversed(found)


def _without_late(operations, done, now):
    """Uncertain operations that have ended before `now` have not happened."""
    for index in range(_first_open(done), len(operations)):
        operation = operations[index]
        if operation.begin > now:
            break
        if not operation.certain and operation.end < now:
            done |= 1 << index
    return done


def _describe(operations, best):
    done, state = best
    stuck = _first_open(done & sum(1 << i for i, one in enumerate(operations) if one.certain)
                        | sum(1 << i for i, one in enumerate(operations) if not one.certain))
    lines = [f"{operations[0].key}: no order explains these; the state was {state!r}"]
    for index in range(max(0, stuck - 8), min(len(operations), stuck + 8)):
        mark = "  " if done >> index & 1 else "->"
        lines.append(f"{mark} {operations[index]}")
    return "\n".join(lines)


# --- Reads that may be old, but do not go back ---

def going_back(reads):
    """Reads of growing numbers, as (begin, end, number, who): the pairs in which a later one (it
    began after the other had ended) saw an older state, as texts."""
    found = []
    highest = None  # of those that have ended before the one at hand begins
    by_end = sorted(reads, key=lambda read: read[1])
    ended = 0
    for begin, end, number, who in sorted(reads):
        while ended < len(by_end) and by_end[ended][1] < begin:
            if highest is None or by_end[ended][2] > highest[2]:
                highest = by_end[ended]
            ended += 1
        if highest is not None and number < highest[2]:
            found.append(f"{who} read {number} at {begin:.6f}..{end:.6f}; "
                         f"{highest[3]} had read {highest[2]} at {highest[0]:.6f}..{highest[1]:.6f}")
    return found
