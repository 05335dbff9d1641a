# SPDX-License-Identifier: Apache-2.0
"""Three nodes with real corosync: what one node does the others see, whatever breaks meanwhile."""
import errno
import json
import os
import shutil
import time

import pytest

import cfs
import cluster
from test_recovery import page_sections

pytestmark = pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not()))

NODES = (1, 2, 3)


def status(node, checksum=False, or_nothing=False):
    result = node.exec(cfs.program("cfsgate"), "status", "--json",
                       *(["--checksum"] if checksum else []))
    if or_nothing and result.returncode == 3:
        return None  # it is starting
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def group(node):
    return status(node)["cluster"]["configuration"]


def cfsgate(node, *words, check=True):
    result = node.exec(cfs.program("cfsgate"), *words)
    assert not check or result.returncode == 0, f"cfsgate {' '.join(words)}: {result.stderr}"
    return result


def sync(node):
    cfsgate(node, "sync")


def path(node, name):
    return os.path.join(node.tree, name)


def read(node, name):
    with open(path(node, name), "rb") as stream:
        return stream.read()


def write(node, name, data):
    with open(path(node, name), "wb") as stream:
        stream.write(data)


def settle(ring, nodes=NODES, seconds=40):
    """Until these nodes are one group in sync, each with quorum."""
    def together():
        for number in nodes:
            found = status(ring[number], or_nothing=True)
            if found is None:
                return False
            members = found["cluster"]["configuration"]["members"]
            if found["cluster"]["configuration"]["mode"] != "synced" or members != list(nodes):
                return False
            if not found["quorate"]:
                return False
        return True
    cluster.wait_for(together, seconds, f"nodes {nodes} are one group in sync", every=0.1)


def check_equal(ring, nodes=NODES):
    """All have the same tree, to the byte."""
    for number in nodes:
        sync(ring[number])
    trees = [status(ring[number], checksum=True)["tree"] for number in nodes]
    first = (trees[0]["version"], trees[0]["checksum"])
    for number, tree in zip(nodes, trees):
        assert (tree["version"], tree["checksum"]) == first, f"node {number} differs"


@pytest.fixture(scope="module")
def ring():
    with cluster.Cluster(3) as instance:
        instance.start_daemons()
        instance.wait_quorate()
        settle(instance)
        yield instance


@pytest.fixture(autouse=True)
def whole(ring):
    """Each test begins and ends with three equal nodes."""
    yield
    settle(ring)
    check_equal(ring)


# --- What one node does ---

def test_changes_are_seen_everywhere(ring):
    write(ring[1], "one", b"of node 1")
    os.mkdir(path(ring[2], "directory"))
    sync(ring[3])
    assert read(ring[3], "one") == b"of node 1"
    os.rename(path(ring[3], "one"), path(ring[3], "directory/moved"))
    os.utime(path(ring[3], "directory/moved"), (1700000000, 1700000000))
    sync(ring[1])
    assert os.stat(path(ring[1], "directory/moved")).st_mtime == 1700000000
    # The kernel may know a name for half a second yet.
    cluster.wait_for(lambda: not os.path.exists(path(ring[1], "one")), 1, "the old name is gone")
    os.remove(path(ring[1], "directory/moved"))
    os.rmdir(path(ring[1], "directory"))
    sync(ring[2])
    cluster.wait_for(lambda: not os.path.exists(path(ring[2], "directory")), 1, "it is gone")


def test_a_mebibyte_is_one_change(ring):
    data = os.urandom(cfs.MIB)
    write(ring[1], "big", b"")
    before = status(ring[1])["tree"]["version"]
    descriptor = os.open(path(ring[1], "big"), os.O_WRONLY | os.O_TRUNC)
    with open(descriptor, "wb", buffering=0) as stream:
        stream.write(data)
    assert status(ring[1])["tree"]["version"] - before <= 2  # where the memory does not begin at a page
    sync(ring[3])
    assert read(ring[3], "big") == data
    os.remove(path(ring[2], "big"))


def test_all_write_at_once(ring):
    def writer(number):
        node = ring[number]
        os.mkdir(path(node, f"of-{number}"))
        for count in range(60):
            write(node, f"of-{number}/{count}", b"x" * (count * 37 % 5000))
            if count % 3 == 0:
                os.rename(path(node, f"of-{number}/{count}"), path(node, f"of-{number}/new-{count}"))
            if count % 5 == 4:
                os.remove(path(node, f"of-{number}/{count - 1 if (count - 1) % 3 else f'new-{count - 1}'}"))
    children = cfs.Children()
    for number in NODES:
        children.start(writer, number)
    children.results(120)
    check_equal(ring)
    assert len(os.listdir(path(ring[1], "of-2"))) == 48


def test_members_and_version(ring):
    members = json.loads(read(ring[2], ".members"))
    assert members["nodename"] == "n2"
    assert members["cluster"]["nodes"] == 3 and members["cluster"]["quorate"] == 1
    assert {name: (node["id"], node["online"]) for name, node in members["nodelist"].items()} == {
        "n1": (1, 1), "n2": (2, 1), "n3": (3, 1)}
    assert all(node["ip"].startswith("10.") for node in members["nodelist"].values())


# --- One winner ---

@pytest.mark.parametrize("make", ["create", "mkdir"])
def test_one_node_wins(ring, make):
    rounds = 1000 if cfs.LONG else 60

    def contend(number):
        won = []
        for count in range(rounds):
            name = path(ring[number], f"race/{make}-{count}")
            try:
                if make == "mkdir":
                    os.mkdir(name)
                else:
                    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                won.append(count)
            except FileExistsError:
                pass
        return won
    os.makedirs(path(ring[1], "race"), exist_ok=True)
    for number in NODES:
        sync(ring[number])
    children = cfs.Children()
    for number in NODES:
        children.start(contend, number)
    winners = sum(children.results(300), [])
    assert sorted(winners) == list(range(rounds))


def test_a_file_that_another_node_has_just_made_is_opened(ring):
    def opener(number):
        for count in range(40):
            os.close(os.open(path(ring[number], f"shared-{count}"), os.O_CREAT | os.O_WRONLY))
    children = cfs.Children()
    for number in NODES:
        children.start(opener, number)
    children.results()


# --- Exact reads ---

def test_sync_makes_write_tell_read_exact(ring):
    """"Write on A, tell B, read on B": with sync it never reads what was before."""
    write(ring[1], "exact", b"0")
    for count in range(1, 40):
        writer, reader = ring[1 + count % 3], ring[1 + (count + 1) % 3]
        write(writer, "exact", str(count).encode())
        if count % 2:
            sync(reader)
        else:
            directory = os.open(reader.tree, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(directory)
            os.close(directory)
        assert read(reader, "exact") == str(count).encode()


# --- Partitions ---

def test_a_minority_is_read_only_and_catches_up(ring):
    write(ring[3], "before", b"before")
    sync(ring[1])
    ring.partition([1, 2], [3])
    cluster.wait_for(lambda: not status(ring[3])["quorate"], 20, "node 3 has lost quorum")
    noticed = time.monotonic()
    while os.lstat(path(ring[3], "local")).st_mode & 0o200:
        assert time.monotonic() - noticed < 1, "the mode of 'local' shows quorum"
        time.sleep(0.05)
    assert read(ring[3], "before") == b"before"
    with pytest.raises(OSError) as refused:
        write(ring[3], "refused", b"")
    assert refused.value.errno == errno.EACCES
    purge = cfsgate(ring[3], "history", "purge", "before", "--all-nodes", check=False)
    assert purge.returncode == 1 and "no quorum" in purge.stdout
    settle(ring, (1, 2))
    for count in range(100):
        write(ring[1 + count % 2], f"meanwhile-{count}", str(count).encode())
    os.remove(path(ring[1], "before"))
    assert status(ring[3])["cluster"]["why_not_quorate"]
    ring.heal()
    settle(ring)
    assert read(ring[3], "meanwhile-99") == b"99"
    cluster.wait_for(lambda: not os.path.exists(path(ring[3], "before")), 1, "it is gone")
    write(ring[3], "after", b"")


# --- Ends and beginnings ---

@pytest.mark.parametrize("number", [1, 3])
def test_a_killed_daemon_comes_back(ring, number):
    """Also that of the lowest node, which begins each state sync."""
    others = [one for one in NODES if one != number]
    write(ring[number], f"killed-{number}", b"acknowledged")
    ring[number].kill_daemon()
    settle(ring, others)
    write(ring[others[0]], f"meanwhile-{number}", b"x")
    ring[number].start_daemon()
    settle(ring)
    assert read(ring[number], f"killed-{number}") == b"acknowledged"
    assert read(ring[number], f"meanwhile-{number}") == b"x"


def test_corosync_ends_and_returns(ring):
    ring[2].kill_corosync()
    cluster.wait_for(lambda: not status(ring[2])["quorate"], 5, "node 2 has lost quorum")
    with pytest.raises(OSError) as refused:
        write(ring[2], "refused", b"")
    assert refused.value.errno == errno.EACCES
    settle(ring, (1, 3))
    write(ring[1], "without-2", b"x")
    ring[2].start_corosync()
    settle(ring)
    assert read(ring[2], "without-2") == b"x"


def test_a_node_is_switched_off(ring):
    write(ring[3], "durable", b"acknowledged")
    ring[3].kill()
    settle(ring, (1, 2))
    write(ring[2], "while-off", b"x")
    ring[3].restart()
    settle(ring)
    assert read(ring[3], "while-off") == b"x" and read(ring[1], "durable") == b"acknowledged"


def test_an_acknowledged_write_is_not_lost(ring):
    """Two nodes write on while the third one's daemon and corosync are killed in turn."""
    def writer(number):
        acknowledged = []
        end = time.monotonic() + 12
        count = 0
        while time.monotonic() < end:
            name = f"kept/{number}-{count}"
            try:
                write(ring[number], name, name.encode())
                acknowledged.append(name)
            except OSError:
                time.sleep(0.05)
            count += 1
        return acknowledged
    os.mkdir(path(ring[1], "kept"))
    for number in NODES:
        sync(ring[number])
    children = cfs.Children()
    for number in (1, 2):
        children.start(writer, number)
    ring[3].kill_daemon()
    time.sleep(1)
    ring[3].start_daemon()
    time.sleep(2)
    ring[3].kill_corosync()
    time.sleep(1)
    ring[3].start_corosync()
    acknowledged = sum(children.results(), [])
    settle(ring)
    assert len(acknowledged) > 50
    for number in NODES:
        there = set(os.listdir(path(ring[number], "kept")))
        assert all(name.removeprefix("kept/") in there for name in acknowledged)
    for name in acknowledged:
        assert read(ring[3], name) == name.encode()


def test_verification(ring):
    for number in NODES:
        write(ring[number], f"verified-{number}", b"x")
    result = cfsgate(ring[1], "verify")
    assert "equal" in result.stdout
    cluster.wait_for(lambda: (status(ring[3])["cluster"]["last_verification"] or {}).get("equal"), 10,
                     "node 3 has verified its tree")


# --- A secret in the past of all nodes ---

SECRET = b"Tr0ub4dor&3-is-the-secret"


def files_with(node, secret):
    """The files of its state directory that have these bytes in them."""
    found = []
    for folder, _, names in os.walk(node.disk()):
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as stream:
                    if secret in stream.read():
                        found.append(name)
            except FileNotFoundError:
                pass  # it was replaced by a purge
    return found


def expect_purged(ring, secret, name, version, nodes=NODES):
    for number in nodes:
        cluster.wait_for(lambda node=ring[number]: not files_with(node, secret), 20,
                         f"node {number} has purged its past", every=0.05)
        shown = cfsgate(ring[number], "show", f"{name}@{version}", check=False)
        assert shown.returncode == 1 and "purged" in shown.stdout, f"node {number}: {shown}"
        assert read(ring[number], name) == b"new", f"node {number}"


def secret_that_was_overwritten(ring, name, secret):
    """A secret in the past of all nodes; the version at which it was there."""
    write(ring[1], name, secret)
    version = status(ring[1])["tree"]["version"]
    write(ring[1], name, b"new")
    for number in NODES:
        sync(ring[number])
        assert files_with(ring[number], secret)
        assert cfsgate(ring[number], "show", f"{name}@{version}").stdout.encode() == secret
    return version


def expect_in_log(node, level, text):
    def there():
        with open(node.log_path("daemon"), encoding="utf-8", errors="replace") as stream:
            return any(level in line and text in line for line in stream)
    cluster.wait_for(there, 5, f"node {node.number} has logged: {text}", every=0.05)


def test_a_secret_is_purged_on_all_nodes(ring):
    os.makedirs(path(ring[1], "priv"), exist_ok=True)
    version = secret_that_was_overwritten(ring, "priv/key", SECRET)
    before = status(ring[2], checksum=True)["tree"]
    records = status(ring[3])["store"]["journal"]["appended"]
    asked = cfsgate(ring[2], "history", "purge", "/priv//key/", "--all-nodes")
    assert "asked to do the same, with the result in their logs: n1, n3\n" in asked.stdout
    assert "Backups keep what they have, and so do nodes that run pmxcfs." in asked.stdout
    expect_purged(ring, SECRET, "priv/key", version)
    # The message was nobody's change.
    assert status(ring[3], checksum=True)["tree"] == before
    assert status(ring[3])["store"]["journal"]["appended"] == records
    for number in (1, 3):
        expect_in_log(ring[number], "info", "'priv/key' purged as node 2 has asked: ")
    refused = cfsgate(ring[2], "history", "purge", "priv/../key", "--all-nodes", check=False)
    assert refused.returncode == 1 and "'..'" in refused.stdout


def test_a_node_that_is_down_is_not_asked_to_purge(ring):
    secret = SECRET + b"-2"
    version = secret_that_was_overwritten(ring, "secret-2", secret)
    ring[3].kill_daemon()
    settle(ring, (1, 2))
    asked = cfsgate(ring[1], "history", "purge", "secret-2", "--all-nodes", check=False)
    assert asked.returncode == 1
    assert "asked to do the same, with the result in their logs: n2\n" in asked.stdout
    assert "not in the group, so not asked, and they keep their past: n3\n" in asked.stdout
    expect_purged(ring, secret, "secret-2", version, nodes=(1, 2))
    asked = ring[1].exec("sh", "-c", '"$0" history purge secret-2 --all-nodes --json 2>/dev/null',
                         cfs.program("cfsgate"))
    assert asked.returncode == 1
    answer = json.loads(asked.stdout)
    assert answer["nodes"] == {"asked": ["n2"], "missed": ["n3"]}
    assert answer["records"] == 0 and answer["still_there"] == ["secret-2"]
    ring[3].start_daemon()
    settle(ring)
    assert files_with(ring[3], secret), "nobody has told it"
    cfsgate(ring[1], "history", "purge", "secret-2", "--all-nodes")
    expect_purged(ring, secret, "secret-2", version)


def test_the_page_for_one_damaged_node(ring):
    """docs/recovery.md, its commands exactly as written; systemctl is played."""
    node = ring[3]
    write(ring[1], "page", b"before")
    sync(node)
    node.stop_daemon()
    write(ring[1], "page", b"newer")
    # On a host the place is a directory, not a disk of its own.
    assert node.exec("umount", "/var/lib/pve-cluster").returncode == 0
    place = node.root + "/var/lib/pve-cluster"
    shutil.copytree(node.disk(), place, dirs_exist_ok=True)
    with open(place + "/tree.mdb", "r+b") as file:
        file.write(b"damaged" * 1000)
    for line in page_sections()["One node of a cluster"].splitlines():
        if line == "systemctl start cfsgated":
            node.start_daemon()
        elif line != "systemctl stop cfsgated":
            programs = os.path.dirname(cfs.program("cfsgate"))
            done = node.exec("sh", "-c", f'PATH="{programs}:$PATH"; {line}')
            assert done.returncode == 0, f"{line}: {done.stdout}"
    assert "synced" in done.stdout
    settle(ring)
    assert read(node, "page") == b"newer"
    check_equal(ring)
    assert "tree.mdb" in os.listdir(place + ".old")
