# SPDX-License-Identifier: Apache-2.0
"""The NFS export as the Linux kernel's client sees it, beside the FUSE mount of the same tree.

Everything runs in one guest kernel. `nfs` and `fuse` are the two mounts, `folder` the same fresh
directory on both.
"""
import collections
import errno
import json
import mmap
import os
import pwd
import random
import re
import signal
import stat
import subprocess
import time
import types

import pytest

import cfs
import kernel_client
from cfs import raises

pytestmark = pytest.mark.guest(memory=1024)


@pytest.fixture(scope="module")
def daemon():
    with kernel_client.Daemon() as instance:
        yield instance


@pytest.fixture
def nfs(daemon):
    return daemon.nfs_mount


@pytest.fixture
def fuse(daemon):
    return daemon.mount


@pytest.fixture(scope="module")
def uncached(daemon):
    """A mount that asks for attributes and names each time, and shares nothing with the first."""
    return daemon.mount_nfs("nosharecache", "actimeo=0", "lookupcache=none")


@pytest.fixture
def folder(daemon, request):
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")
    os.mkdir(f"{daemon.nfs_mount}/{name}")
    return types.SimpleNamespace(name=name, nfs=f"{daemon.nfs_mount}/{name}", fuse=f"{daemon.mount}/{name}")


def hidden(path):
    """Names that the client makes for files that are removed while they are open."""
    return [name for name in os.listdir(path) if name.startswith(".nfs")]


# --- Mounting ---

def test_mounting_again_and_again(daemon, tmp_path):
    """Also while the tree is mounted already, and with either size limit for requests."""
    for options in ([], ["nosharecache"], ["rsize=4096,wsize=4096,nosharecache"],
                    ["rsize=1048576,wsize=1048576,nosharecache"], ["ro,nosharecache"], ["soft,nosharecache"]):
        path = kernel_client.mount(daemon.port, str(tmp_path / "again"), *options)
        assert cfs.mounts_at(path)[-1][1] == "nfs"
        assert cfs.names(path) == cfs.names(daemon.mount)
        kernel_client.unmount(path)


def test_transfer_sizes_are_those_of_a_file(daemon):
    """One request can carry a whole file."""
    with open("/proc/mounts") as table:
        options = next(line for line in table if f" {daemon.nfs_mount} " in line).split()[3].split(",")
    assert {"rsize=1048576", "wsize=1048576", "namlen=255", "vers=3", "proto=tcp"} <= set(options)


def test_only_the_export_can_be_mounted(daemon, tmp_path):
    for export in ("/", "/etc", "/etc/pve/../..", "/etc/pvex", "/nonexistent"):
        done = cfs.run("mount", "-t", "nfs", "-o",
                       f"vers=3,tcp,port={daemon.port},mountport={daemon.port},nolock,retry=0",
                       f"127.0.0.1:{export}", tmp_path)
        assert done.returncode != 0, export


def test_directories_below_the_export_can_be_mounted(daemon, folder, tmp_path):
    cfs.write(f"{folder.nfs}/file", b"x")
    done = cfs.run("mount", "-t", "nfs", "-o",
                   f"vers=3,tcp,port={daemon.port},mountport={daemon.port},nolock,nosharecache",
                   f"127.0.0.1:/etc/pve/{folder.name}", tmp_path)
    if done.returncode != 0:
        pytest.skip(f"the export has no such paths: {done.stderr.strip()}")
    try:
        assert cfs.names(tmp_path) == ["file"]
    finally:
        kernel_client.unmount(tmp_path)


def test_df(nfs, fuse):
    one, other = os.statvfs(nfs), os.statvfs(fuse)
    assert one.f_blocks * one.f_frsize == other.f_blocks * other.f_frsize == cfs.TREE_BYTES_MAX
    assert one.f_bfree * one.f_frsize == pytest.approx(other.f_bfree * other.f_frsize, abs=one.f_frsize)
    assert one.f_bavail * one.f_frsize == pytest.approx(other.f_bavail * other.f_frsize, abs=one.f_frsize)
    assert (one.f_files, one.f_ffree, one.f_namemax) == (cfs.ENTRIES_MAX, other.f_ffree, 255)
    assert cfs.run("df", "--output=size,itotal", "-B1", nfs, check=True).stdout.split()[-2:] == \
        [str(cfs.TREE_BYTES_MAX), str(cfs.ENTRIES_MAX)]


# --- The same tree ---

def attributes(path):
    """What stat shows of it, as the server has it now."""
    found = cfs.fresh_stat(path)
    return {"ino": found.ino, "mode": oct(found.mode), "nlink": found.nlink, "uid": found.uid,
            "gid": found.gid, "size": found.size, "mtime": (found.mtime.sec, found.mtime.nsec),
            "ctime": (found.ctime.sec, found.ctime.nsec)}


def table_of(top):
    found = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = attributes(path)
    found["."] = attributes(top)
    return found


@pytest.fixture(scope="module")
def populated(daemon):
    """Entries of every kind."""
    for path in ("nodes/pve1/qemu-server", "nodes/pve1/lxc", "nodes/pve1/openvz", "nodes/pve1/priv",
                 "nodes/pve2/priv", "priv/acme", "priv/lock", "empty", "deep/" + "/".join("abcdefghij")):
        os.makedirs(daemon.path(path), exist_ok=True)
    prng = random.Random(1)
    for size in (0, 1, 4095, 4096, 4097, 131072, 131073, cfs.MIB):
        cfs.write(daemon.path(f"size-{size}"), prng.randbytes(size))
    for path in ("nodes/pve1/qemu-server/100.conf", "nodes/pve1/lxc/101.conf", "nodes/pve1/priv/key",
                 "priv/shadow.cfg", "priv/acme/account", "user.cfg", "n" * 255, "deep/a/b/c/file",
                 "empty/ü ö\tä", "empty/-rf", "empty/'"):
        cfs.write(daemon.path(path), path.encode())
    for number, path in enumerate(("user.cfg", "size-4096", "empty")):
        cfs.set_mtime(daemon.path(path), 1500000000 + number)
    for number in range(300):
        cfs.write(daemon.path(f"deep/a/{number}"), b"x" * number)
    return daemon


def test_both_mounts_show_the_same_tree(populated, nfs, fuse):
    cfs.run("diff", "-r", fuse, nfs, check=True, timeout=100)


def test_both_mounts_show_the_same_attributes(populated, nfs, fuse):
    """Nanoseconds of ctime, which hold the version, and inode numbers too."""
    expected, found = table_of(fuse), table_of(nfs)
    assert sorted(found) == sorted(expected)
    for path in expected:
        assert found[path] == expected[path], path
    versions = [entry["ctime"][1] for path, entry in found.items() if path.startswith("deep/a/")]
    assert len(set(versions)) > 300


def test_both_mounts_have_the_same_links(nfs, fuse):
    for name in cfs.VIRTUAL_LINKS:
        assert os.readlink(f"{nfs}/{name}") == os.readlink(f"{fuse}/{name}")


def test_virtual_files_are_read_whole(populated, nfs, fuse):
    """Though their size is not known before they are made."""
    for name in cfs.VIRTUAL_FILES:
        text = cfs.read(f"{nfs}/{name}")
        assert text == cfs.read(f"{fuse}/{name}"), name
        assert len(text) == os.stat(f"{nfs}/{name}").st_size, name
    assert json.loads(cfs.read(f"{nfs}/.vmlist"))["ids"].keys() == {"100", "101"}


def test_a_mapping_reads_what_read_reads(populated, nfs, fuse):
    for size in (1, 4096, 131073, cfs.MIB):
        with open(f"{nfs}/size-{size}", "rb") as file, \
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            assert memory[:] == cfs.read(f"{fuse}/size-{size}")


def test_a_mapping_after_a_change_shows_the_change(folder):
    for number in range(5):
        content = bytes([number]) * 50000
        cfs.write(f"{folder.fuse}/f", content)
        with open(f"{folder.nfs}/f", "rb") as file, \
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            assert memory[:] == content


def test_writing_through_a_mapping(folder):
    cfs.write(f"{folder.nfs}/f", bytes(100000))
    with open(f"{folder.nfs}/f", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[99990:] = b"0123456789"
        memory[5000:5003] = b"abc"
        memory.flush()
    content = cfs.read(f"{folder.fuse}/f")
    assert (len(content), content[5000:5003], content[99990:]) == (100000, b"abc", b"0123456789")


# --- Writing and reading ---

@pytest.mark.parametrize("size", [1, 4096, 10000, 131072, cfs.MIB - 1, cfs.MIB])
def test_content_written_here_is_there(folder, size):
    content = random.Random(size).randbytes(size)
    cfs.write(f"{folder.nfs}/a", content)
    assert cfs.read(f"{folder.fuse}/a") == content
    cfs.write(f"{folder.fuse}/b", content)
    assert cfs.read(f"{folder.nfs}/b") == content


def test_pieces_written_in_any_order(folder):
    prng = random.Random(3)
    expected = bytearray(300000)
    with open(f"{folder.nfs}/f", "w+b", buffering=0) as file:
        file.truncate(len(expected))
        for _ in range(300):
            offset, piece = prng.randrange(290000), prng.randbytes(prng.randrange(1, 10000))
            os.pwrite(file.fileno(), piece, offset)
            expected[offset:offset + len(piece)] = piece
        assert os.pread(file.fileno(), len(expected), 0) == expected
    assert cfs.read(f"{folder.fuse}/f") == bytes(expected)


def test_truncating_and_extending(folder):
    cfs.write(f"{folder.nfs}/f", b"x" * 10000)
    for size in (5000, 0, 70000, 1):
        os.truncate(f"{folder.nfs}/f", size)
        assert os.stat(f"{folder.nfs}/f").st_size == cfs.fresh_stat(f"{folder.fuse}/f").size == size
    os.truncate(f"{folder.nfs}/f", 4)
    assert cfs.read(f"{folder.fuse}/f") == b"\0\0\0\0"


def test_files_end_at_one_mebibyte(folder):
    with raises(errno.EFBIG):
        write_at(f"{folder.nfs}/f", cfs.MIB, b"x")
    with raises(errno.EFBIG, errno.EINVAL):
        os.truncate(f"{folder.nfs}/f", cfs.MIB + 1)
    os.truncate(f"{folder.nfs}/f", cfs.MIB)
    assert os.stat(f"{folder.nfs}/f").st_size == cfs.MIB


def write_at(path, offset, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
    try:
        os.pwrite(fd, data, offset)
        os.fsync(fd)
    finally:
        os.close(fd)


def test_names_may_have_255_bytes(folder):
    for name in ("n" * 255, "ü" * 127):
        cfs.write(f"{folder.nfs}/{name}", b"x")
        assert cfs.read(f"{folder.fuse}/{name}") == b"x"
    with raises(errno.ENAMETOOLONG):
        cfs.write(f"{folder.nfs}/{'n' * 256}", b"x")


def test_times_read_back_as_set(folder):
    cfs.write(f"{folder.nfs}/f", b"x")
    for seconds in (1, 1500000000, 2**31, 2**32 - 1):
        cfs.set_mtime(f"{folder.nfs}/f", seconds)
        for top in (folder.nfs, folder.fuse):
            found = cfs.fresh_stat(f"{top}/f").mtime
            assert (found.sec, found.nsec) == (seconds, 0)


def append_lines(path, name, count):
    for number in range(count):
        with open(path, "ab", buffering=0) as file:
            file.write(f"{name} {number}\n".encode())


def test_appending_by_several_processes(folder):
    """Every line is there once, and those of one process in their order."""
    children = cfs.Children()
    for name in range(4):
        children.start(append_lines, f"{folder.nfs}/f", name, 100)
    children.results(100)
    lines = cfs.read(f"{folder.fuse}/f").decode().splitlines()
    assert len(lines) == 400
    for name in range(4):
        assert [line for line in lines if line.startswith(f"{name} ")] == \
            [f"{name} {number}" for number in range(100)]


def test_appending_after_a_change_by_the_other_mount(folder):
    """An append that begins after the other's end goes behind it."""
    for number in range(20):
        append_lines(f"{folder.nfs}/f", "nfs", 1)
        append_lines(f"{folder.fuse}/f", "fuse", 1)
    assert cfs.read(f"{folder.fuse}/f") == b"nfs 0\nfuse 0\n" * 20


# --- What others see ---

def test_changes_by_nfs_are_seen_by_fuse(folder):
    """At the next open, and by a stat that asks the daemon."""
    for number in range(30):
        content = b"x" * (number * 1000 % 7919)
        cfs.write(f"{folder.nfs}/f", content)
        assert cfs.fresh_stat(f"{folder.fuse}/f").size == len(content)
        assert cfs.read(f"{folder.fuse}/f") == content
    os.rename(f"{folder.nfs}/f", f"{folder.nfs}/g")
    os.mkdir(f"{folder.nfs}/d")
    cfs.wait_for(lambda: cfs.names(folder.fuse) == ["d", "g"], "the names", 2)
    cfs.wait_for(lambda: not os.path.exists(f"{folder.fuse}/f"), "the old name is gone", 2)
    os.unlink(f"{folder.nfs}/g")
    os.rmdir(f"{folder.nfs}/d")
    cfs.wait_for(lambda: cfs.names(folder.fuse) == [], "nothing is left", 2)


@pytest.mark.parametrize("before", ["not looked at", "looked at", "opened"])
def test_content_is_whole_at_the_next_open(folder, before):
    """Also when the kernel has just been told the old size, which is good for half a second."""
    cfs.write(f"{folder.nfs}/f", b"")
    for number in range(200):
        content = b"%d " % number * (number % 50)
        if before != "not looked at":
            os.stat(f"{folder.fuse}/f")
        if before == "opened":
            cfs.read(f"{folder.fuse}/f")
        cfs.write(f"{folder.nfs}/f", content)
        assert cfs.read(f"{folder.fuse}/f") == content, f"round {number}"


def test_changes_by_fuse_are_seen_by_nfs(folder):
    """At the next open, though the client keeps attributes and content. Two changes within a second
    differ in ctime alone."""
    for number in range(30):
        content = bytes([number]) * 1000
        cfs.write(f"{folder.fuse}/f", content)
        assert cfs.read(f"{folder.nfs}/f") == content
    for number in range(30):
        content = bytes([number]) * 1000
        cfs.replace(f"{folder.fuse}/f", content)
        assert cfs.read(f"{folder.nfs}/f") == content


def test_a_replaced_file_that_fuse_still_reads_is_gone_for_nfs(folder):
    """What is kept for who has it open is not what the name stands for."""
    cfs.write(f"{folder.fuse}/f", b"old")
    assert cfs.read(f"{folder.nfs}/f") == b"old"
    with open(f"{folder.fuse}/f", "rb") as file:
        cfs.replace(f"{folder.fuse}/f", b"new")
        assert cfs.read(f"{folder.nfs}/f") == b"new"
        assert file.read() == b"old"


def test_changes_by_fuse_are_seen_at_once_without_the_clients_cache(folder, uncached):
    path = f"{uncached}/{folder.name}"
    for number in range(30):
        cfs.replace(f"{folder.fuse}/f", b"x" * number)
        assert os.stat(f"{path}/f").st_size == number
        os.rename(f"{folder.fuse}/f", f"{folder.fuse}/g")
        assert cfs.names(path) == ["g"] and not os.path.exists(f"{path}/f")
        os.unlink(f"{folder.fuse}/g")
        assert cfs.names(path) == [] and not os.path.exists(f"{path}/g")
        os.mkdir(f"{folder.fuse}/d")
        assert stat.S_ISDIR(os.stat(f"{path}/d").st_mode)
        os.rmdir(f"{folder.fuse}/d")


def test_a_file_that_is_open_there_can_be_replaced_here(folder):
    """Who has it open keeps reading what was opened, by FUSE; by NFS it is gone."""
    cfs.write(f"{folder.fuse}/f", b"old")
    with open(f"{folder.fuse}/f", "rb") as file:
        cfs.replace(f"{folder.nfs}/f", b"new")
        assert file.read() == b"old"
    assert cfs.read(f"{folder.fuse}/f") == b"new"


# --- Names ---

def create_exclusively(path, me, commands, answers):
    """One try for each byte of `commands`; tells `answers` whether it won."""
    wins = 0
    number = 0
    while os.read(commands, 1):
        try:
            fd = os.open(f"{path}/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            os.write(fd, me.encode())
            os.close(fd)
            won = b"1"
        except FileExistsError:
            won = b"0"
        wins += won == b"1"
        number += 1
        os.write(answers, won)
    return wins


@pytest.mark.seconds(300)
@pytest.mark.parametrize("pair", ["two clients", "nfs and fuse"])
def test_exclusive_creation_has_one_winner(folder, uncached, pair):
    rounds = 1000
    paths = [f"{uncached}/{folder.name}", folder.nfs if pair == "two clients" else folder.fuse]
    children = cfs.Children()
    starts, ends = [], []
    for me, path in zip("ab", paths):
        commands, start = os.pipe()
        end, answers = os.pipe()
        for inherited in starts:
            os.set_inheritable(inherited, False)
        children.start(create_exclusively, path, me, commands, answers)
        os.close(commands)
        os.close(answers)
        starts.append(start)
        ends.append(end)
    order = random.Random(4)
    winners = collections.Counter()
    for number in range(rounds):
        for start in order.sample(starts, 2):
            os.write(start, b".")
        won = [os.read(end, 1) for end in ends]
        assert sorted(won) == [b"0", b"1"], f"round {number}: {won}"
        winner = "ab"[won.index(b"1")]
        winners[winner] += 1
        assert cfs.read(f"{folder.fuse}/{number}") == winner.encode()
        if number % 100 == 99:  # keep the directory small
            for name in range(number - 99, number + 1):
                os.unlink(f"{folder.fuse}/{name}")
    children.kill()
    for fd in starts + ends:
        os.close(fd)
    assert min(winners["a"], winners["b"]) > 0, winners


def make_and_remove(path, count, log):
    """Files that each live for a while; every fourth stays. Writes when each came and went."""
    prng = random.Random(5)
    alive = []
    with open(log, "w") as out:
        for number in range(count):
            os.close(os.open(f"{path}/f{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
            out.write(f"+ {number} {time.monotonic()}\n")
            alive.append(number)
            if len(alive) > 200:
                gone = alive.pop(prng.randrange(len(alive)))
                if gone % 4:
                    out.write(f"- {gone} {time.monotonic()}\n")
                    os.unlink(f"{path}/f{gone}")
        for gone in alive:
            if gone % 4:
                out.write(f"- {gone} {time.monotonic()}\n")
                os.unlink(f"{path}/f{gone}")


def lives(log):
    """Name: (when it was there, when it may have been no more)."""
    found = {}
    with open(log) as lines:
        for line in lines:
            sign, number, moment = line.split()
            born = found.get(f"f{number}", (float(moment), None))[0]
            found[f"f{number}"] = (born, float(moment) if sign == "-" else float("inf"))
    return found


@pytest.mark.seconds(500)
@pytest.mark.parametrize("where, count", [("the same mount", 10000), ("another client", 2500)]
                         if cfs.LONG else [("the same mount", 10000), ("another client", 1000)])
def test_listings_while_files_come_and_go(daemon, folder, uncached, tmp_path, where, count):
    """Each listing has every file once that was there all the time it took, and none twice."""
    for number in range(300):
        cfs.write(f"{folder.fuse}/stays{number}", b"")
    listed = folder.nfs if where == "the same mount" else f"{uncached}/{folder.name}"
    log = str(tmp_path / "log")
    children = cfs.Children()
    pid = children.start(make_and_remove, folder.nfs, count, log)
    listings = []
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        begin = time.monotonic()
        names = cfs.run("ls", "-f", listed, timeout=60, check=True).stdout.splitlines()
        listings.append((begin, time.monotonic(), names))
    children.results()
    assert len(listings) >= 5
    life = lives(log)
    for begin, end, names in listings:
        seen = collections.Counter(names)
        assert max(seen.values()) == 1, [name for name in seen if seen[name] > 1]
        missing = [name for name, (born, gone) in life.items()
                   if born < begin and gone > end and name not in seen]
        assert not missing, f"{len(missing)} of {len(names)} missing: {missing[:10]}"
        assert all(f"stays{number}" in seen for number in range(300))
    expected = sorted([name for name, (_, gone) in life.items() if gone == float("inf")]
                      + [f"stays{number}" for number in range(300)])
    assert len(expected) == count // 4 + 300
    assert cfs.names(folder.fuse) == cfs.names(listed) == expected


def test_an_open_directory_read_in_small_pieces(folder):
    """Entries that go behind the reader do not make it lose its place."""
    for number in range(2000):
        cfs.write(f"{folder.fuse}/f{number:04}", b"")
    seen = []
    with os.scandir(folder.nfs) as entries:
        for entry in entries:
            seen.append(entry.name)
            if len(seen) % 3 == 0:
                os.unlink(f"{folder.fuse}/{seen[-2]}")
    assert sorted(seen) == [f"f{number:04}" for number in range(2000)]


def test_removing_all_while_reading_the_directory(folder):
    for number in range(1500):
        cfs.write(f"{folder.fuse}/f{number}", b"")
    cfs.run("rm", "-r", folder.nfs, check=True, timeout=100)
    assert not os.path.exists(folder.fuse)


def test_a_removed_file_stays_open(folder):
    """The client renames it (`silly rename`) and removes it at the last close."""
    cfs.write(f"{folder.nfs}/f", b"content")
    with open(f"{folder.nfs}/f", "r+b", buffering=0) as file:
        os.unlink(f"{folder.nfs}/f")
        assert not os.path.exists(f"{folder.nfs}/f") and not os.path.exists(f"{folder.fuse}/f")
        assert len(hidden(folder.fuse)) == 1
        file.write(b"CON")
        os.fsync(file.fileno())
        assert os.pread(file.fileno(), 100, 0) == b"CONtent"
    cfs.wait_for(lambda: cfs.names(folder.fuse) == [], "nothing is left", 5)
    os.rmdir(folder.nfs)


def test_a_replaced_file_stays_open(folder):
    cfs.write(f"{folder.nfs}/f", b"old")
    with open(f"{folder.nfs}/f", "rb") as file:
        cfs.replace(f"{folder.nfs}/f", b"new")
        assert file.read() == b"old"
        assert cfs.read(f"{folder.nfs}/f") == b"new"
    cfs.wait_for(lambda: cfs.names(folder.fuse) == ["f"], "nothing else is left", 5)


def test_a_killed_process_leaves_no_hidden_file(folder):
    cfs.write(f"{folder.nfs}/f", b"x")
    with subprocess.Popen(["sleep", "100"], stdin=open(f"{folder.nfs}/f")) as sleeper:
        os.unlink(f"{folder.nfs}/f")
        assert len(hidden(folder.fuse)) == 1
        sleeper.send_signal(signal.SIGKILL)
    cfs.wait_for(lambda: cfs.names(folder.fuse) == [], "nothing is left", 5)


def test_a_file_removed_behind_the_client_is_stale(folder):
    """It was removed by FUSE while the client had it open: the client is told so."""
    cfs.write(f"{folder.nfs}/f", b"x" * 4096)
    fd = os.open(f"{folder.nfs}/f", os.O_RDONLY | os.O_DIRECT)
    os.unlink(f"{folder.fuse}/f")
    with raises(errno.ESTALE):
        os.preadv(fd, [mmap.mmap(-1, 4096)], 0)
    os.close(fd)


ENOTSUPP = 524  # how Linux tells NFS3ERR_NOTSUPP


REFUSED = {
    "a hard link": (lambda top: os.link(f"{top}/f", f"{top}/g"), [ENOTSUPP]),
    "a symbolic link": (lambda top: os.symlink("f", f"{top}/g"), [ENOTSUPP, errno.EPERM]),
    "a pipe": (lambda top: os.mkfifo(f"{top}/g"), [ENOTSUPP, errno.EPERM]),
    "a device": (lambda top: os.mknod(f"{top}/g", 0o600 | stat.S_IFCHR, 0x103), [ENOTSUPP, errno.EPERM]),
    "a name that exists": (lambda top: os.mkdir(f"{top}/f"), []),
    "rmdir of a file": (lambda top: os.rmdir(f"{top}/f"), []),
    "rmdir with entries": (lambda top: os.rmdir(f"{top}/full"), []),
    "rename with entries": (lambda top: os.rename(f"{top}/full", f"{top}/new"), []),
    "rename onto a directory": (lambda top: os.rename(f"{top}/f", f"{top}/full"), []),
    "rename onto a file": (lambda top: os.rename(f"{top}/full", f"{top}/f"), []),
    "unlink of a directory": (lambda top: os.unlink(f"{top}/full"), []),
    "unlink of nothing": (lambda top: os.unlink(f"{top}/nothing"), []),
    "listing a file": (lambda top: os.listdir(f"{top}/f"), []),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_are_the_same(folder, what):
    """As by FUSE, or as the protocol says it."""
    call, others = REFUSED[what]
    cfs.write(f"{folder.nfs}/f", b"x")
    os.makedirs(f"{folder.nfs}/full/sub")
    codes = []
    for top in (folder.fuse, folder.nfs):
        with pytest.raises(OSError) as caught:
            call(top)
        codes.append(caught.value.errno)
    assert codes[1] in [codes[0], *others], [os.strerror(code) for code in codes]
    assert cfs.names(folder.fuse) == ["f", "full"] and cfs.names(f"{folder.fuse}/full") == ["sub"]


# --- Who may do what ---

WWW = pwd.getpwnam("www-data")
USERS = {
    "root": None,
    "www-data": (WWW.pw_uid, WWW.pw_gid, []),
    "member": (12345, 12345, [WWW.pw_gid]),  # of the group www-data
    "nobody": (cfs.NOBODY.pw_uid, cfs.NOBODY.pw_gid, []),
}

PATHS = [
    ".", "user.cfg", "empty", "nodes", "nodes/pve1", "nodes/pve1/qemu-server",
    "nodes/pve1/qemu-server/100.conf", "nodes/pve1/priv", "nodes/pve1/priv/key", "nodes/pve2/priv", "priv",
    "priv/shadow.cfg", "priv/acme", "priv/acme/account", "priv/lock", *cfs.VIRTUAL_FILES,
    *cfs.VIRTUAL_LINKS, "local/qemu-server/100.conf", "local/priv/key", "nothing", "priv/nothing",
]


def open_and_close(path, flags):
    os.close(os.open(path, flags))


def make_and_remove_file(path):
    name = f"{path}/made-by-a-test"
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
    os.unlink(name)


def make_and_remove_directory(path):
    os.mkdir(f"{path}/made-by-a-test")
    os.rmdir(f"{path}/made-by-a-test")


def read_some(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.read(fd, 10)
    finally:
        os.close(fd)


def must(condition):
    if not condition:
        raise PermissionError(errno.EACCES, "no")


ATTEMPTS = {
    "stat": os.lstat,
    "readlink": os.readlink,
    "read": read_some,
    "write": lambda path: open_and_close(path, os.O_WRONLY),
    "list": os.listdir,
    "enter": os.chdir,
    "access r": lambda path: must(os.access(path, os.R_OK)),
    "access w": lambda path: must(os.access(path, os.W_OK)),
    "access x": lambda path: must(os.access(path, os.X_OK)),
    "make a file": make_and_remove_file,
    "make a directory": make_and_remove_directory,
    "chmod": lambda path: os.chmod(path, 0o777),
    "chown": lambda path: os.chown(path, 1, 1),
    "touch": os.utime,
    "rename to itself": lambda path: os.rename(path, path),
}


def try_everything(top):
    """Path and attempt: 0 or the name of the failure."""
    return {f"{attempt}: {path}": cfs.errno_of(function, f"{top}/{path}")
            for path in PATHS for attempt, function in ATTEMPTS.items()}


# FUSE lets the kernel decide, and there root may open everything; the write is refused then. NFS says so
# at once.
SAID_LATER_BY_FUSE = {f"{attempt}: {name}" for attempt in ("write", "access w")
                      for name in cfs.VIRTUAL_FILES if name != ".debug"}


@pytest.mark.parametrize("user", USERS)
def test_permissions_are_the_same(populated, nfs, fuse, user):
    expected = cfs.in_child(try_everything, fuse, user=USERS[user], seconds=100)
    found = cfs.in_child(try_everything, nfs, user=USERS[user], seconds=100)
    if user == "root":
        for key in SAID_LATER_BY_FUSE:
            assert (expected.pop(key), found[key]) == (0, "EACCES")
    different = {key: f"{expected[key]} by fuse, {found[key]} by nfs"
                 for key in expected if expected[key] != found[key]}
    assert not different, json.dumps(different, indent=1)
    private = "EACCES" if user != "root" else 0
    assert found["read: priv/shadow.cfg"] == found["read: nodes/pve1/priv/key"] == private
    assert found["stat: priv/shadow.cfg"] == found["list: priv"] == private
    assert found["read: user.cfg"] == ("EACCES" if user == "nobody" else 0)
    assert found["write: user.cfg"] == (0 if user == "root" else "EACCES")


def test_what_root_has_read_stays_private(populated, nfs):
    """The client's cache is no way around: root's names and content are not shown to others."""
    assert cfs.read(f"{nfs}/priv/shadow.cfg")
    os.listdir(f"{nfs}/priv")
    for user in ("www-data", "nobody"):
        for function in (read_some, os.lstat):
            found = cfs.in_child(cfs.errno_of, function, f"{nfs}/priv/shadow.cfg", user=USERS[user])
            assert found == "EACCES"


def test_a_handle_from_root_is_checked_again(populated, nfs, uncached):
    """Root opens a private directory and becomes nobody: what is asked for then is refused."""
    def as_nobody(path):
        directory = os.open(path, os.O_RDONLY)
        os.setgroups([])
        os.setresgid(*[cfs.NOBODY.pw_gid] * 3)
        os.setresuid(*[cfs.NOBODY.pw_uid] * 3)
        return cfs.errno_of(lambda: os.stat("shadow.cfg", dir_fd=directory))

    for top in (nfs, uncached):
        assert cfs.in_child(as_nobody, f"{top}/priv") == "EACCES"
