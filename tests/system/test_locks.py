# SPDX-License-Identifier: Apache-2.0
"""Lock directories below priv/lock. What happens after 120 s is tested with a clock of the
tests' own, in the unit tests."""
import errno
import os
import time

import pytest

import cfs
from cfs import raises


@pytest.fixture
def lock(mount, request):
    """A path below priv/lock that nothing is at."""
    os.makedirs(f"{mount}/priv/lock", exist_ok=True)
    return f"{mount}/priv/lock/{request.node.name}"


def test_mkdir_takes_and_rmdir_releases(lock):
    for _ in range(3):
        os.mkdir(lock)
        with raises(errno.EEXIST):
            os.mkdir(lock)
        os.rmdir(lock)
    with raises(errno.ENOENT):
        os.rmdir(lock)


def test_a_young_lock_is_not_removed_on_request(lock):
    os.mkdir(lock)
    before = os.stat(lock).st_mtime
    with raises(errno.EACCES):
        os.utime(lock, (0, 0))
    assert cfs.fresh_stat(lock).mtime.sec == int(before)


def test_the_request_for_a_lock_that_is_gone_is_enoent(lock):
    with raises(errno.ENOENT):
        os.utime(lock, (0, 0))


def test_a_lock_is_refreshed_with_its_time_or_a_later_one(lock):
    os.mkdir(lock)
    now = int(os.stat(lock).st_mtime)
    for mtime in (now, now, now + 1, now + 100):
        cfs.set_mtime(lock, mtime)
        assert cfs.fresh_stat(lock).mtime.sec == mtime
    for mtime in (now + 99, now, 1):
        with raises(errno.EACCES):
            cfs.set_mtime(lock, mtime)
    assert cfs.fresh_stat(lock).mtime.sec == now + 100


def test_a_lock_is_refreshed_with_the_present_time(lock):
    os.mkdir(lock)
    os.utime(lock)
    cfs.run("touch", lock, check=True)


def test_a_lock_with_content_stays(lock):
    os.mkdir(lock)
    cfs.write(f"{lock}/owner", b"me")
    with raises(errno.ENOTEMPTY):
        os.rmdir(lock)
    os.unlink(f"{lock}/owner")
    os.rmdir(lock)


def test_deeper_directories_take_any_time(lock):
    os.makedirs(f"{lock}/deep")
    cfs.set_mtime(f"{lock}/deep", 1000)
    assert cfs.fresh_stat(f"{lock}/deep").mtime.sec == 1000


def test_files_beside_locks_take_any_time(lock):
    cfs.write(lock, b"no lock")
    cfs.set_mtime(lock, 1000)
    assert cfs.fresh_stat(lock).mtime.sec == 1000
    os.unlink(lock)


def test_the_lock_directory_itself_takes_any_time(mount, lock):
    cfs.set_mtime(f"{mount}/priv/lock", 1000)
    assert cfs.fresh_stat(f"{mount}/priv/lock").mtime.sec == 1000


def locked_increments(lock, counter, rounds):
    """As the management stack does it: take, or ask for removal and try again."""
    for _ in range(rounds):
        end = time.monotonic() + 20
        while True:
            try:
                os.mkdir(lock)
                break
            except FileExistsError:
                cfs.errno_of(os.utime, lock, (0, 0))
                assert time.monotonic() < end, "the lock was never free"
        value = int(cfs.read(counter))
        cfs.write(counter, str(value + 1).encode())
        os.rmdir(lock)
    return rounds


def test_a_lock_excludes(folder, lock):
    counter = f"{folder}/counter"
    cfs.write(counter, b"0")
    children = cfs.Children()
    for _ in range(4):
        children.start(locked_increments, lock, counter, 50)
    children.results()
    assert cfs.read(counter) == b"200"


def test_locks_survive_a_restart(make_daemon):
    daemon = make_daemon().start()
    os.makedirs(daemon.path("priv/lock/held"))
    daemon.restart()
    with raises(errno.EEXIST):
        os.mkdir(daemon.path("priv/lock/held"))
    with raises(errno.EACCES):
        os.utime(daemon.path("priv/lock/held"), (0, 0))
    daemon.stop()
