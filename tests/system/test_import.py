# SPDX-License-Identifier: Apache-2.0
"""A database of the original, imported and mounted: the tree is the same, bit for bit."""
import hashlib
import json
import os
import re
import sqlite3
import stat

import pytest

import cfs

CONFIG_DB = f"{cfs.ORIGINAL}/config.db"


@pytest.fixture(scope="module")
def daemon():
    """Instead of the empty one of the other files."""
    instance = cfs.Daemon("pve1")
    instance.deaths = 0
    cfs.cfsgate("import", CONFIG_DB, "--state", instance.state, check=True)
    instance.start()
    yield instance
    try:
        instance.stop()
    finally:
        instance.remove()


def listing(mount):
    """In the form of tree-listing.txt."""
    lines = []
    for folder, folders, files in os.walk(mount):
        relative = os.path.relpath(folder, mount)
        lines.append(line(folder, relative))
        for name in folders + files:
            path = os.path.normpath(os.path.join(relative, name))
            if path in cfs.VIRTUAL_LINKS + cfs.VIRTUAL_FILES or name in folders:
                continue
            lines.append(line(os.path.join(folder, name), path))
    return sorted(lines, key=lambda row: row.split()[-1])


def line(path, shown):
    found = os.lstat(path)
    if stat.S_ISDIR(found.st_mode):
        kind, digest = "dir", "-"
    else:
        kind, digest = "file", hashlib.sha256(cfs.read(path)).hexdigest()
    return f"{kind} {stat.S_IMODE(found.st_mode):o} {found.st_uid}:{found.st_gid} {digest} {shown}"


def test_the_tree_is_the_one_that_the_original_showed(mount):
    with open(f"{cfs.ORIGINAL}/tree-listing.txt") as file:
        text = file.read().replace(" 0:33 ", f" 0:{cfs.WWW_DATA} ")
    expected = sorted(text.splitlines(), key=lambda row: row.split()[-1])
    # The original's listing may name the links; here only the tree is compared.
    expected = [row for row in expected if row.split()[-1] not in cfs.VIRTUAL_LINKS]
    assert listing(mount) == expected


def original_virtual_files():
    with open(f"{cfs.ORIGINAL}/virtual-files.txt") as file:
        parts = re.split(r"^== (\S+)\n", file.read(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_members_and_debug(mount):
    expected = original_virtual_files()
    for name in (".members", ".debug"):
        assert cfs.read(f"{mount}/{name}").decode() == expected[name]


def test_version_lists_the_same_paths(mount):
    """The original's counters come from that run's history; after an import all are 1."""
    expected = re.sub(r": \d+(,?)$", r": N\1", original_virtual_files()[".version"], flags=re.M)
    text = cfs.read(f"{mount}/.version").decode()
    assert re.sub(r": \d+(,?)$", r": N\1", text, flags=re.M) == expected
    found = json.loads(text)
    for name, value in found.items():
        if name not in ("starttime", "clinfo", "vmlist", "kvstore"):
            assert value == 1, name
    assert found["clinfo"] == 0
    assert found["vmlist"] == 1


def test_vmlist_has_the_same_guests(mount):
    def guests(text):
        ids = json.loads(text)["ids"]
        return {vmid: (guest["node"], guest["type"]) for vmid, guest in ids.items()}

    text = cfs.read(f"{mount}/.vmlist").decode()
    assert guests(text) == guests(original_virtual_files()[".vmlist"])
    assert len(guests(text)) == 180
    row = r'"[1-9]\d*": \{ "node": "pve\d", "type": "(qemu|lxc)", "version": \d+ \}'
    assert re.fullmatch(r'\{\n"version": 1,\n"ids": \{\n' + row + r"(,\n" + row + r")*\}\n\n\}\n", text)
    versions = [guest["version"] for guest in json.loads(text)["ids"].values()]
    assert len(set(versions)) == len(versions) and min(versions) >= 1


def test_clusterlog_begins_anew(mount, daemon):
    entry, = json.loads(cfs.read(f"{mount}/.clusterlog"))["data"]
    expected, = json.loads(original_virtual_files()[".clusterlog"])["data"]
    assert {**entry, "time": 0, "pid": 0} == {**expected, "time": 0, "pid": 0}


def test_inodes_times_and_versions_come_from_the_database(mount):
    connection = sqlite3.connect(f"file:{CONFIG_DB}?mode=ro&immutable=1", uri=True)
    rows = connection.execute(
        "SELECT inode, version, mtime, length(data) FROM tree WHERE name = 'storage.cfg'").fetchall()
    connection.close()
    (inode, version, mtime, size), = rows
    found = cfs.fresh_stat(f"{mount}/storage.cfg")
    assert (found.ino, found.ctime.nsec, found.mtime.sec, found.size) == (inode, version, mtime, size)


def test_the_tree_can_be_changed(mount):
    path = f"{mount}/storage.cfg"
    content = cfs.read(path)
    cfs.write(path, b"changed")
    assert cfs.read(path) == b"changed"
    cfs.write(path, content)
    os.mkdir(f"{mount}/new")
    os.rmdir(f"{mount}/new")


# --- Import and export, no daemon ---

def import_into(directory, database, **options):
    os.makedirs(directory, exist_ok=True)
    return cfs.cfsgate("import", str(database), "--state", str(directory), **options)


def checksum(state):
    done = cfs.cfsgate("check", "--state", str(state), "--json", check=True)
    return json.loads(done.stdout)["checksum"]


DATABASES = [CONFIG_DB, f"{cfs.VECTORS}/config-db/tree-basic.db",
             f"{cfs.VECTORS}/config-db/after-sync.db"]


@pytest.mark.parametrize("database", DATABASES, ids=["whole", "tree-basic", "after-sync"])
def test_export_and_import_give_the_same_checksum(tmp_path, database):
    import_into(tmp_path / "one", database, check=True)
    cfs.cfsgate("export", str(tmp_path / "out.db"), "--state", str(tmp_path / "one"), check=True)
    assert stat.S_IMODE(os.stat(tmp_path / "out.db").st_mode) == 0o600
    import_into(tmp_path / "two", tmp_path / "out.db", check=True)
    assert checksum(tmp_path / "one") == checksum(tmp_path / "two")


@pytest.mark.parametrize("database", DATABASES, ids=["whole", "tree-basic", "after-sync"])
def test_an_export_holds_the_rows_of_the_original(tmp_path, database):
    def rows(file):
        connection = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
        found = connection.execute(
            "SELECT inode, parent, version, writer, mtime, name, coalesce(data, ''), "
            "CASE inode WHEN 0 THEN 0 ELSE type END FROM tree ORDER BY inode").fetchall()
        connection.close()
        return [tuple(bytes(value) if isinstance(value, bytes) else value for value in row)
                for row in found]

    import_into(tmp_path / "state", database, check=True)
    cfs.cfsgate("export", str(tmp_path / "out.db"), "--state", str(tmp_path / "state"), check=True)
    assert rows(tmp_path / "out.db") == rows(database)


def test_the_checksum_is_that_of_the_original(tmp_path):
    with open(f"{cfs.VECTORS}/tree-basic.json") as file:
        expected = json.dumps(json.load(file))
    import_into(tmp_path / "state", f"{cfs.VECTORS}/config-db/tree-basic.db", check=True)
    assert checksum(tmp_path / "state") in expected


def test_the_source_is_not_changed(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.db").write_bytes(cfs.read(CONFIG_DB))
    import_into(tmp_path / "state", source / "config.db", check=True)
    assert os.listdir(source) == ["config.db"]
    assert cfs.read(source / "config.db") == cfs.read(CONFIG_DB)


def test_a_running_daemon_says_the_same_checksum(daemon, mount, tmp_path):
    daemon.client("export", str(tmp_path / "out.db"))
    import_into(tmp_path / "state", tmp_path / "out.db", check=True)
    assert checksum(tmp_path / "state") == daemon.checksum()


def test_the_names_of_virtual_entries_are_hidden(make_daemon):
    rows = [(2, 0, 8, "local", b"hidden"), (3, 0, 8, ".version", b"hidden"),
            (4, 0, 4, "lxc", None), (5, 4, 8, "below", b"hidden"), (6, 0, 8, "shown", b"x"),
            (7, 0, 4, "d", None), (8, 7, 8, "local", b"not in the root")]
    daemon = cfs.imported(rows)
    try:
        daemon.start()
        assert os.readlink(daemon.path("local")) == "nodes/pve1"
        assert b"starttime" in cfs.read(daemon.path(".version"))
        assert cfs.read(daemon.path("shown")) == b"x"
        assert cfs.read(daemon.path("d/local")) == b"not in the root"
        listed = cfs.names(daemon.mount)
        assert len(listed) == len(set(listed))
        assert set(listed) == {"shown", "d", *cfs.VIRTUAL_LINKS, *cfs.VIRTUAL_FILES}
        daemon.stop()
    finally:
        daemon.remove()


@pytest.mark.parametrize("rows", [
    [(2, 99, 8, "orphan", b"")],
    [(2, 0, 8, "f", b""), (3, 2, 8, "child-of-file", b"")],
    [(2, 0, 8, "", b"")],
    [(2, 0, 7, "type", b"")],
    [(2, 0, 4, "d", b"data")],
    [(2, 0, 8, "twice", b"1"), (3, 0, 8, "twice", b"2")],
    [(2, 3, 4, "a", None), (3, 2, 4, "b", None)],
    [(2, 0, 8, "a/b", b"")],
    [(2, 0, 8, "..", b"")],
    [(2, 0, 8, "big", bytes(cfs.MIB + 1))],
    [(2, 0, 4, "nodes", None), (3, 2, 4, "a", None), (4, 2, 4, "b", None), (5, 3, 4, "lxc", None),
     (6, 4, 4, "qemu-server", None), (7, 5, 8, "100.conf", b""), (8, 6, 8, "100.conf", b"")],
], ids=["no-parent", "parent-is-file", "empty-name", "type", "directory-data", "same-name",
        "cycle", "slash", "dots", "too-big", "vmid-twice"])
def test_a_broken_database_is_refused_and_leaves_no_state(tmp_path, rows):
    database = tmp_path / "config.db"
    cfs.make_database(str(database), rows)
    done = import_into(tmp_path / "state", database)
    assert done.returncode != 0
    assert done.stderr.strip()
    assert not os.path.exists(tmp_path / "state" / "tree.mdb")
    # The place is free for a good one.
    import_into(tmp_path / "state", CONFIG_DB, check=True)


def test_a_file_in_place_of_a_kind_directory_is_imported():
    """The original does not start with such a tree; here it holds no guests."""
    rows = [(2, 0, 4, "nodes", None), (3, 2, 4, "a", None), (4, 3, 8, "lxc", b"file"),
            (5, 3, 4, "qemu-server", None), (6, 5, 8, "100.conf", b"")]
    with cfs.imported(rows) as daemon:
        assert cfs.read(daemon.path("nodes/a/lxc")) == b"file"
        assert list(json.loads(cfs.read(daemon.path(".vmlist")))["ids"]) == ["100"]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000, None],
                         ids=["empty", "noise", "missing"])
def test_what_is_no_database_is_refused(tmp_path, content):
    database = tmp_path / "config.db"
    if content is not None:
        database.write_bytes(content)
    done = import_into(tmp_path / "state", database)
    assert done.returncode != 0
    assert str(database) in done.stderr
    assert not os.path.exists(tmp_path / "state" / "tree.mdb")


def test_an_existing_store_is_not_overwritten(tmp_path):
    import_into(tmp_path / "state", CONFIG_DB, check=True)
    before = checksum(tmp_path / "state")
    done = import_into(tmp_path / "state", f"{cfs.VECTORS}/config-db/tree-basic.db")
    assert done.returncode != 0
    assert checksum(tmp_path / "state") == before


def test_an_import_into_the_state_of_a_running_daemon_is_refused(daemon, mount):
    done = import_into(daemon.state, f"{cfs.VECTORS}/config-db/tree-basic.db", timeout=60)
    assert done.returncode != 0
    assert os.path.exists(f"{mount}/storage.cfg")


def test_the_daemon_imports_a_database_that_it_finds(make_daemon):
    daemon = make_daemon()
    with open(f"{daemon.state}/config.db", "wb") as file:
        file.write(cfs.read(CONFIG_DB))
    daemon.start()
    assert os.path.exists(daemon.path("storage.cfg"))
    daemon.restart()
    daemon.stop()
