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
    """`certain`: it has taken effect, by its end at the latest. Else: between its begin and its
    end, or never. An operation whose outcome is unknown is not certain, and has no end."""
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
STATES_MAX = 2_000_000  # of one key; some hundred thousand in a second


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
    unknown = [one for one in operations if not one.certain and one.end == math.inf]
    bounded = [one for one in operations if one.certain or one.end != math.inf]
    # How far the bounded ones are done: all below `low`, and by a mask some from there on. Then a
    # mask of the unknown ones that have happened, and the model's state.
    best = start = (0, 0, 0, model.initial)
    seen = {start}
    stack = [start]
    while stack:
        low, mask, happened, state = node = stack.pop()
        indexes, earliest_end = _next(bounded, low, mask)
        if earliest_end == math.inf:
            return None
        if low + mask.bit_count() >= best[0] + best[1].bit_count():
            best = node
        further = []
        for index in _next_unknown(unknown, happened, earliest_end):
            after = model.step(state, unknown[index])
            further.append((*_without_late(bounded, low, mask, unknown[index].begin),
                            happened | 1 << index, after))
        for index in indexes:
            after = model.step(state, bounded[index])
            further.append((*_without_late(bounded, low, mask | 1 << (index - low),
                                           bounded[index].begin), happened, after))
        for one in further:
            if one[3] is not IMPOSSIBLE and one not in seen:
                seen.add(one)
                stack.append(one)
        if len(seen) > STATES_MAX:
            return f"{operations[0].key}: not decided after {len(seen)} states"
    return _describe(bounded, best)


def _next(bounded, low, mask):
    """What may come next: all that began before the first certain one of the rest has ended, the
    likely ones last. And that end; infinite if no certain one is left."""
    found = []
    earliest_end = math.inf
    for index in range(low, len(bounded)):
        operation = bounded[index]
        if operation.begin > earliest_end:
            break
        if mask >> (index - low) & 1:
            continue
        found.append(index)
        if operation.certain:
            earliest_end = min(earliest_end, operation.end)
    found.sort(key=lambda index: (bounded[index].certain, -bounded[index].end))
    return found, earliest_end


def _next_unknown(unknown, happened, earliest_end):
    """Of several that are the same the first will do."""
    found = {}
    for index, operation in enumerate(unknown):
        if operation.begin > earliest_end:
            break
        if not happened >> index & 1:
            found.setdefault((operation.kind, repr(operation.value)), index)
    return found.values()


def _without_late(bounded, low, mask, now):
    """Uncertain operations that have ended before `now` have not happened. `low` and the mask as
    they then are."""
    for index in range(low, len(bounded)):
        operation = bounded[index]
        if operation.begin > now:
            break
        if not operation.certain and operation.end < now:
            mask |= 1 << (index - low)
    while mask & 1:
        mask >>= 1
        low += 1
    return low, mask


def _describe(bounded, best):
    low, mask, _, state = best
    lines = [f"{bounded[low].key}: no order explains these; the state was {state!r}"]
    for index in range(max(0, low - 8), min(len(bounded), low + 8)):
        done = index < low or mask >> (index - low) & 1
        lines.append(f"{'  ' if done else '->'} {bounded[index]}")
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
            found.append(f"{who} read {number} at {begin:.6f}..{end:.6f}; {highest[3]} had read "
                         f"{highest[2]} at {highest[0]:.6f}..{highest[1]:.6f}")
    return found
