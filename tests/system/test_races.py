# SPDX-License-Identifier: Apache-2.0
"""Several processes at the same name at the same time."""
import errno
import os
import time

import cfs


def at_once(count, function, *arguments):
    """Runs function(number, begin, *arguments) in `count` processes; `begin` is a common time."""
    begin = time.monotonic() + 0.1
    children = cfs.Children()
    for number in range(count):
        children.start(function, number, begin, *arguments)
    return children.results()


def wait_until(moment):
    while time.monotonic() < moment:
        pass


def open_or_create(number, begin, folder, rounds):
    wait_until(begin)
    failures = []
    for i in range(rounds):
        try:
            fd = os.open(f"{folder}/f{i}", os.O_CREAT | os.O_WRONLY)
            os.close(fd)
        except OSError as error:
            failures.append(errno.errorcode[error.errno])
    return failures


def test_difference_create_without_exclusive_opens_for_everybody(folder):
    assert at_once(8, open_or_create, folder, 200) == [[]] * 8
    assert len(cfs.names(folder)) == 200


def take_exclusively(number, begin, folder, rounds, how):
    wins = []
    wait_until(begin)
    for i in range(rounds):
        path = f"{folder}/f{i}"
        try:
            if how == "create":
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            elif how == "mkdir":
                os.mkdir(path)
            else:
                os.rename(f"{folder}/source{i}", f"{folder}/to{number}-{i}")
            wins.append(i)
        except OSError as error:
            expected = errno.ENOENT if how == "rename" else errno.EEXIST
            assert error.errno == expected, error
    return wins


def one_winner_each(folder, how):
    wins = at_once(4, take_exclusively, folder, 200, how)
    assert sorted(sum(wins, [])) == list(range(200))


def test_exclusive_create_has_one_winner(folder):
    one_winner_each(folder, "create")


def test_mkdir_has_one_winner(folder):
    one_winner_each(folder, "mkdir")


def test_rename_of_one_source_has_one_winner(folder):
    for i in range(200):
        os.close(os.open(f"{folder}/source{i}", os.O_CREAT))
    one_winner_each(folder, "rename")
    assert len(cfs.names(folder)) == 200


def append_lines(number, begin, path, lines):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    wait_until(begin)
    for i in range(lines):
        line = f"process {number} line {i} {'x' * (i % 50)}\n".encode()
        assert os.write(fd, line) == len(line)
    os.close(fd)
    return lines


def test_difference_appended_lines_are_all_there_and_whole(folder):
    path = f"{folder}/log"
    at_once(8, append_lines, path, 200)
    lines = cfs.read(path).decode().splitlines()
    expected = [f"process {number} line {i} {'x' * (i % 50)}"
                for number in range(8) for i in range(200)]
    assert sorted(lines) == sorted(expected)
    for number in range(8):
        mine = [line for line in lines if line.startswith(f"process {number} ")]
        assert mine == [line for line in expected if line.startswith(f"process {number} ")]


def append_by_shell(number, begin, path, lines):
    wait_until(begin)
    cfs.run("sh", "-c", f"i=0; while [ $i -lt {lines} ]; do echo {number}-$i >> {path}; "
            "i=$((i+1)); done", check=True)
    return 0


def test_difference_appending_redirections_lose_nothing(folder):
    at_once(4, append_by_shell, f"{folder}/log", 100)
    lines = cfs.read(f"{folder}/log").decode().splitlines()
    assert sorted(lines) == sorted(f"{number}-{i}" for number in range(4) for i in range(100))


def churn(number, begin, folder, seconds):
    """Everything at a few common names; only the errors that the race explains may come."""
    wait_until(begin)
    end = time.monotonic() + seconds
    expected = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY,
                errno.ESTALE}
    found = set()
    i = number
    while time.monotonic() < end:
        i += 1
        path, other = f"{folder}/n{i % 3}", f"{folder}/n{(i + number + 1) % 3}"
        for step in (lambda: cfs.write(path, b"x" * (i % 5000)), lambda: cfs.read(other),
                     lambda: os.rename(path, other), lambda: os.unlink(other),
                     lambda: os.mkdir(path), lambda: os.listdir(folder), lambda: os.rmdir(path)):
            try:
                step()
            except OSError as error:
                if error.errno not in expected:
                    found.add(errno.errorcode.get(error.errno, str(error.errno)))
    return sorted(found)


def test_a_mixed_race_gives_only_errors_that_it_explains(daemon, folder):
    assert at_once(6, churn, folder, 4) == [[]] * 6
    for name in cfs.names(folder):
        path = f"{folder}/{name}"
        os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
    assert daemon.alive()


def test_the_store_is_whole_after_all_this(daemon, mount):
    daemon.stop()
    daemon.check()
    daemon.start()
