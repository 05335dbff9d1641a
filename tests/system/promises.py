# SPDX-License-Identifier: Apache-2.0
"""What a tree has promised: workers that change things, and write down what they were told.

Each worker has a directory of its own in the tree. Before an operation it writes a line to a file
outside the mount, and after the answer another one, each with the time. After the end of a daemon, or
a power cut at a known moment, every path must be in the state of its last answered operation, or,
where one was under way, in a state that this one may leave.
"""
import errno
import json
import os
import random
import time

import cfs
from cfs import MIB

ABSENT, DIRECTORY = "absent", "directory"
# ENOTCONN: the daemon is gone; ECONNABORTED: it went while it had the request.
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)


class Journal:
    """What a worker means to do and what it has been told; outside the mount."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def record(self, kind, changes):
        os.write(self._fd, (json.dumps([kind, changes, time.monotonic()]) + "\n").encode())

    def during(self, action, after, possible=None):
        """Runs `action`. `after`: the states when it was answered; `possible`: further states while
        it was not."""
        states = {path: [state] for path, state in after.items()}
        for path, more in (possible or {}).items():
            states.setdefault(path, []).extend(more)
        self.record("begin", states)
        action()
        self.record("end", after)


def content(number, size):
    return (b"%010d" % number) * (size // 10 or 1)


def label(data):
    """A short name for a content: its number and length, or what is wrong with it."""
    if not data:
        return "empty"
    whole = len(data) % 10 == 0 and data == data[:10] * (len(data) // 10)
    return f"{data[:10].decode()}*{len(data)}" if whole else f"torn {len(data)}"


def create(path, data):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(fd, data)
    os.close(fd)


SIZES = [10, 100, 2000, 5000, 50_000]
# One request of the kernel's wherever the memory begins: 256 pages are the most that it takes.
LARGE_SIZES = [(MIB - 4096) // 10 * 10]


def work(folder, journal_path, seed, sizes=None, pause=0):
    """Changes things until the daemon is gone; how many."""
    choose = random.Random(seed)
    journal = Journal(journal_path)
    number = seed % 10**6 * 1000
    try:
        while True:
            number += 1
            one_operation(folder, journal, choose, number, sizes or SIZES)
            if pause:
                time.sleep(choose.uniform(0, 2 * pause))  # a slow load is the subject
    except OSError as error:
        assert error.errno in GONE, error
    return number - seed % 10**6 * 1000


def one_operation(folder, journal, choose, number, sizes):
    key = f"{folder}/k{choose.randrange(6)}"
    lock = f"{folder}/d{choose.randrange(3)}"
    data = content(number, choose.choice(sizes))
    kind = choose.randrange(7)
    if kind <= 1:
        journal.during(lambda: cfs.write(key, data), {key: label(data)},
                       {key: ["empty"] if not os.path.exists(key) else []})
    elif kind == 2:
        temporary = f"{folder}/tmp"
        begin = {temporary: ["empty", label(data)]}
        journal.during(lambda: cfs.write(temporary, data), {temporary: label(data)}, begin)
        journal.during(lambda: os.rename(temporary, key), {temporary: ABSENT, key: label(data)})
    elif kind == 3 and os.path.exists(key):
        journal.during(lambda: os.unlink(key), {key: ABSENT})
    elif kind == 4 and not os.path.exists(key):
        journal.during(lambda: create(key, data), {key: label(data)}, {key: ["empty"]})
    elif kind == 5 and not os.path.exists(lock):
        journal.during(lambda: os.mkdir(lock), {lock: DIRECTORY})
    elif kind == 6 and os.path.exists(lock):
        journal.during(lambda: os.rmdir(lock), {lock: ABSENT})


class Promises:
    """What the workers' journals say, up to some moment; each line is read once."""

    def __init__(self, journals):
        self._journals = {journal: 0 for journal in journals}
        self.allowed = {}  # path: states that it may be in
        self.answered = 0

    def read(self, until=float("inf")):
        for journal, start in self._journals.items():
            if not os.path.exists(journal):
                continue
            with open(journal, "rb") as file:
                file.seek(start)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # being written
                    kind, changes, when = json.loads(line)
                    if when > until:
                        break
                    start += len(line)
                    self._take(kind, changes)
            self._journals[journal] = start

    def _take(self, kind, changes):
        self.answered += kind == "end"
        for path, states in changes.items():
            if kind == "end":
                self.allowed[path] = [states]
            else:
                self.allowed[path] = self.allowed.get(path, [ABSENT]) + states

    def check(self, root=None, found_at=None):
        """Every path is as promised; where `found_at` is given, the tree that was at `root` is there.
        Returns the number of paths."""
        for path, states in self.allowed.items():
            where = path if root is None else found_at + path[len(root):]
            found = state_of(where)
            assert found in states, f"{path} is {found}; allowed: {states}"
        return len(self.allowed)

    def settle(self):
        """From here on what is found is what is known."""
        self.allowed = {path: [state_of(path)] for path in self.allowed}


def state_of(path):
    if os.path.isdir(path):
        return DIRECTORY
    try:
        return label(cfs.read(path))
    except FileNotFoundError:
        return ABSENT
