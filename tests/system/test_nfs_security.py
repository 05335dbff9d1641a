# SPDX-License-Identifier: Apache-2.0
"""Nobody gets more by NFS than by the FUSE mount, whatever a request claims.

The client is one of ours, so that it can lie: about its user, its groups, its handles, and by closing
its socket before anybody could ask who made it.
"""
import contextlib
import itertools
import json
import os
import pwd
import shutil
import socket
import stat
import struct
import time

import pytest

import cfs
import nfs_rpc
from nfs_rpc import (ACCES, AUTH_NONE, BADHANDLE, DELETE, EXCLUSIVE, EXECUTE, EXTEND, LOOKUP, MODIFY,
                     NOENT, OK, PERM, READ, ROFS, STALE, TOOWEAK, UNCHECKED, Connection, RpcError,
                     as_root, attributes_to_set, auth_sys)

WWW_DATA = cfs.WWW_DATA


def user(name, *groups):
    found = pwd.getpwnam(name)
    return found.pw_uid, found.pw_gid, list(groups)


USERS = {"nobody": user("nobody"), "daemon": user("daemon"), "www-data": user("www-data")}

FILES = {"file": b"for the group\n", "empty": b"", "dir/inside": b"12345", "101.start": b"#!/bin/sh\n",
         "priv/x": b"secret", "priv/deep/y": b"secret too", "nodes/n/priv/y": b"of a node",
         "nodes/n/config": b"public"}
LINKS = cfs.VIRTUAL_LINKS
VIRTUAL = cfs.VIRTUAL_FILES + LINKS
DIRECTORIES = ["", "dir", "priv", "priv/deep", "nodes", "nodes/n", "nodes/n/priv"]
PATHS = DIRECTORIES + sorted(FILES) + [".version", ".clusterlog", ".debug", "local"]


def fill(mount):
    for path in DIRECTORIES[1:]:
        os.makedirs(f"{mount}/{path}", exist_ok=True)
    for path, content in FILES.items():
        cfs.write(f"{mount}/{path}", content)


def nfs_port(daemon, host="127.0.0.1"):
    for address in daemon.status()["nfs"]["addresses"]:
        at, _, port = address.rpartition(":")
        if at.strip("[]") == host:
            return int(port)
    raise AssertionError(f"NFS does not listen at {host}")


class Service:
    """A running daemon with a tree, and the handles of its entries."""

    def __init__(self, daemon):
        self.daemon, self.mount, self.port = daemon, daemon.mount, nfs_port(daemon)
        fill(self.mount)
        with as_root(self.port) as root:
            self.handles = {path: root.walk(path) for path in [*PATHS, *VIRTUAL]}

    def counters(self):
        return self.daemon.request("status")["nfs"]

    def log_lines(self, text):
        with open(self.daemon.log_file, errors="replace") as log:
            return [line for line in log if text in line]


@pytest.fixture(scope="module")
def daemon():
    with cfs.Daemon(nfs=True) as instance:
        yield instance


@pytest.fixture(scope="module")
def service(daemon):
    return Service(daemon)


@pytest.fixture(scope="module")
def squashing():
    with cfs.Daemon(nfs=True, arguments=["--export.beyond-proof", "squash"]) as instance:
        yield Service(instance)


# --- The same question to both mounts ---
#
# An answer is "no", or what was seen. Both sides give it in the same form.

NO = "no"


def by_fuse(function):
    try:
        return function()
    except OSError:
        return NO


def seen_by_stat(found):
    kinds = {stat.S_IFREG: nfs_rpc.REGULAR, stat.S_IFDIR: nfs_rpc.DIRECTORY, stat.S_IFLNK: nfs_rpc.LINK}
    return {"type": kinds[stat.S_IFMT(found.st_mode)], "mode": stat.S_IMODE(found.st_mode),
            "uid": found.st_uid, "gid": found.st_gid, "size": found.st_size, "nlink": found.st_nlink,
            "fileid": found.st_ino, "mtime": int(found.st_mtime),
            "ctime": [int(found.st_ctime), found.st_ctime_ns % 10**9]}


def seen(attributes):
    keys = ("type", "mode", "uid", "gid", "size", "nlink", "fileid")
    return {**{key: attributes[key] for key in keys}, "mtime": attributes["mtime"][0],
            "ctime": list(attributes["ctime"])}


def bits_of_access(path):
    """What ACCESS should say, by access(2)."""
    is_directory = os.path.isdir(path) and not os.path.islink(path)
    os.lstat(path)
    bits = READ if os.access(path, os.R_OK) else 0
    if os.access(path, os.W_OK):
        bits |= MODIFY | EXTEND | (DELETE if is_directory else 0)
    if os.access(path, os.X_OK):
        bits |= LOOKUP if is_directory else EXECUTE
    return bits


NAMES = ("inside", "x", "priv", "new")


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


def create(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def ask_fuse(mount, path):
    """What this process gets from the mount, by question."""
    full = f"{mount}/{path}"

    def done(function, *arguments, **options):
        return by_fuse(lambda: function(*arguments, **options) is None)
    answers = {
        "getattr": by_fuse(lambda: seen_by_stat(os.lstat(full))),
        "readlink": by_fuse(lambda: os.readlink(full)),
        "chmod": done(os.chmod, full, 0o777),
        "chown": done(os.chown, full, os.getuid(), os.getgid()),
        "mtime": done(os.utime, full, (1, 1), follow_symlinks=False)}
    if path not in LINKS:
        answers.update({
            "access": by_fuse(lambda: bits_of_access(full)),
            "readdir": by_fuse(lambda: sorted(os.listdir(full))),
            "readdirplus": by_fuse(lambda: {name: seen_by_stat(os.lstat(f"{full}/{name}"))
                                            for name in os.listdir(full)}),
            "read": by_fuse(lambda: cfs.read(full).decode()),
            "read from 1": by_fuse(lambda: cfs.read(full).decode()[1:]),
            "write": done(open_for_writing, full),
            "size": done(os.truncate, full, 0)})
    for name in NAMES if path not in LINKS else ():
        entry = f"{full}/{name}"
        answers.update({
            f"lookup {name}": by_fuse(lambda: seen_by_stat(os.lstat(entry))),
            f"create {name}": done(create, entry),
            f"mkdir {name}": done(os.mkdir, entry),
            f"remove {name}": done(os.unlink, entry),
            f"rmdir {name}": done(os.rmdir, entry),
            f"rename {name}": done(os.rename, entry, f"{full}/other"),
            f"symlink {name}": done(os.symlink, "file", entry)})
    return answers


class ByNfs:
    """What one connection gets with one credential. Looks as well for what an error gives away."""

    def __init__(self, connection, handles):
        self.connection, self.handles = connection, handles
        self.leaks = []

    def ask(self, name, path, *arguments, **options):
        """The result, or None."""
        try:
            result = self.connection.ask(name, self.handles[path], *arguments, **options)
        except RpcError as error:
            if error.why != TOOWEAK:
                self.leaks.append(f"{name} {path}: {error}")
            return None
        if result["status"] == OK:
            return result
        self.look_for_leaks(name, path, arguments, result)
        return None

    def look_for_leaks(self, name, path, arguments, result):
        """An error must tell nothing of an entry that the caller cannot see, nor whether it is there."""
        told = [key for key in ("attributes", "directory") if result.get(key)]
        told += [key for key in ("wcc", "target") if result.get(key) and any(result[key].values())]
        hidden = path.startswith(("priv/", "nodes/n/priv/"))
        in_hidden = hidden or (path in ("priv", "nodes/n/priv") and arguments and arguments[0] in NAMES)
        silent = result["status"] in (ACCES, PERM, nfs_rpc.NOTSUPP)
        if (hidden and told) or (in_hidden and not silent):
            self.leaks.append(f"{name} {path} {arguments}: status {result['status']} tells {told}")

    def answers(self, path):
        """As ask_fuse() gives them."""
        def answer(what, name, *arguments):
            found = self.ask(name, path, *arguments)
            return NO if found is None else what(found)

        def attributes(found):
            return seen(found["attributes"])

        def content(found):
            return found["data"].decode()
        answers = {"getattr": answer(attributes, "getattr"),
                   "readlink": answer(lambda found: found["target"], "readlink")}
        for what, wanted in (("chmod", {"mode": 0o777}), ("chown", {"uid": os.getuid(), "gid": os.getgid()}),
                             ("mtime", {"mtime": 1})):
            answers[what] = answer(bool, "setattr", attributes_to_set(**wanted))
        if path in LINKS:
            return answers
        answers.update({
            "access": answer(lambda found: found["access"], "access"),
            "readdir": answer(lambda found: sorted(real(found)), "readdir"),
            "readdirplus": answer(lambda found: {name: seen(entry["attributes"])
                                                 for name, entry in real(found).items()}, "readdirplus"),
            "read": answer(content, "read"),
            "read from 1": answer(content, "read", 1),
            "write": answer(bool, "write", 0, b"spoilt"),
            "size": answer(bool, "setattr", attributes_to_set(size=0))})
        for name in NAMES:
            answers.update({
                f"lookup {name}": answer(attributes, "lookup", name),
                f"create {name}": self.create(path, name),
                f"mkdir {name}": answer(bool, "mkdir", name),
                f"remove {name}": answer(bool, "remove", name),
                f"rmdir {name}": answer(bool, "rmdir", name),
                f"rename {name}": answer(bool, "rename", name, self.handles[path], "other"),
                f"symlink {name}": answer(bool, "symlink", name, "file")})
        return answers

    def create(self, path, name):
        ways = [self.ask("create", path, name),
                self.ask("create", path, name, UNCHECKED, attributes_to_set(size=0)),
                self.ask("create", path, name, EXCLUSIVE, b"verifier"),
                self.ask("mknod", path, name),
                self.ask("link", path, self.handles[""], name),
                self.ask("rename", "", "file", self.handles[path], name)]
        return True if any(ways) else NO


def real(listing):
    return {entry["name"]: entry for entry in listing["entries"] if entry["name"] not in (".", "..")}


def normal(value):
    return json.loads(json.dumps(value))


def differences(fuse, nfs, exactly):
    """Not `exactly`: NFS may refuse what FUSE allows."""
    found = []
    for path, expected in fuse.items():
        for question, answer in normal(nfs.answers(path)).items():
            less = answer == NO or question == "access" and expected[question] != NO and (
                answer & ~expected[question] == 0)
            if answer != expected[question] and (exactly or not less):
                found.append(f"{question} /{path}: FUSE {expected[question]}, NFS {answer}")
    return found + nfs.leaks


def compare(mount, port, handles, claims):
    """In a process of a user: where NFS and FUSE differ, for each claim: all on one connection, then
    each on its own."""
    fuse = normal({path: ask_fuse(mount, path) for path in PATHS})
    found = []
    with Connection(port) as shared:
        for name, shared.credential, exactly in claims:
            found += [f"{name}: {text}" for text in differences(fuse, ByNfs(shared, handles), exactly)]
    for name, credential, exactly in claims[:2]:
        with Connection(port, credential=credential) as alone:
            found += [f"{name}, alone: {text}"
                      for text in differences(fuse, ByNfs(alone, handles), exactly)]
    return found


def claims_of(uid, gid, groups):
    """(what, credential, whether it is the truth)"""
    return [("root", auth_sys(0), False),
            ("its own", auth_sys(uid, gid, groups), True),
            ("AUTH_NONE", AUTH_NONE, False),
            ("group www-data", auth_sys(uid, WWW_DATA), False),
            ("root with groups", auth_sys(0, 0, [0, WWW_DATA]), False),
            ("groups root, www-data", auth_sys(uid, gid, [0, WWW_DATA]), False),
            ("sixteen groups", auth_sys(uid, gid, [*range(40, 55), WWW_DATA]), False),
            ("another user", auth_sys(4711), False),
            ("another user of www-data", auth_sys(4711, WWW_DATA, [WWW_DATA]), False),
            ("no number", auth_sys(0xffffffff, 0xffffffff, [0xffffffff]), False),
            ("its own again", auth_sys(uid, gid, groups), True)]


def check_user(service, user):
    before = service.daemon.checksum()
    found = cfs.in_child(compare, service.mount, service.port, service.handles, claims_of(*user),
                         user=user, seconds=60)
    assert found == [], "\n".join(found)
    assert service.daemon.checksum() == before


@pytest.mark.parametrize("name", USERS)
def test_a_user_gets_by_nfs_what_it_gets_by_fuse(service, name):
    before = service.counters()["beyond_proof"]
    check_user(service, USERS[name])
    assert service.counters()["beyond_proof"] > before


@pytest.mark.parametrize("name", ["nobody", "www-data"])
def test_squashed_claims_get_no_more(squashing, name):
    check_user(squashing, USERS[name])


class WithGroupFile(cfs.Daemon):
    """It alone sees another /etc/group: its file system is private but for its base directory."""

    def __init__(self, groups, **options):
        super().__init__(nfs=True, **options)
        self.group_file = f"{self.base}/group"
        cfs.write(self.group_file, groups.encode())
        os.chmod(self.group_file, 0o644)
        cfs.run("mount", "--bind", self.base, self.base, check=True)
        cfs.run("mount", "--make-shared", self.base, check=True)

    def command(self, name=None):
        script = "mount --make-private / && mount --bind \"$0\" /etc/group && exec \"$@\""
        return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script, self.group_file,
                *super().command(name)]

    def remove(self):
        if self.alive():
            self.abort()
        cfs.remove_mounts(self.base)
        super().remove()


def test_a_member_of_www_data_gets_by_nfs_what_it_gets_by_fuse():
    uid, gid, _ = USERS["daemon"]
    with WithGroupFile(f"root:x:0:\ndaemon:x:{gid}:\nwww-data:x:{WWW_DATA}:daemon\n") as daemon:
        service = Service(daemon)
        check_user(service, (uid, gid, [WWW_DATA]))
        assert cfs.in_child(read_as, service.port, service.handles["file"],
                            auth_sys(uid, gid, [WWW_DATA]), user=(uid, gid, [WWW_DATA])) == "for the group\n"


def read_as(port, handle, credential, **options):
    """What READ says: the text, the status, or why the request is refused."""
    with Connection(port, credential=credential, **options) as connection:
        try:
            found = connection.ask("read", handle)
        except RpcError as error:
            return list(error.why)
        return found["data"].decode() if found["status"] == OK else found["status"]


def test_beyond_proof_is_refused_by_default_and_squashed_by_option(service, squashing):
    nobody = USERS["nobody"]
    for claim in (auth_sys(0), auth_sys(nobody[0], WWW_DATA), auth_sys(1), auth_sys(nobody[0], gids=[0])):
        assert cfs.in_child(read_as, service.port, service.handles["file"], claim,
                            user=nobody) == list(TOOWEAK)
        assert cfs.in_child(read_as, squashing.port, squashing.handles["file"], claim,
                            user=nobody) == ACCES
    own = auth_sys(*USERS["www-data"][:2])
    assert cfs.in_child(read_as, service.port, service.handles["file"], own,
                        user=USERS["www-data"]) == "for the group\n"
    # What is proven of the claim stays.
    claim = auth_sys(WWW_DATA, WWW_DATA, [0])
    assert cfs.in_child(read_as, squashing.port, squashing.handles["file"], claim,
                        user=USERS["www-data"]) == "for the group\n"


def test_everybody_may_ask_whether_there_is_a_service(service):
    def null_and_mnt():
        with Connection(service.port, credential=auth_sys(0)) as connection:
            connection.ask("null")
            try:
                return connection.mnt()
            except RpcError as error:
                return list(error.why)
    assert cfs.in_child(null_and_mnt, user=USERS["nobody"]) == list(TOOWEAK)


# --- Root ---

def test_root_is_believed_from_reserved_ports_only(service):
    handle = service.handles["priv/x"]
    assert read_as(service.port, handle, auth_sys(0), source_port="reserved") == "secret"
    assert read_as(service.port, handle, auth_sys(1), source_port="reserved") == ACCES
    assert read_as(service.port, handle, auth_sys(0)) == list(TOOWEAK)
    assert read_as(service.port, handle, auth_sys(1)) == list(TOOWEAK)
    assert read_as(service.port, handle, AUTH_NONE) == ACCES
    assert read_as(service.port, handle, AUTH_NONE, source_port="reserved") == ACCES


def test_roots_high_ports_are_root_by_option(make_daemon):
    with make_daemon(nfs=True, arguments=["--export.root-from-high-ports", "on"]) as daemon:
        service = Service(daemon)
        handle = service.handles["priv/x"]
        assert read_as(service.port, handle, auth_sys(0)) == "secret"
        # As root itself, not as everybody.
        assert read_as(service.port, handle, auth_sys(1)) == list(TOOWEAK)
        for claim in (auth_sys(0), auth_sys(0, 0, [0])):
            assert cfs.in_child(read_as, service.port, handle, claim,
                                user=USERS["nobody"]) == list(TOOWEAK)


def test_a_socket_keeps_its_maker(service):
    """Who gets a socket by inheritance speaks as whoever made it; also the other way round."""
    def use_inherited():
        with Connection(service.port) as connection:
            os.setresuid(0, 0, 0)
            connection.credential = auth_sys(0)
            try:
                return connection.ask("read", service.handles["priv/x"])["status"]
            except RpcError as error:
                return list(error.why)

    def make_as_nobody():
        os.setegid(USERS["nobody"][1])
        os.seteuid(USERS["nobody"][0])
        return use_inherited()
    assert cfs.in_child(make_as_nobody) == list(TOOWEAK)


# --- What is left behind for others ---

def test_the_list_of_mounts_names_no_private_directory(service):
    with as_root(service.port) as root:
        assert isinstance(root.mnt("/etc/pve/priv/deep"), bytes)
        assert isinstance(root.mnt("/etc/pve/dir"), bytes)
        assert {path for _, path in root.dump()} >= {"/etc/pve/priv/deep", "/etc/pve/dir"}

    def dump():
        with Connection(service.port) as connection:
            return [path for _, path in connection.dump()]
    seen_by_nobody = cfs.in_child(dump, user=USERS["nobody"])
    assert "/etc/pve/dir" in seen_by_nobody
    assert [path for path in seen_by_nobody if "priv" in path] == []


def test_mount_tells_nothing_of_private_directories(service):
    def mounts():
        with Connection(service.port) as connection:
            return [status if isinstance(status, int) else OK for status in map(connection.mnt, [
                "/etc/pve", "/etc/pve/priv", "/etc/pve/priv/deep", "/etc/pve/priv/missing",
                "/etc/pve/priv/x", "/etc/pve/file", "/etc/pve/missing", "/etc", "/etc/pve/..",
                "/etc/pve/dir/../priv/deep"])]
    found = cfs.in_child(mounts, user=USERS["nobody"])
    assert found[:8] == [OK, OK, ACCES, ACCES, ACCES, nfs_rpc.NOTDIR, NOENT, NOENT]
    assert OK not in found[8:]


def test_nobody_spoils_the_create_of_another(service):
    """The SETATTR that follows an EXCLUSIVE create is root's, who made the file."""
    with as_root(service.port) as root:
        made = root.ask("create", service.handles["dir"], "exclusive", EXCLUSIVE, b"verifier")
        assert made["status"] == OK

        def meddle():
            with Connection(service.port) as connection:
                return connection.ask("setattr", made["handle"], attributes_to_set(mode=0o777))["status"]
        assert cfs.in_child(meddle, user=USERS["nobody"]) in (PERM, ACCES)
        after = root.ask("setattr", made["handle"], attributes_to_set(mode=0o644, mtime="now"))
        assert after["status"] == OK
        assert root.ask("remove", service.handles["dir"], "exclusive")["status"] == OK


def test_an_answer_is_repeated_to_nobody_else(service):
    """The same request, word for word, by another user is another request."""
    request = nfs_rpc.request(77, "create", service.handles["dir"], "repeated", credential=auth_sys(0))

    def send(**options):
        with Connection(service.port, **options) as connection:
            connection.socket.sendall(request)
            try:
                result = nfs_rpc.parse_result("create", connection.receive(77))
            except RpcError as error:
                return list(error.why)
            return [result["status"], *result]
    assert send(source_port="reserved")[0] == OK
    assert cfs.in_child(send, user=USERS["nobody"]) == list(TOOWEAK)
    os.unlink(f"{service.mount}/dir/repeated")


# --- Handles ---

def make_crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    return table


CRC32C = make_crc32c_table()


def handle_of(file_system, number, kind=1):
    """As the server makes them; they are no secret."""
    body = struct.pack("<IQQ", kind, file_system, number)
    value = 0xffffffff
    for byte in body:
        value = value >> 8 ^ CRC32C[(value ^ byte) & 255]
    return body + struct.pack("<I", value ^ 0xffffffff)


def file_system_of(handle):
    return struct.unpack_from("<Q", handle, 4)[0]


# Those that take one handle, with further arguments that would do.
BY_HANDLE = {"getattr": (), "setattr": (attributes_to_set(size=0),), "lookup": ("x",), "access": (),
             "readlink": (), "read": (), "write": (0, b"spoilt"), "create": ("new",), "mkdir": ("new",),
             "remove": ("inside",), "rmdir": ("deep",), "readdir": (), "readdirplus": (), "fsstat": (),
             "fsinfo": (), "pathconf": (), "commit": ()}


def told(result):
    """What an answer says beyond its status."""
    return [value for key, value in result.items() if key != "status"
            and value and not (isinstance(value, dict) and not any(value.values()))]


def test_a_handle_with_a_flipped_byte_is_none(service):
    before = service.daemon.checksum()
    with as_root(service.port) as root:
        for path in ("", "file", "priv/x", "dir"):
            handle = service.handles[path]
            for at, flip in itertools.product(range(len(handle)), (0x01, 0x80, 0xff)):
                forged = bytearray(handle)
                forged[at] ^= flip
                sent = [root.send(name, bytes(forged), *arguments) for name, arguments in BY_HANDLE.items()]
                for one in sent:
                    result = root.take(one)
                    assert (result["status"], told(result)) == (BADHANDLE, []), (path, at, flip, one)
    assert service.daemon.checksum() == before


def test_a_handle_of_another_length_is_none(service):
    handle = service.handles["file"]
    with as_root(service.port) as root:
        for size in range(65):
            forged = (handle * 3)[:size]
            expected = OK if forged == handle else BADHANDLE
            assert root.ask("getattr", forged)["status"] == expected, size
        with pytest.raises(RpcError) as error:
            root.ask("getattr", (handle * 3)[:65])
        assert error.value.why == nfs_rpc.GARBAGE_ARGS


def test_handles_of_unknown_formats_and_other_file_systems(service, squashing):
    handle = service.handles["file"]
    number, = struct.unpack_from("<Q", handle, 12)
    ours = file_system_of(handle)
    assert handle == handle_of(ours, number)
    with as_root(service.port) as root:
        for kind in (0, 2, 0x100, 0x01000000):
            assert root.ask("getattr", handle_of(ours, number, kind))["status"] == BADHANDLE
        foreign = [squashing.handles[path] for path in PATHS]
        foreign += [handle_of(ours ^ 1, number), handle_of(0, number)]
        for forged, (name, arguments) in itertools.product(foreign, BY_HANDLE.items()):
            result = root.ask(name, forged, *arguments)
            assert (result["status"], told(result)) == (STALE, []), name


def test_handles_of_what_is_removed_are_stale(service):
    with as_root(service.port) as root:
        for path, remove in (("dir/gone", os.unlink), ("priv/gone", os.unlink), ("priv/gone-dir", os.rmdir)):
            full = f"{service.mount}/{path}"
            os.mkdir(full) if remove is os.rmdir else cfs.write(full, b"will go")
            handle = root.walk(path)
            remove(full)
            for name, arguments in BY_HANDLE.items():
                result = root.ask(name, handle, *arguments)
                assert (result["status"], told(result)) == (STALE, []), (path, name)
            status = root.ask("rename", service.handles["dir"], "inside", handle, "new")["status"]
            assert status == STALE
            assert root.ask("rename", handle, "inside", service.handles["dir"], "new")["status"] == STALE

            def ask_as_nobody():
                with Connection(service.port) as connection:
                    return [connection.ask(name, handle, *arguments)["status"]
                            for name, arguments in BY_HANDLE.items()]
            assert set(cfs.in_child(ask_as_nobody, user=USERS["nobody"])) <= {STALE, ACCES}


def test_guessed_numbers_open_what_the_user_may_see(service):
    """All inode numbers, with checksums as they must be: nothing but what `find` shows."""
    highest = max(struct.unpack_from("<Q", handle, 12)[0] for path, handle in service.handles.items()
                  if path not in VIRTUAL)
    virtual = [struct.unpack_from("<Q", service.handles[path], 12)[0] for path in VIRTUAL]
    file_system = file_system_of(service.handles[""])
    numbers = {*range(highest + 64), *virtual, *(1 << bit for bit in range(64)), 2**64 - 1, 2**63 - 1}

    def guess():
        visible = {os.lstat(service.mount).st_ino}
        for top, folders, files in os.walk(service.mount):
            visible |= {os.lstat(f"{top}/{name}").st_ino for name in folders + files}
        seen_by_nfs, wrong = set(), []
        with Connection(service.port) as connection:
            for number in numbers:
                found = connection.ask("getattr", handle_of(file_system, number))
                if found["status"] == OK:
                    seen_by_nfs.add(found["attributes"]["fileid"])
                elif found["status"] not in (STALE, ACCES, BADHANDLE) or told(found):
                    wrong.append([number, found["status"]])
        return [sorted(seen_by_nfs), sorted(visible), wrong]
    found, visible, wrong = cfs.in_child(guess, user=USERS["nobody"])
    assert wrong == []
    assert found == visible


# --- The race, and other addresses: in network namespaces ---

class Namespace:
    """A network namespace with only its loopback device."""
    numbers = itertools.count()

    def __init__(self):
        self.name = f"cfs{os.getpid()}-{next(self.numbers)}"
        cfs.run("ip", "netns", "add", self.name, check=True)
        self.run("ip", "link", "set", "lo", "up")

    def prefix(self):
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def run(self, *command):
        return cfs.run(*self.prefix(), *command, check=True)

    def enter(self):
        """The calling process; meant for children."""
        clone_newnet = 0x40000000
        fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        assert cfs.libc.setns(fd, clone_newnet) == 0, "setns"
        os.close(fd)

    def child(self, function, *arguments, user=(0, 0, [])):
        """The function's value, in a process in here."""
        def inside():
            self.enter()
            become(user)
            return function(*arguments)
        return cfs.in_child(inside)

    def remove(self):
        cfs.run("ip", "netns", "delete", self.name)


def become(user):
    uid, gid, groups = user
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


class InNamespace(cfs.Daemon):
    def __init__(self, namespace, **options):
        super().__init__(nfs=True, **options)
        self.namespace = namespace

    def command(self, name=None):
        return [*self.namespace.prefix(), *super().command(name)]


@pytest.fixture(scope="module")
def namespaces():
    """Makes them; skips where that is not allowed."""
    made = []

    def make():
        if not shutil.which("ip") or cfs.run("unshare", "--net", "true").returncode:
            pytest.skip("no network namespaces here")
        made.append(Namespace())
        return made[-1]
    yield make
    for namespace in made:
        namespace.remove()


OWN_ADDRESSES = ["192.0.2.1", "192.0.2.2"]


@pytest.fixture(scope="module")
def credulous(namespaces):
    """A service that would believe a forger, if the kernel said "root": root's high ports count, users
    may bind reserved ports, and a rule believes all of a network in which are also our own addresses."""
    namespace = namespaces()
    namespace.run("sysctl", "-q", "-w", "net.ipv4.ip_unprivileged_port_start=0")
    for address in OWN_ADDRESSES:
        namespace.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    arguments = ["--export.root-from-high-ports", "on", "--nfs-listen", "0.0.0.0",
                 "--export.allow", "192.0.2.0/24 rw squash=none insecure private=priv"]
    daemon = InNamespace(namespace, arguments=arguments)
    with daemon:
        fill(daemon.mount)
        daemon.port = nfs_port(daemon, "0.0.0.0")
        yield daemon


WAYS_TO_END = ["close", "shutdown", "reset", "exit"]
ROUTES = [(None, "127.0.0.1"), (OWN_ADDRESSES[0], OWN_ADDRESSES[0]), (OWN_ADDRESSES[0], OWN_ADDRESSES[1]),
          (OWN_ADDRESSES[1], "127.0.0.1")]


def send_and_end(port, route, source_port, how, messages):
    """Connects and sends; gives back the socket if it is to be kept."""
    if how == "exit":
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                send_and_end(port, route, source_port, "keep", messages)
            os._exit(0)
        os.waitpid(pid, 0)
        return None
    connection = Connection(port, route[1], source=route[0], source_port=source_port).socket
    for message in messages:
        connection.sendall(message)
    if how == "shutdown":
        connection.shutdown(socket.SHUT_WR)
    elif how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    elif how == "close":
        connection.close()
    return connection


def bytes_received(connection):
    try:
        return len(connection.recv(4096))
    except ConnectionResetError:
        return 0


def test_who_is_gone_before_anybody_asks_is_nobody(credulous):
    """Closed sockets read as root's. Connections made while the daemon stands still, with requests in
    root's name, are over before it can ask who made them."""
    namespace, port = credulous.namespace, credulous.port
    root = namespace.child(lambda: as_root(port).mnt().hex())
    before, refused = credulous.checksum(), credulous.status()["nfs"]["refused"]
    cases = list(itertools.product(ROUTES, (0, "reserved"), WAYS_TO_END)) * 3

    def forge(waiting):
        namespace.enter()
        become(USERS["nobody"])
        kept = []
        for number, (route, source_port, how) in enumerate(cases):
            messages = [nfs_rpc.request(xid, "mkdir", bytes.fromhex(root), f"forged-{number}-{xid}",
                                        credential=credential)
                        for xid, credential in enumerate([auth_sys(0), auth_sys(0, 0, [0, WWW_DATA])])]
            kept.append(send_and_end(port, route, source_port, how, messages))
        waiting.pause()
        return [bytes_received(one) for one in kept if one is not None and one.fileno() >= 0]

    with cfs.Waiting() as waiting:
        with cfs.stopped(credulous):
            waiting.start(forge, waiting)
            waiting.paused()
        # Whoever comes later is accepted later.
        namespace.child(lambda: as_root(port).ask("null"))
        waiting.go_on()
        answers = waiting.results()[0]
    assert answers == [0] * len(answers), "a request was answered"
    assert credulous.checksum() == before, [name for name in cfs.names(credulous.mount) if "forged" in name]
    # What was reset may not come up at all.
    at_least = sum(how != "reset" for _, _, how in cases)
    assert credulous.status()["nfs"]["refused"] - refused >= at_least


def test_a_local_process_is_its_owner_by_whatever_address_it_comes(credulous):
    namespace, port = credulous.namespace, credulous.port
    file, secret = namespace.child(
        lambda: [handle.hex() for handle in map(as_root(port).walk, ("file", "priv/x"))])

    def answers(credential):
        return [[read_as(port, bytes.fromhex(handle), credential, host=target, source=source,
                         source_port=source_port) for handle in (file, secret)]
                for (source, target), source_port in itertools.product(ROUTES, (0, "reserved"))]
    uid, gid, _ = nobody = USERS["nobody"]
    assert namespace.child(answers, auth_sys(0), user=nobody) == [[list(TOOWEAK)] * 2] * 8
    assert namespace.child(answers, auth_sys(uid, WWW_DATA), user=nobody) == [[list(TOOWEAK)] * 2] * 8
    assert namespace.child(answers, auth_sys(uid, gid), user=nobody) == [[ACCES, ACCES]] * 8
    assert namespace.child(answers, auth_sys(*USERS["www-data"][:2]), user=USERS["www-data"]) == [
        ["for the group\n", ACCES]] * 8
    assert namespace.child(answers, auth_sys(0)) == [["for the group\n", "secret"]] * 8


# --- Other hosts ---

SERVER, SERVER_V6 = "192.0.2.1", "2001:db8::1"
RULES = {
    "192.0.2.11": "ro squash=none",
    "192.0.2.12": "rw",
    "192.0.2.13": "rw squash=all",
    "192.0.2.14": "rw squash=none",
    "192.0.2.15": "rw squash=none private=priv/deep,nodes/n/priv",
    "192.0.2.16": "squash=none insecure private=priv",
    "2001:db8::11": "rw squash=none",
}
UNKNOWN = ["192.0.2.20", "2001:db8::20"]


def host_bits(address):
    return "64" if ":" in address else "24"


@pytest.fixture(scope="module")
def remote(namespaces):
    """A daemon on one host, and another host with many addresses."""
    here, there = namespaces(), namespaces()
    here.run("ip", "link", "add", "v0", "type", "veth", "peer", "v1", "netns", there.name)
    for namespace, device, addresses in ((here, "v0", [SERVER, SERVER_V6]),
                                         (there, "v1", [*RULES, *UNKNOWN])):
        for address in addresses:
            namespace.run("ip", "address", "add", f"{address}/{host_bits(address)}", "dev", device,
                          *(["nodad"] if ":" in address else []))
        namespace.run("ip", "link", "set", device, "up")
    arguments = ["--nfs-listen", "0.0.0.0", "--nfs-listen", "::"]
    for address, rule in RULES.items():
        arguments += ["--export.allow", f"{address} {rule}"]
    with InNamespace(here, arguments=arguments) as daemon:
        fill(daemon.mount)
        ports = {SERVER: nfs_port(daemon, "0.0.0.0"), SERVER_V6: nfs_port(daemon, "::")}
        handles = here.child(lambda: {path: as_root(ports[SERVER]).walk(path).hex() for path in PATHS})
        daemon.there, daemon.ports = there, ports
        daemon.handles = {path: bytes.fromhex(handle) for path, handle in handles.items()}
        yield daemon


class Remote:
    """A connection from one of the other host's addresses; give it root's claims unless told."""

    def __init__(self, daemon, address, source_port="reserved", credential=auth_sys(0)):
        server = SERVER_V6 if ":" in address else SERVER
        self.handles = daemon.handles
        self.connection = Connection(daemon.ports[server], server, credential, source=address,
                                     source_port=source_port)

    def status(self, name, path, *arguments, **options):
        try:
            return self.connection.ask(name, self.handles[path], *arguments, **options)["status"]
        except RpcError as error:
            return list(error.why)

    def names(self, path, plus=False):
        found = self.connection.list(self.handles[path], plus)
        return found if isinstance(found, int) else sorted(entry["name"] for entry in found)


def from_there(daemon, address, function, **options):
    """function(Remote) on the other host."""
    return daemon.there.child(lambda: function(Remote(daemon, address, **options)))


@pytest.mark.parametrize("address", UNKNOWN)
def test_another_host_is_refused_without_a_rule(remote, address):
    refused = remote.status()["nfs"]["refused"]

    def ask(there):
        try:
            return there.status("getattr", "")
        except ConnectionError:
            return "closed"
    for source_port in ("reserved", 0):
        assert from_there(remote, address, ask, source_port=source_port) == "closed"
    assert remote.status()["nfs"]["refused"] == refused + 2


def test_a_read_only_rule(remote):
    before = remote.checksum()

    def ask(there):
        return [there.status("read", "file"), there.status("access", ""),
                there.connection.ask("access", there.handles["file"])["access"],
                there.status("write", "file", 0, b"spoilt"),
                there.status("setattr", "file", attributes_to_set(size=0)),
                there.status("setattr", "file", attributes_to_set(mtime=1)),
                there.status("create", "dir", "new"), there.status("mkdir", "dir", "new"),
                there.status("remove", "dir", "inside"), there.status("rmdir", "nodes", "n"),
                there.status("rename", "dir", "inside", there.handles["dir"], "new")]
    assert from_there(remote, "192.0.2.11", ask) == [OK, OK, READ] + [ROFS] * 8
    assert remote.checksum() == before


def test_root_is_squashed_by_default(remote):
    def ask(there):
        return [there.status("getattr", "file"), there.status("read", "file"),
                there.status("create", "dir", "new"), there.status("write", "file", 0, b"x")]
    assert from_there(remote, "192.0.2.12", ask) == [OK, ACCES, ACCES, ACCES]
    # Others are believed: the rule says so.
    assert from_there(remote, "192.0.2.12", ask, credential=auth_sys(33, WWW_DATA)) == [
        OK, OK, ACCES, ACCES]
    assert from_there(remote, "192.0.2.12", ask, credential=auth_sys(0, WWW_DATA)) == [
        OK, OK, ACCES, ACCES]


def test_squash_all_believes_nobody(remote):
    def ask(there):
        return [there.status("getattr", "file"), there.status("read", "file"),
                there.status("create", "dir", "new")]
    for claim in (auth_sys(0), auth_sys(33, WWW_DATA, [0, WWW_DATA]), AUTH_NONE):
        assert from_there(remote, "192.0.2.13", ask, credential=claim) == [OK, ACCES, ACCES]


@pytest.mark.parametrize("address", ["192.0.2.14", "2001:db8::11"])
def test_squash_none_believes_root(remote, address):
    def ask(there):
        return [there.status("create", "dir", "remote"), there.status("remove", "dir", "remote"),
                there.status("read", "file"), there.status("setattr", "file", attributes_to_set(mtime=1))]
    assert from_there(remote, address, ask) == [OK] * 4
    assert from_there(remote, address, ask, credential=auth_sys(4711)) == [ACCES, NOENT, ACCES, ACCES]
    assert from_there(remote, address, ask, credential=AUTH_NONE) == [ACCES, NOENT, ACCES, ACCES]


def test_a_high_port_needs_a_rule_that_says_so(remote):
    def ask(there):
        there.connection.ask("null")
        return there.status("getattr", "")
    for address in RULES:
        for credential in (auth_sys(0), auth_sys(4711), AUTH_NONE):
            expected = OK if "insecure" in RULES[address] else list(TOOWEAK)
            found = from_there(remote, address, ask, source_port=0, credential=credential)
            assert found == expected, address


PRIVATE = [path for path in PATHS if path == "priv" or path.startswith(("priv/", "nodes/n/priv"))]


def test_private_subtrees_are_hidden_from_other_hosts(remote):
    before = remote.checksum()

    def ask(there):
        leaks = []
        for path, (name, arguments) in itertools.product(PRIVATE, BY_HANDLE.items()):
            result = there.connection.ask(name, there.handles[path], *arguments)
            if result["status"] not in (ACCES, NOENT) or told(result):
                leaks.append([name, path, result["status"], len(told(result))])
        listed = [there.names(path, plus) for path in ("", "nodes/n") for plus in (False, True)]
        ways_in = [there.status("lookup", "", "priv"), there.status("lookup", "nodes/n", "priv"),
                   there.status("remove", "nodes/n", "priv"), there.status("mkdir", "", "priv"),
                   there.status("create", "", "priv"), there.status("create", "nodes/n", "priv"),
                   there.status("rename", "", "priv", there.handles[""], "open"),
                   there.status("rename", "nodes/n", "priv", there.handles[""], "open"),
                   there.status("rename", "", "dir", there.handles[""], "priv"),
                   # What is private is so by its path.
                   there.status("rename", "", "nodes", there.handles[""], "open"),
                   there.status("rename", "nodes", "n", there.handles[""], "open"),
                   there.status("rename", "nodes", "n", there.handles["dir"], "open"),
                   there.status("rename", "", "dir", there.handles["nodes"], "dir")]
        mounts = [there.connection.mnt(f"/etc/pve/{path}") for path in ("priv", "priv/deep", "nodes/n/priv")]
        return leaks, listed, ways_in, mounts
    leaks, listed, ways_in, mounts = from_there(remote, "192.0.2.14", ask)
    assert leaks == []
    assert [name for names in listed for name in names if name == "priv"] == []
    assert "dir" in listed[0] and "config" in listed[2]
    assert ways_in[:2] == [NOENT, NOENT]
    assert OK not in ways_in, ways_in
    assert not [mount for mount in mounts if not isinstance(mount, int)]
    assert remote.checksum() == before


def test_private_subtrees_are_exported_by_name(remote):
    def ask(there):
        return [there.status("read", path) for path in ("priv/deep/y", "nodes/n/priv/y", "priv/x")], \
            [there.names("priv"), "priv" in there.names(""), there.status("lookup", "priv", "x"),
             there.status("lookup", "priv", "deep"), there.status("getattr", "priv/x")]
    reads, names = from_there(remote, "192.0.2.15", ask)
    assert reads == [OK, OK, ACCES]
    assert names == [["deep"], True, NOENT, OK, ACCES]
    # The rule opens them to root, and to root alone.
    reads, _ = from_there(remote, "192.0.2.15", lambda there: (
        [there.status("read", path) for path in ("priv/deep/y", "nodes/n/priv/y", "priv/x")], None),
        credential=auth_sys(4711, WWW_DATA))
    assert reads == [ACCES] * 3
    assert from_there(remote, "192.0.2.16", lambda there: there.status("read", "priv/x")) == OK


# --- What the administrator is told ---

def test_refusals_are_counted_and_logged_once_for_each_connection(make_daemon):
    with make_daemon(nfs=True) as daemon:
        service = Service(daemon)

        def claim():
            for _ in range(20):
                with Connection(service.port) as connection:
                    for uid in (0, 0, 4711):
                        read = connection.send("read", service.handles["file"], credential=auth_sys(uid))
                        with contextlib.suppress(RpcError):
                            connection.take(read)
        start = time.monotonic()
        cfs.in_child(claim, user=USERS["nobody"])
        assert service.counters()["beyond_proof"] == 40
        lines = service.log_lines("claims to be")
        assert 1 <= len(lines) <= 1 + (time.monotonic() - start) / 10, lines
        nobody = USERS["nobody"][0]
        assert f"uid {nobody} at 127.0.0.1:" in lines[0] and "uid 0, gid 0" in lines[0]
        clients = daemon.request("nfs-clients")["clients"]
        assert clients == []


def test_connections_that_nobody_proves_are_counted_and_logged(make_daemon):
    with make_daemon(nfs=True) as daemon:
        service = Service(daemon)
        with cfs.stopped(daemon):
            for _ in range(50):
                Connection(service.port).close()
        cfs.wait_for(lambda: service.counters()["refused"] == 50, "50 are refused")
        assert len(service.log_lines("refused: nobody owns the socket")) + len(
            service.log_lines("refused: the peer")) == 1


def test_clients_are_listed_with_what_is_proven_of_them(service):
    uid = USERS["daemon"][0]
    with cfs.Waiting() as waiting:
        def ask():
            with Connection(service.port, credential=auth_sys(0)) as connection:
                with contextlib.suppress(RpcError):
                    connection.ask("getattr", service.handles[""])
                waiting.pause()
        waiting.start(ask, user=USERS["daemon"])
        waiting.paused()
        clients = service.daemon.request("nfs-clients")["clients"]
        waiting.go_on()
        waiting.results()
    assert [(client["owner"], client["last_error"]) for client in clients] == [
        (uid, "claims more than is proven")], clients
