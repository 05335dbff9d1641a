# SPDX-License-Identifier: Apache-2.0
"""--ack=rotation on three nodes with real corosync."""
import errno
import os

import pytest

import cfs
import cluster
from test_cluster import check_equal, read, settle, status, sync, write

pytestmark = pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not()))


@pytest.fixture(scope="module")
def ring():
    with cluster.Cluster(3, daemon=["--ack", "rotation"]) as instance:
        instance.start_daemons()
        instance.wait_quorate()
        settle(instance)
        yield instance


def test_every_kind_of_change_returns(ring):
    tree = ring[1].tree
    os.mkdir(f"{tree}/d")
    write(ring[1], "d/f", b"content")
    with open(f"{tree}/d/f", "ab") as file:
        file.write(b" more")
        os.fsync(file.fileno())
    os.rename(f"{tree}/d/f", f"{tree}/d/g")
    os.utime(f"{tree}/d/g", (1, 1))
    os.truncate(f"{tree}/d/g", 7)
    sync(ring[2])
    assert read(ring[2], "d/g") == b"content"
    os.unlink(f"{ring[2].tree}/d/g")
    os.rmdir(f"{ring[2].tree}/d")
    check_equal(ring)
    assert status(ring[1])["cluster"]["awaiting_rotation"] == 0


def rotations(ring):
    return status(ring[1])["cluster"]["rotations"]


def test_each_change_waits_for_a_marker(ring):
    for change in (lambda: os.mkdir(f"{ring[1].tree}/m"), lambda: os.rmdir(f"{ring[1].tree}/m"),
                   lambda: write(ring[1], "w", b"x"), lambda: os.unlink(f"{ring[1].tree}/w")):
        before = rotations(ring)
        change()
        assert rotations(ring) == before + 1


def test_many_writers_share_the_marker(ring):
    def writer(number):
        for count in range(50):
            write(ring[1], f"w-{number}-{count}", b"x")
    before = rotations(ring)
    children = cfs.Children()
    for number in range(8):
        children.start(writer, number)
    try:
        children.results(60)
    finally:
        children.kill()
    assert 50 <= rotations(ring) - before < 400
    sync(ring[3])
    assert len([name for name in os.listdir(ring[3].tree) if name.startswith("w-")]) == 400
    check_equal(ring)


def test_a_minority_of_daemons_changes_nothing(ring):
    """corosync has quorum all the time: its nodes are there, but not their daemons."""
    ring[2].kill_daemon()
    write(ring[1], "two-are-enough", b"x")
    ring[3].kill_daemon()
    cluster.wait_for(lambda: not status(ring[1])["quorate"], 10, "the daemon alone has no quorum")
    assert "--ack=rotation" in status(ring[1])["cluster"]["why_not_quorate"]
    with pytest.raises(OSError) as refused:
        write(ring[1], "refused", b"")
    assert refused.value.errno == errno.EACCES
    ring[2].start_daemon()
    settle(ring, (1, 2))
    write(ring[1], "again", b"x")
    ring[3].start_daemon()
    settle(ring)
    check_equal(ring)
    assert read(ring[3], "again") == b"x" and read(ring[3], "two-are-enough") == b"x"
