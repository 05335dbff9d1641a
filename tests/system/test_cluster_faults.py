# SPDX-License-Identifier: Apache-2.0
"""Nodes that are ill: full disks, daemons and corosyncs that hang, end and return under load."""
import errno
import os
import signal
import statistics
import time

import pytest

import cfs
import cluster
from test_cluster import check_equal, path, read, settle, status, sync, write

pytestmark = [
    pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not())),
    pytest.mark.skipif(not cfs.LONG, reason="only with --long"),
]

NODES = (1, 2, 3)
DEADLINE = 6  # of a change, in seconds
STATE = "/var/lib/pve-cluster"
RECIPE_SECONDS = 600


@pytest.fixture(scope="module")
def ring():
    with cluster.Cluster(3, daemon=["--deadline", str(DEADLINE)]) as instance:
        instance.start_daemons()
        instance.wait_quorate()
        settle(instance)
        yield instance


@pytest.fixture(autouse=True)
def whole(ring):
    """Each test begins and ends with three equal nodes."""
    yield
    settle(ring, seconds=60)
    check_equal(ring)


# --- Writers ---

class Writers:
    """Processes that write files all the time, each on its node, until the block ends. What each
    did is in `done`: node, name, when it began, how long it took, and 0 or the error's name."""

    def __init__(self, ring, numbers, folder, pause=0.01):
        self.ring, self.numbers, self.folder, self.pause = ring, numbers, folder, pause
        self.children = cfs.Children()
        self.done = []
        # Only in the tree: where the mount is gone, no file can be made below it.
        os.mkdir(path(ring[numbers[0]], folder))
        for number in numbers:
            sync(ring[number])
        self.stop = os.pipe()

    def _write_on(self, number):
        os.close(self.stop[1])
        os.set_blocking(self.stop[0], False)
        done = []
        while self._goes_on():
            name = f"{self.folder}/{number}-{len(done)}"
            began = time.monotonic()
            code = cfs.errno_of(write, self.ring[number], name, name.encode())
            done.append([number, name, began, time.monotonic() - began, code])
            time.sleep(self.pause)
        return done

    def _goes_on(self):
        try:
            return os.read(self.stop[0], 1) != b""
        except BlockingIOError:
            return True

    def __enter__(self):
        for number in self.numbers:
            self.children.start(self._write_on, number)
        os.close(self.stop[0])
        return self

    def __exit__(self, kind, error, trace):
        os.close(self.stop[1])
        if kind is not None:
            return self.children.kill()
        self.done = sum(self.children.results(60), [])

    def acknowledged(self, since=0.0, until=float("inf")):
        return [one for one in self.done if not one[4] and since <= one[2] < until]

    def errors(self):
        counts = {}
        for one in self.done:
            if one[4]:
                counts[one[4]] = counts.get(one[4], 0) + 1
        return counts

    def slowest(self, since=0.0, until=float("inf")):
        return max(one[3] for one in self.done if since <= one[2] < until)


def check_kept(ring, writers):
    """Everything that was acknowledged is on every node."""
    settle(ring, seconds=60)
    check_equal(ring)
    names = [one[1] for one in writers.acknowledged()]
    lost = {}
    for number in NODES:
        there = set(os.listdir(path(ring[number], writers.folder)))
        missing = [name for name in names if name.split("/")[1] not in there]
        if missing:
            lost[number] = missing[:10]
    assert not lost, f"of {len(names)} acknowledged"
    for name in names[::max(1, len(names) // 200)]:
        assert read(ring[3], name) == name.encode()
    print(f"{len(names)} acknowledged, errors {writers.errors()}, "
          f"slowest {writers.slowest():.2f} s")
    return len(names)


def try_to_write(node, name):
    """[0 or the error's name, seconds]; from another process, which may be left behind."""
    def attempt():
        began = time.monotonic()
        return [cfs.errno_of(write, node, name, b"x"), time.monotonic() - began]
    return cfs.in_child(attempt, seconds=60)


# --- Disks ---

@pytest.fixture
def small_disk(ring):
    """The state of node 3 is on a small disk, at this path; its daemon has an empty store."""
    node = ring[3]
    node.stop_daemon()
    node.exec("mount", "-t", "tmpfs", "-o", "size=80m", "none", STATE, check=True)
    node.start_daemon()
    settle(ring)
    yield node.root + STATE
    node.stop_daemon()
    node.exec("umount", "-l", STATE, check=True)
    node.start_daemon()


def fill(folder):
    with open(f"{folder}/filler", "wb", buffering=0) as file:
        for size in (cfs.MIB, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC


def test_a_full_disk_on_one_node(ring, small_disk):
    """It leaves the group, its callers get an error at once, the others go on; and it returns."""
    write(ring[3], "before", b"before")
    fill(small_disk)
    with Writers(ring, (1, 2), "disk") as writers:
        for index in range(40):
            write(ring[1], f"disk/big-{index}", os.urandom(cfs.MIB))
            if 3 not in status(ring[1])["cluster"]["configuration"]["members"]:
                break
        settle(ring, (1, 2))
        for _ in range(3):
            code, seconds = try_to_write(ring[3], "refused")
            assert code in ("ENOSPC", "EIO", "EROFS", "EBUSY") and seconds < DEADLINE / 2
            time.sleep(0.5)
        found = status(ring[3])
        assert "cannot be stored" in found["cluster"]["configuration"]["last_leave"]
        assert read(ring[3], "before") == b"before"
    assert not writers.errors()
    assert writers.slowest() < DEADLINE / 2
    os.unlink(f"{small_disk}/filler")
    settle(ring, seconds=60)
    check_kept(ring, writers)
    write(ring[3], "there-is-room-again", b"")
    for index in range(40):
        if os.path.exists(path(ring[1], f"disk/big-{index}")):
            os.remove(path(ring[1], f"disk/big-{index}"))


# --- Daemons that hang ---

def test_a_daemon_that_hangs_does_not_delay_the_others(ring):
    """Corosync goes on without it, and keeps its messages for it."""
    seconds = 20 if cfs.LONG else 4
    with Writers(ring, (1, 2), "hang") as writers:
        time.sleep(2)
        stopped = time.monotonic()
        ring[3].pause_daemon()
        try:
            time.sleep(seconds)
            resumed = time.monotonic()
        finally:
            ring[3].resume_daemon()
        time.sleep(1)
    before = [one[3] for one in writers.acknowledged(until=stopped)]
    during = [one[3] for one in writers.acknowledged(stopped, resumed)]
    print(f"median {statistics.median(before) * 1000:.1f} ms before, "
          f"{statistics.median(during) * 1000:.1f} ms during, slowest {max(during):.3f} s")
    assert not writers.errors()
    assert statistics.median(during) < 3 * statistics.median(before) + 0.01
    assert max(during) < 1 + 3 * max(before)
    check_kept(ring, writers)


def test_a_member_that_joins_waits_for_a_daemon_that_hangs(ring):
    """So the protocol is: a state sync needs the state of each member, and changes wait for it.
    Callers get an answer by the deadline, and all goes on when the daemon does."""
    ring[3].pause_daemon()
    try:
        ring[2].stop_daemon()
        ring[2].start_daemon()
        cluster.wait_for(lambda: status(ring[1])["cluster"]["configuration"]["mode"]
                         == "collecting indexes", 10, "node 1 waits for node 3")
        code, seconds = try_to_write(ring[1], "waits")
        assert code == "ETIMEDOUT" and seconds < DEADLINE * 2
        assert os.listdir(ring[1].tree)
    finally:
        ring[3].resume_daemon()
    settle(ring)
    write(ring[1], "goes-on", b"")


# --- Corosyncs that hang ---

def test_a_corosync_that_hangs_is_thrown_out(ring):
    node = ring[3]
    with Writers(ring, (1, 2), "token") as writers:
        node.corosync.send(signal.SIGSTOP)
        try:
            # Neither its callers nor who asks for its state wait for ever.
            for _ in range(2 if cfs.LONG else 1):
                code, seconds = try_to_write(node, "refused")
                print(f"its caller: {code} after {seconds:.1f} s")
                assert code in ("ETIMEDOUT", "EBUSY", "EACCES")
                assert seconds < DEADLINE * 2
                assert status(node)["node"] == "n3"
            settle(ring, (1, 2))
        finally:
            node.corosync.send(signal.SIGCONT)
        settle(ring, seconds=60)
    # A token of 1.65 s for three nodes, a consensus of 1.2 times that, and the state sync.
    assert writers.slowest() < DEADLINE
    assert not writers.errors()
    check_kept(ring, writers)


# --- Under load ---

def test_daemons_leave_and_return_during_a_state_sync(ring):
    rounds = 15 if cfs.LONG else 4
    with Writers(ring, (1,), "sync") as writers:
        for count in range(rounds):
            for number in (2, 3):
                if count % 2:
                    ring[number].kill_daemon()
                else:
                    ring[number].stop_daemon()
            for number in (2, 3):
                ring[number].start_daemon(wait=False)
                time.sleep(0.02 * count)
            for number in (3, 2):  # and again before they are in sync, or just then
                ring[number].wait_mounted()
                ring[number].kill_daemon()
                ring[number].start_daemon()
        settle(ring)
    assert not writers.errors()
    assert check_kept(ring, writers) > 50


def restart_corosync(node, signal_number=signal.SIGTERM):
    node.corosync.end(signal_number)
    node.start_corosync()


def test_corosync_is_upgraded_node_by_node(ring):
    with Writers(ring, NODES, "upgrade") as writers:
        for number in NODES:
            time.sleep(0.5)
            restart_corosync(ring[number])
            settle(ring, seconds=60)
    assert check_kept(ring, writers) > 100
    assert set(writers.errors()) <= {"EACCES", "EPERM", "EBUSY", "ETIMEDOUT"}


def test_a_daemon_is_killed_again_and_again(ring):
    end = time.monotonic() + (60 if cfs.LONG else 6)
    killed = 0
    with Writers(ring, NODES, "killed") as writers:
        while time.monotonic() < end:
            number = NODES[killed % 3]
            ring[number].kill_daemon()
            time.sleep(0.05 * (killed % 4))
            ring[number].start_daemon()
            settle(ring)
            killed += 1
            time.sleep(0.1)
    print(f"killed {killed} times")
    assert killed > 2
    assert check_kept(ring, writers) > 100


@pytest.mark.skipif(not cfs.LONG, reason="ten minutes; scripts/test --long")
@pytest.mark.seconds(RECIPE_SECONDS + 200)
def test_corosyncs_known_worst_case(ring):
    """One node restarts corosync every 30 s while two others write every 0.2 s."""
    end = time.monotonic() + RECIPE_SECONDS
    restarts = 0
    with Writers(ring, (1, 2), "recipe", pause=0.2) as writers:
        while time.monotonic() < end:
            restart_corosync(ring[3])
            restarts += 1
            time.sleep(30)
            settle(ring)
    print(f"{restarts} restarts")
    assert not writers.errors()
    check_kept(ring, writers)
