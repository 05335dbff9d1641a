# SPDX-License-Identifier: Apache-2.0
"""What stat says: mode from the path, owner, sizes, times, inode numbers."""
import json
import os
import stat
import time

import pytest

import cfs


def attributes(path):
    found = os.lstat(path)
    return stat.S_IMODE(found.st_mode), found


def mode(path):
    return attributes(path)[0]


@pytest.mark.parametrize("name,expected", [
    (".version", 0o440), (".members", 0o440), (".vmlist", 0o440), (".rrd", 0o440),
    (".clusterlog", 0o440), (".debug", 0o640), ("local", 0o755), ("qemu-server", 0o755),
    ("openvz", 0o755), ("lxc", 0o755), (".", 0o755)])
def test_modes_of_the_root_and_the_virtual_entries(mount, name, expected):
    assert mode(f"{mount}/{name}") == expected


def test_programs_see_quorum_in_the_owner_write_bit_of_local(mount):
    found = os.lstat(f"{mount}/local")
    assert stat.S_ISLNK(found.st_mode)
    assert found.st_mode & 0o200


@pytest.mark.parametrize("name", [
    "vps.mount", "vps.umount", "101.start", "1.stop", "99999.premount", "101.postumount"])
def test_action_scripts_are_executable(folder, name):
    cfs.write(f"{folder}/{name}", b"#!/bin/sh\n")
    assert mode(f"{folder}/{name}") == 0o740
    assert os.access(f"{folder}/{name}", os.X_OK)


@pytest.mark.parametrize("name", [
    "0101.start", "vps.start.old", "101.started", "101", "xvps.mount", ".mount", "101.mounts",
    "101.conf", "-1.start", "1a.start"])
def test_other_files_are_not_executable(folder, name):
    cfs.write(f"{folder}/{name}", b"")
    assert mode(f"{folder}/{name}") == 0o640


def test_a_directory_with_the_name_of_a_script_is_a_directory(folder):
    os.mkdir(f"{folder}/101.start")
    assert mode(f"{folder}/101.start") == 0o755


def test_a_private_script(mount):
    os.makedirs(f"{mount}/priv", exist_ok=True)
    cfs.write(f"{mount}/priv/vps.mount", b"")
    assert mode(f"{mount}/priv/vps.mount") == 0o700


def path_rules():
    with open(os.path.join(cfs.VECTORS, "path-rules.json")) as file:
        rows = json.load(file)["paths"]
    found = {}
    for row in rows:
        path = row["path"].strip("/")
        virtual = path.split("/")[0] in cfs.VIRTUAL_FILES + cfs.VIRTUAL_LINKS
        if path and "//" not in row["path"].strip("/") and not virtual:
            found[path] = row["private"]
    return sorted(found.items())


@pytest.mark.parametrize("path,private", path_rules())
def test_the_path_decides_what_is_private(mount, path, private):
    whole = f"{mount}/{path}"
    above = os.path.dirname(whole)
    os.makedirs(above, exist_ok=True)
    if not os.path.isdir(whole):
        cfs.write(whole, b"")
        assert mode(whole) == (0o600 if private else 0o640)
        os.unlink(whole)
        os.mkdir(whole)
    assert mode(whole) == (0o700 if private else 0o755)
    if not os.listdir(whole):
        os.rmdir(whole)


def test_everything_belongs_to_root_and_www_data(mount, folder):
    os.makedirs(f"{mount}/priv", exist_ok=True)
    cfs.write(f"{folder}/f", b"")
    cfs.write(f"{mount}/priv/owner", b"")
    for path in [folder, f"{folder}/f", mount, f"{mount}/priv", f"{mount}/priv/owner"] + [
            f"{mount}/{name}" for name in cfs.VIRTUAL_FILES + cfs.VIRTUAL_LINKS]:
        found = os.lstat(path)
        assert (found.st_uid, found.st_gid) == (0, cfs.WWW_DATA), path


def test_kinds_and_link_counts(mount, folder):
    cfs.write(f"{folder}/f", b"")
    os.mkdir(f"{folder}/d")
    os.mkdir(f"{folder}/d/e")
    for path, links in ((folder, 2), (mount, 2), (f"{folder}/d", 2), (f"{folder}/f", 1),
                        (f"{mount}/local", 1), (f"{mount}/.version", 1)):
        assert os.lstat(path).st_nlink == links, path
    assert stat.S_ISREG(os.lstat(f"{mount}/.version").st_mode)
    assert stat.S_ISLNK(os.lstat(f"{mount}/openvz").st_mode)


@pytest.mark.parametrize("size", [0, 1, 511, 4096, 4097, 100000, cfs.MIB])
def test_sizes_and_blocks_of_files(folder, size):
    cfs.write(f"{folder}/f", bytes(size))
    found = os.stat(f"{folder}/f")
    assert found.st_size == size
    assert found.st_blocks == (size + 4095) // 4096, "blocks are of 4096 bytes"
    assert found.st_blksize == 4096


def test_sizes_of_the_rest(mount, folder):
    cfs.write(f"{folder}/f", b"12345")
    assert os.stat(folder).st_size == 0
    for link in cfs.VIRTUAL_LINKS:
        found = os.lstat(f"{mount}/{link}")
        assert (found.st_size, found.st_blocks) == (len(os.readlink(f"{mount}/{link}")), 0)
    for name in cfs.VIRTUAL_FILES:
        found = os.stat(f"{mount}/{name}")
        assert found.st_size == len(cfs.read(f"{mount}/{name}"))
        assert found.st_blocks == 0


def test_times_are_the_time_of_the_last_change(folder):
    before = int(time.time()) - 1
    cfs.write(f"{folder}/f", b"x")
    for path in (folder, f"{folder}/f"):
        found = os.stat(path)
        assert before <= int(found.st_mtime) <= time.time() + 1
        assert int(found.st_atime) == int(found.st_mtime) == int(found.st_ctime)
    cfs.set_mtime(f"{folder}/f", 1234567890)
    found = os.stat(f"{folder}/f")
    assert int(found.st_atime) == int(found.st_mtime) == int(found.st_ctime) == 1234567890
    cfs.write(f"{folder}/f", b"y")
    assert cfs.fresh_stat(f"{folder}/f").mtime.sec >= before


def test_the_times_of_a_directory_are_not_touched_by_changes_in_it(folder):
    cfs.set_mtime(folder, 1000000000)
    cfs.write(f"{folder}/f", b"x")
    os.unlink(f"{folder}/f")
    found = cfs.fresh_stat(folder)
    assert found.mtime.sec == found.ctime.sec == 1000000000


def test_difference_a_directory_shows_the_version_of_its_names(folder):
    path = f"{folder}/f"
    version = cfs.version_of(folder)
    cfs.write(path, b"x")
    created = cfs.version_of(folder)
    assert created > version
    cfs.write(path, b"y")
    assert cfs.version_of(folder) == created, "a file's content is not its directory's matter"
    os.rename(path, f"{folder}/g")
    moved = cfs.version_of(folder)
    assert moved > created
    os.unlink(f"{folder}/g")
    assert cfs.version_of(folder) > moved


def test_the_root_and_virtual_entries_have_no_times(mount, folder):
    for name in ["."] + cfs.VIRTUAL_FILES + cfs.VIRTUAL_LINKS:
        found = os.lstat(f"{mount}/{name}")
        assert int(found.st_atime) == int(found.st_mtime) == int(found.st_ctime) == 0, name


def test_difference_the_nanoseconds_of_ctime_are_the_version(folder):
    path = f"{folder}/f"
    cfs.write(path, b"1")
    before = cfs.version_of(path)
    for i in range(1, 20):
        cfs.write(path, str(i).encode())
        assert cfs.version_of(path) == before + i
    found = os.stat(path)
    assert found.st_mtime_ns % 10**9 == 0
    cfs.set_mtime(path, 77)
    assert cfs.version_of(path) == before + 20
    assert os.stat(path).st_mtime_ns == 77 * 10**9


def test_difference_inode_numbers_are_the_replicated_ones_and_stay(make_daemon):
    daemon = make_daemon().start()
    os.mkdir(daemon.path("d"))
    created = cfs.version_of(daemon.path("d"))
    assert os.stat(daemon.path("d")).st_ino == created == 2
    cfs.write(daemon.path("d/f"), b"")
    assert os.stat(daemon.path("d/f")).st_ino == 3
    cfs.write(daemon.path("d/f"), b"again")
    assert cfs.fresh_stat(daemon.path("d/f")).ino == 3
    assert os.stat(daemon.mount).st_ino == 1
    virtual = {name: os.lstat(daemon.path(name)).st_ino
               for name in cfs.VIRTUAL_LINKS + cfs.VIRTUAL_FILES}
    assert sorted(virtual.values()) == [2**62 + k for k in range(10)]
    with os.scandir(daemon.mount) as entries:
        listed = {entry.name: entry.inode() for entry in entries}
    assert listed == {"d": 2, **virtual}
    daemon.restart()
    assert os.stat(daemon.path("d")).st_ino == 2
    assert os.stat(daemon.path("d/f")).st_ino == 3
    daemon.stop()
