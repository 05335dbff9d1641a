# SPDX-License-Identifier: Apache-2.0
"""cfsgate backup, recover, cat and ls, with a running daemon and without one."""
import json
import os
import shutil
import subprocess
import threading

import pytest

import cfs


@pytest.fixture
def node(make_daemon):
    daemon = make_daemon(nfs=True).start()
    for path in ("nodes", "nodes/pve1", "nodes/pve1/qemu-server", "priv"):
        if not os.path.isdir(daemon.path(path)):
            os.mkdir(daemon.path(path))
    cfs.write(daemon.path("nodes/pve1/qemu-server/100.conf"), b"memory: 512\n")
    cfs.write(daemon.path("storage.cfg"), b"dir: local\n\tnodes pve1\n")
    cfs.write(daemon.path("priv/key"), b"secret\n")
    cfs.write(daemon.path("large"), b"l" * 200000)
    yield daemon
    if daemon.alive():
        daemon.stop()


def stored(directory, path=""):
    """The stored entries below `path`, by `cfsgate ls` and `cat` on the files: path -> content."""
    found = {}
    listing = cfs.cfsgate("ls", "--json", "--state", directory, "--control", "/nowhere", path,
                          check=True)
    for entry in json.loads(listing.stdout)["entries"]:
        name = os.path.join(path, entry["name"])
        if entry["kind"] == "directory":
            found[name] = None
            found.update(stored(directory, name))
        else:
            found[name] = subprocess.run([cfs.program("cfsgate"), "cat", "--state", directory,
                                          "--control", "/nowhere", name], check=True,
                                         stdout=subprocess.PIPE).stdout
    return found


def mounted(top, path=""):
    """The same of a mount, without what is not stored."""
    found = {}
    for name in os.listdir(os.path.join(top, path)):
        place = os.path.join(path, name)
        if not path and (name in cfs.VIRTUAL_FILES or name in cfs.VIRTUAL_LINKS):
            continue
        if os.path.isdir(os.path.join(top, place)):
            found[place] = None
            found.update(mounted(top, place))
        else:
            found[place] = cfs.read(os.path.join(top, place))
    return found


def look(file):
    return json.loads(cfs.cfsgate("backup", "--check", "--json", file, check=True).stdout)


def recover(file, directory, *arguments):
    return cfs.cfsgate("recover", "--state", directory, file, *arguments, check=True).stdout


# --- Backup ---

def test_of_a_running_daemon(node, tmp_path):
    """It holds what the mount shows, says whose it is, and is for root alone."""
    file = str(tmp_path / "backup")
    checksum = node.checksum()
    done = node.client("backup", file)
    assert "node pve1" in done.stdout
    assert os.stat(file).st_mode & 0o7777 == 0o600
    found = look(file)
    assert (found["node"], found["checksum"]) == ("pve1", checksum)
    assert os.listdir(tmp_path) == ["backup"]
    recover(file, str(tmp_path / "new"))
    assert stored(str(tmp_path / "new")) == mounted(node.mount)


def test_of_a_stopped_daemon(node, tmp_path):
    """The same without a daemon, and also after a crash; nothing of the store is changed."""
    file = str(tmp_path / "backup")
    before = mounted(node.mount)
    node.kill()
    files = {name: cfs.read(os.path.join(node.state, name)) for name in os.listdir(node.state)}
    done = node.client("backup", "--node-name", "pve1", file)
    assert "node pve1" in done.stdout and done.stderr == ""
    assert {name: cfs.read(os.path.join(node.state, name))
            for name in os.listdir(node.state)} == files
    recover(file, str(tmp_path / "new"))
    assert stored(str(tmp_path / "new")) == before


def test_while_writers_run(node, tmp_path):
    """Two files that are always changed together, first one then the other, are never further
    apart in a backup: it is one moment's tree."""
    for name in ("first", "second"):
        cfs.write(node.path(name), b"0")
    end = threading.Event()

    def writer():
        number = 0
        while not end.is_set():
            number += 1
            for name in ("first", "second"):
                cfs.replace(node.path(name), str(number).encode() + b" " * 5000)

    thread = threading.Thread(target=writer)
    thread.start()
    seen = set()
    try:
        for number in range(12):
            file = str(tmp_path / f"backup{number}")
            node.client("backup", file)
            directory = str(tmp_path / f"new{number}")
            recover(file, directory)
            first, second = (int(cfs.cfsgate("cat", "--state", directory, "--control", "/nowhere",
                                             name, check=True).stdout) for name in
                             ("first", "second"))
            assert first - 1 <= second <= first, (first, second)
            seen.add(first)
            shutil.rmtree(directory)
    finally:
        end.set()
        thread.join()
    assert len(seen) > 1, "the writer did nothing meanwhile"


def test_an_existing_file_is_not_replaced(node, tmp_path):
    file = tmp_path / "backup"
    file.write_text("precious")
    done = node.client("backup", file, check=False)
    assert done.returncode == 1 and "exists already" in done.stderr
    assert file.read_text() == "precious"
    node.client("backup", "--force", file)
    look(str(file))


def test_not_into_the_tree(node):
    """The daemon would wait for itself."""
    for place in (node.path("backup"), node.path("nodes/../backup")):
        with cfs.faster_than(5, "a refusal"):
            done = node.client("backup", place, check=False)
        assert done.returncode == 1 and "cannot lie in the tree" in done.stderr
    with pytest.raises(AssertionError, match="cannot lie in the tree"):
        node.request("backup", file=node.path("backup"))
    with pytest.raises(AssertionError, match="must be absolute"):
        node.request("backup", file="backup")


def test_a_flipped_byte_is_refused(node, tmp_path):
    """Anywhere: by --check and by recover, which makes nothing then."""
    file = tmp_path / "backup"
    node.client("backup", str(file))
    whole = file.read_bytes()
    places = [0, 16, 20, 40, 60, 100, 200, len(whole) // 2, len(whole) - 33, len(whole) - 1]
    for at in places:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        done = cfs.cfsgate("backup", "--check", str(file))
        assert done.returncode == 1
        assert "checksum does not fit" in done.stderr or "not a backup" in done.stderr, done.stderr
        done = cfs.cfsgate("recover", "--state", str(tmp_path / "new"), str(file))
        assert done.returncode == 1 and not os.path.exists(tmp_path / "new")
    file.write_bytes(whole[:-100])
    done = cfs.cfsgate("backup", "--check", str(file))
    assert done.returncode == 1 and "checksum does not fit" in done.stderr


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    cfs.run("mount", "-t", "tmpfs", "-o", "size=100k", "none", place, check=True)
    yield place
    cfs.run("umount", place, check=True)


def test_a_full_disk_leaves_nothing_behind(node, small_disk):
    for stop in (False, True):
        if stop:
            node.stop()
        done = node.client("backup", small_disk / "backup", check=False)
        assert done.returncode == 1 and "No space left" in done.stderr, done.stderr
        assert os.listdir(small_disk) == []
    # A former one survives.
    (small_disk / "backup").write_text("precious")
    done = node.client("backup", "--force", small_disk / "backup", check=False)
    assert done.returncode == 1
    assert (small_disk / "backup").read_text() == "precious"


# --- Recovery ---

def test_the_recovered_tree_is_served(node, tmp_path, make_daemon):
    """By FUSE and by NFS; and handles of the old node stay good."""
    file = str(tmp_path / "backup")
    node.client("backup", file)
    before = mounted(node.mount)
    status = node.status()["nfs"]
    assert status["on"], status
    node.stop()
    fresh = make_daemon(nfs=True)
    recover(file, fresh.state)
    fresh.start()
    assert mounted(fresh.mount) == before
    port = fresh.status()["nfs"]["addresses"][0].rpartition(":")[2]
    done = cfs.cfsgate("nfs", "cat", "--port", port, "nodes/pve1/qemu-server/100.conf", check=True)
    assert done.stdout == "memory: 512\n"
    cfs.write(fresh.path("new"), b"goes on")
    fresh.stop()
    fresh.check()


def test_onto_another_name(node, tmp_path, make_daemon):
    file = str(tmp_path / "backup")
    node.client("backup", file)
    node.stop()
    fresh = make_daemon(node_name="pve9")
    text = recover(file, fresh.state, "--node-name", "pve9")
    assert "nodes/pve1 is now nodes/pve9" in text and "storage.cfg" in text
    fresh.start()
    assert cfs.read(fresh.path("local/qemu-server/100.conf")) == b"memory: 512\n"
    guests = json.loads(cfs.read(fresh.path(".vmlist")))["ids"]
    assert guests["100"]["node"] == "pve9"
    fresh.stop()


def test_the_tree_stays_as_it_is_unless_asked(node, tmp_path):
    file = str(tmp_path / "backup")
    node.client("backup", file)
    text = recover(file, str(tmp_path / "new"))
    assert "the backup is of pve1" in text and "--node-name" in text
    assert "nodes/pve1" in stored(str(tmp_path / "new"))


def test_what_is_there_is_not_overwritten(node, tmp_path):
    """A store, a config.db, or a running daemon; --replace moves a store aside."""
    file = str(tmp_path / "backup")
    node.client("backup", file)
    done = cfs.cfsgate("recover", "--state", node.state, file)
    assert done.returncode == 4
    before = mounted(node.mount)
    cfs.write(node.path("later"), b"later")
    node.stop()
    done = cfs.cfsgate("recover", "--state", node.state, file)
    assert done.returncode == 1 and "there is a store already" in done.stderr
    text = recover(file, node.state, "--replace")
    aside = [name for name in os.listdir(node.state) if name.startswith("store-")]
    assert len(aside) == 1 and aside[0] in text
    assert stored(node.state) == before
    assert stored(os.path.join(node.state, aside[0]))["later"] == b"later"

    other = tmp_path / "other"
    other.mkdir()
    cfs.make_database(str(other / "config.db"), [(2, 0, 8, "old", b"old")])
    database = (other / "config.db").read_bytes()
    done = cfs.cfsgate("recover", "--state", str(other), file)
    assert done.returncode == 1 and "there is a database already" in done.stderr
    recover(file, str(other), "--replace")
    assert (other / "config.db").read_bytes() == database
    assert stored(str(other)) == before


def test_the_recovered_store_counts_beside_a_config_db(node, tmp_path, make_daemon):
    file = str(tmp_path / "backup")
    node.client("backup", file)
    fresh = make_daemon()
    cfs.make_database(os.path.join(fresh.state, "config.db"), [(2, 0, 8, "old", b"old")])
    recover(file, fresh.state, "--replace")
    fresh.start()
    assert mounted(fresh.mount) == mounted(node.mount)
    fresh.stop()


# --- Reading without a daemon ---

@pytest.fixture
def crashed(node):
    """The state directory of a node that lost its power: another boot, and pages of tree.mdb gone."""
    before = mounted(node.mount)
    node.kill()
    name = os.path.join(node.state, "state")
    with open(name) as file:
        lines = [line for line in file if not line.startswith("boot ")]
    with open(name, "w") as file:
        file.write("".join(lines) + "boot an-earlier-boot\n")
    with open(os.path.join(node.state, "tree.mdb"), "r+b") as file:
        file.write(b"\xa5" * 8192)
    return node.state, before


def test_a_crashed_node_is_read_from_read_only_media(crashed, tmp_path):
    """From what recovery would use, on a disk that cannot be written to."""
    state, before = crashed
    place = tmp_path / "disk"
    place.mkdir()
    cfs.run("mount", "--bind", state, place, check=True)
    try:
        cfs.run("mount", "-o", "remount,bind,ro", place, check=True)
        assert stored(str(place)) == before
        done = cfs.cfsgate("backup", "--state", str(place), "--control", "/nowhere",
                           "--node-name", "pve1", str(tmp_path / "backup"), check=True)
        assert done.stderr == ""
    finally:
        cfs.run("umount", place, check=True)
    recover(str(tmp_path / "backup"), str(tmp_path / "new"))
    assert stored(str(tmp_path / "new")) == before


def test_another_directory_is_not_answered_by_the_daemon(node, tmp_path):
    """With --state the files there are meant, although a daemon answers on the socket."""
    file = str(tmp_path / "backup")
    node.client("backup", file)
    recover(file, str(tmp_path / "new"))
    cfs.write(node.path("storage.cfg"), b"changed\n")
    for command in ("cat", "get"):
        done = cfs.cfsgate(command, "--control", node.control, "--state", str(tmp_path / "new"),
                           "storage.cfg", check=True)
        assert done.stdout == "dir: local\n\tnodes pve1\n"
        done = node.client(command, "storage.cfg")
        assert done.stdout == "changed\n"
        done = cfs.cfsgate(command, "--control", node.control, "storage.cfg", check=True)
        assert done.stdout == "changed\n"


def test_listing(node):
    """As the mount shows it, but for what is not stored."""
    shown = node.client("ls", "nodes/pve1").stdout
    assert "drwxr-xr-x" in shown
    private = node.client("ls", "priv").stdout
    node.stop()
    assert node.client("ls", "nodes/pve1").stdout == shown
    assert node.client("ls", "priv").stdout == private
    assert node.client("ls", "storage.cfg").stdout.split()[-1] == "storage.cfg"
    done = node.client("ls", "nowhere", check=False)
    assert done.returncode == 1 and "there is no such entry" in done.stderr
    done = node.client("cat", "nodes", check=False)
    assert done.returncode == 1 and "is a directory" in done.stderr


def test_a_daemon_that_does_not_answer(node):
    """The files are in use: nobody reads them behind its back."""
    done = cfs.cfsgate("cat", "--control", "/nowhere", "--state", node.state, "storage.cfg")
    assert done.returncode == 4 and "in use" in done.stderr


def test_without_a_store(tmp_path):
    done = cfs.cfsgate("cat", "--control", "/nowhere", "--state", str(tmp_path), "x")
    assert done.returncode == 3
    assert os.listdir(tmp_path) == []
