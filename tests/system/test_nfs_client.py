# SPDX-License-Identifier: Apache-2.0
"""The commands over NFS: `cfsgate nfs ...` and `cfsgate mount-nfs`.

First against a server of the test's own, which refuses, stalls and goes away as told; then against
the daemon. No kernel client is needed: mount(8) is a stand-in here.
"""
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time

import pytest

import cfs
import nfs_stub
from nfs_stub import ACCES, CLOSE, DROP, JUKEBOX, NOSPC, REFUSE, STALE

EXPORT = nfs_stub.EXPORT


@pytest.fixture
def server():
    with nfs_stub.Server() as instance:
        yield instance


def nfs(port, command, *arguments, **options):
    return cfs.cfsgate("nfs", command, "--port", port, *arguments, **options)


def start(port, command, *arguments, **options):
    """The same, not waited for."""
    return subprocess.Popen([cfs.program("cfsgate"), "nfs", command, "--port", str(port), *arguments],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            **options)


def times(count, answer):
    """A hook that answers so the first `count` times, and then lets the call happen."""
    left = [count]

    def hook():
        left[0] -= 1
        return answer if left[0] >= 0 else None
    return hook


def always(answer):
    return lambda: answer


def in_turn(*steps):
    """A hook that does one of these at each call, and lets the call happen."""
    rest = list(steps)

    def hook():
        step = rest.pop(0) if rest else None
        return step() if step else None
    return hook


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# --- What it does ---

def test_listing(server):
    for name in ("beta", "alpha", "gamma", "delta", "epsilon"):
        server.add(name, b"12345")
    server.add("folder", kind=nfs_stub.DIRECTORY)
    server.add("link", b"folder", kind=nfs_stub.LINK)
    server.add("folder/inside", b"1")
    assert nfs(server.port, "ls", check=True).stdout.split() == [
        "alpha", "beta", "delta", "epsilon", "folder", "gamma", "link"]
    for path in ("folder", "link", "/folder/", f"{EXPORT}/folder"):
        assert nfs(server.port, "ls", path, check=True).stdout == "inside\n"
    assert nfs(server.port, "ls", "folder/inside", check=True).stdout == "folder/inside\n"
    lines = nfs(server.port, "ls", "-l", check=True).stdout.splitlines()
    assert lines[0].split()[:5] == ["-rw-r-----", "1", "root", "www-data", "5"]
    assert lines[4].startswith("drwxr-xr-x")
    assert lines[6].startswith("l") and lines[6].endswith("link -> folder")


def test_listing_as_json(server):
    server.add("file", b"12345")
    server.add("link", b"file", kind=nfs_stub.LINK)
    answer = json.loads(nfs(server.port, "ls", "--json", check=True).stdout)
    assert [entry["name"] for entry in answer["entries"]] == ["file", "link"]
    first, second = answer["entries"]
    assert (first["kind"], first["size"], first["mode"], first["gid"]) == ("file", 5, 0o640, 33)
    assert (second["kind"], second["target"]) == ("symlink", "file")


def test_stat(server):
    entry = server.add("file", b"12345")
    server.add("link", b"file", kind=nfs_stub.LINK)
    answer = json.loads(nfs(server.port, "stat", "--json", "file", check=True).stdout)
    assert (answer["path"], answer["kind"], answer["size"]) == ("/file", "file", 5)
    assert (answer["file_id"], answer["file_system_id"]) == (entry.number, 7)
    assert answer["ctime_nanoseconds"] == entry.version
    assert "target: file" in nfs(server.port, "stat", "link", check=True).stdout


def test_links_are_followed_inside_the_export_only(server):
    server.add("folder", kind=nfs_stub.DIRECTORY)
    server.add("folder/file", b"found")
    for name, target in (("relative", b"./folder"), ("absolute", b"/etc/pve/folder"),
                         ("up", b"../../folder"), ("outside", b"/etc"), ("beside", b"/etc/pvex"),
                         ("loop", b"loop")):
        server.add(name, target, kind=nfs_stub.LINK)
    for name in ("relative", "absolute", "up"):
        assert nfs(server.port, "cat", f"{name}/file", check=True).stdout == "found"
    for name in ("outside", "beside"):
        done = nfs(server.port, "cat", f"{name}/passwd")
        assert (done.returncode, "out of the export" in done.stderr) == (1, True)
    assert "too many links" in nfs(server.port, "cat", "loop").stderr
    assert "'..' is refused" in nfs(server.port, "cat", "folder/../folder/file").stderr


@pytest.mark.parametrize("size", [0, 1, 4096, 65536, 65537, cfs.MIB])
def test_put_and_cat_give_the_same_bytes(size, tmp_path):
    data = os.urandom(size)
    (tmp_path / "input").write_bytes(data)
    with nfs_stub.Server(write_bytes_max=65536) as server:
        nfs(server.port, "put", "file", data=data, check=True)
        assert server.content("file") == data
        assert server.calls.get("write", 0) == -(-size // 65536)
        nfs(server.port, "put", "other", tmp_path / "input", check=True)
        assert server.content("other") == data
        assert server.names() == ["file", "other"]
        done = subprocess.run([cfs.program("cfsgate"), "nfs", "cat", "--port", str(server.port), "file"],
                              stdout=subprocess.PIPE, check=True, timeout=30)
        assert done.stdout == data


def test_put_replaces_and_in_place_overwrites(server):
    entry = server.add("file", b"a long old content")
    nfs(server.port, "put", "file", data=b"new", check=True)
    assert server.content("file") == b"new"
    assert entry.content == b"a long old content", "the old file was written to"
    before = server.entries[1].names["file"]
    nfs(server.port, "put", "--in-place", "file", data=b"ne", check=True)
    assert server.content("file") == b"ne"
    assert server.entries[1].names["file"] == before
    nfs(server.port, "put", "--in-place", "another", data=b"1", check=True)
    assert server.names() == ["another", "file"]


def test_rm_and_mv(server):
    server.add("file", b"1")
    server.add("folder", kind=nfs_stub.DIRECTORY)
    server.add("folder/inside", b"1")
    done = nfs(server.port, "rm", "folder")
    assert (done.returncode, "Directory not empty" in done.stderr) == (1, True)
    nfs(server.port, "mv", "folder/inside", "moved", check=True)
    nfs(server.port, "rm", "folder", check=True)
    nfs(server.port, "rm", "file", check=True)
    assert server.names() == ["moved"]
    done = nfs(server.port, "mv", "nothing", "moved")
    assert (done.returncode, "nothing -> moved: No such file" in done.stderr) == (1, True)


# --- Who calls ---

def test_root_calls_from_a_reserved_port(server):
    nfs(server.port, "ls", check=True)
    assert server.peers and all(port < 1024 for _, port in server.peers)
    assert set(user for user, _, _ in server.credentials) == {0}


def test_a_user_calls_as_itself_with_its_groups(server):
    user = cfs.NOBODY

    def become():
        os.setgroups([cfs.WWW_DATA, 4242])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    done = start(server.port, "ls", preexec_fn=become)
    assert done.communicate(timeout=30) == (b"", b"")
    assert all(port >= 1024 for _, port in server.peers)
    assert server.credentials[0] == (user.pw_uid, user.pw_gid, [cfs.WWW_DATA, 4242])


# --- What goes wrong ---

def test_nobody_there():
    port = closed_port()
    for arguments in (["ls"], ["cat", "x"], ["put", "x"], ["rm", "x"], ["mv", "x", "y"], ["stat", "x"]):
        done = nfs(port, *arguments, data=b"")
        assert done.returncode == 3
        assert f"is cfsgated running with NFS on 127.0.0.1:{port}" in done.stderr


def test_wrong_usage(server):
    for arguments in (["ls", "a", "b"], ["cat"], ["put"], ["mv", "a"], ["stat"], ["nothing"],
                      ["ls", "--port", "0"], ["ls", "--port", "65536"], ["ls", "--timeout", "0"],
                      ["cat", "--json", "a"], ["ls", "--in-place"]):
        done = cfs.cfsgate("nfs", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
    assert "nfs put" in cfs.cfsgate("nfs", "--help", check=True).stdout
    assert "--in-place" in cfs.cfsgate("nfs", "put", "--help", check=True).stdout


def test_names_that_cannot_be(server):
    done = nfs(server.port, "ls", "--server", "no-such-host.invalid")
    assert (done.returncode, "no-such-host.invalid" in done.stderr) == (3, True)
    done = nfs(server.port, "ls", "--export", "/elsewhere")
    assert (done.returncode, "no such export" in done.stderr) == (1, True)
    done = nfs(server.port, "put", "/", data=b"")
    assert (done.returncode, "root" in done.stderr) == (1, True)


def test_a_host_that_is_not_admitted(server):
    server.hooks["mnt"] = always(ACCES)
    done = nfs(server.port, "ls")
    assert (done.returncode, "[export]" in done.stderr) == (1, True)
    server.hooks = {"mount-null": always(CLOSE)}
    done = nfs(server.port, "ls")
    assert (done.returncode, "does it allow this host" in done.stderr) == (3, True)


def test_credentials_that_are_not_accepted(server):
    server.hooks["lookup"] = always(REFUSE)
    done = nfs(server.port, "cat", "secret")
    assert done.returncode == 1
    assert f"127.0.0.1:{EXPORT}/secret" in done.stderr
    assert "does not accept calls of uid 0" in done.stderr


@pytest.mark.parametrize("status, text", [
    (ACCES, "Permission denied"), (STALE, "Stale file handle"), (NOSPC, "No space left")])
def test_a_status_names_server_and_path(server, status, text):
    server.add("file", b"1")
    server.hooks["read"] = always(status)
    done = nfs(server.port, "cat", "file")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{EXPORT}/file: {text}" in done.stderr


def test_a_file_that_was_replaced_while_it_was_looked_up_is_read_again(server):
    server.add("file", b"content")
    server.hooks["read"] = times(2, STALE)
    assert nfs(server.port, "cat", "file", check=True).stdout == "content"


def test_a_long_read_is_of_one_version():
    with nfs_stub.Server(write_bytes_max=4096) as server:
        entry = server.add("file", b"1" * 10000)

        def change():
            entry.content = b"2" * 10000
            entry.version += 1
            server.hooks.clear()
        server.hooks["read"] = in_turn(None, change)
        assert nfs(server.port, "cat", "file", check=True).stdout == "2" * 10000


def test_a_server_that_is_busy_is_asked_again(server):
    for name in ("lookup", "create", "write", "rename"):
        server.hooks[name] = times(2, JUKEBOX)
    server.add("folder", kind=nfs_stub.DIRECTORY)
    nfs(server.port, "put", "folder/file", data=b"1", check=True)
    assert server.calls["rename"] == 3
    server.hooks = {"getattr": always(JUKEBOX)}
    with cfs.faster_than(5, "a server that stays busy"):
        done = nfs(server.port, "stat", "folder", "--timeout", "1")
    assert (done.returncode, "busy" in done.stderr) == (1, True)


def test_a_server_that_does_not_answer(server):
    server.add("file", b"1")
    server.hooks["read"] = always(DROP)
    with cfs.faster_than(5, "a time-out of a second"):
        done = nfs(server.port, "cat", "file", "--timeout", "1")
    assert (done.returncode, "no answer in time" in done.stderr) == (1, True)
    server.hooks = {"mount-null": always(DROP)}
    with cfs.faster_than(5, "a time-out of a second"):
        done = nfs(server.port, "cat", "file", "--timeout", "1")
    assert done.returncode == 3


@pytest.mark.parametrize("name, answer", [
    ("write", NOSPC), ("write", CLOSE), ("write", DROP), ("rename", ACCES), ("rename", CLOSE),
    ("rename", nfs_stub.EXIST), ("rename", DROP), ("create", CLOSE)])
def test_a_failed_put_leaves_nothing_and_the_old_file(server, name, answer):
    server.add("file", b"old")
    server.hooks[name] = times(1, answer)
    done = nfs(server.port, "put", "file", "--timeout", "1", data=b"new")
    assert done.returncode == 1 and done.stderr.startswith("cfsgate: ")
    assert server.names() == ["file"]
    assert server.content("file") == b"old"


def test_what_may_be_left_is_named(server):
    server.hooks = {"write": always(NOSPC), "remove": always(ACCES)}
    done = nfs(server.port, "put", "file", data=b"new")
    name, = server.names()
    assert f"{name} may be left over" in done.stderr


def test_too_much(server, tmp_path):
    with open(tmp_path / "big", "wb") as file:
        file.truncate(cfs.MIB + 1)
    for options in ({"data": bytes(cfs.MIB + 1)}, {}):
        arguments = [] if options else [tmp_path / "big"]
        done = nfs(server.port, "put", "file", *arguments, **options)
        assert (done.returncode, "holds at most 1048576 bytes" in done.stderr) == (1, True)
    assert server.calls == {}


# --- Being interrupted ---

@pytest.mark.parametrize("command", [["ls"], ["cat", "file"], ["stat", "file"], ["rm", "file"]])
def test_an_interrupt_ends_at_once(server, command):
    server.add("file", b"1")
    server.hooks["getattr"] = always(DROP)
    process = start(server.port, *command)
    cfs.wait_for(lambda: server.calls.get("getattr"), "the command waits")
    process.send_signal(signal.SIGINT)
    with cfs.faster_than(2, "the end"):
        assert process.wait(10) == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name, answer", [("write", JUKEBOX), ("write", DROP), ("rename", DROP)])
def test_an_interrupted_put_leaves_nothing(server, number, name, answer):
    server.add("file", b"old")
    server.hooks[name] = always(answer)
    process = start(server.port, "put", "file")
    process.stdin.write(b"new")
    process.stdin.close()
    cfs.wait_for(lambda: server.calls.get(name), "the command waits")
    process.send_signal(number)
    with cfs.faster_than(6, "the end"):
        assert process.wait(10) == -number
    assert server.names() == ["file"]
    assert server.content("file") == b"old"


def catches(pid, number):
    with open(f"/proc/{pid}/status") as file:
        mask = int(re.search(r"SigCgt:\s*(\w+)", file.read()).group(1), 16)
    return bool(mask >> (number - 1) & 1)


def test_a_second_interrupt_does_not_wait(server):
    server.hooks["write"] = always(DROP)
    process = start(server.port, "put", "file")
    process.stdin.write(b"new")
    process.stdin.close()
    cfs.wait_for(lambda: server.calls.get("write"), "the command waits")
    process.send_signal(signal.SIGINT)
    cfs.wait_for(lambda: not catches(process.pid, signal.SIGINT), "the first one has arrived")
    process.send_signal(signal.SIGINT)
    with cfs.faster_than(1, "the end"):
        assert process.wait(10) == -signal.SIGINT


# --- Progress ---

def on_terminal(port, *arguments, data):
    """What a command prints on a terminal as stderr."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([cfs.program("cfsgate"), "nfs", *arguments, "--port", str(port)],
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    process.stdin.write(data)
    process.stdin.close()
    text = b""
    while select.select([leader], [], [], 20)[0]:
        try:
            text += os.read(leader, 4096)
        except OSError:  # nobody has the other end any more
            break
    os.close(leader)
    assert process.wait(10) == 0
    return text.decode()


def slow():
    time.sleep(1.5)


def test_progress_is_shown_where_somebody_looks_and_waits(server):
    server.add("file", bytes(4096))
    assert on_terminal(server.port, "put", "quick", data=b"1") == ""
    server.hooks = {"write": slow, "read": slow}
    assert re.search(r"other: 0 of 1 KiB, 1 s", on_terminal(server.port, "put", "other", data=b"1"))
    assert re.search(r"file: 0 of 4 KiB, 1 s", on_terminal(server.port, "cat", "file", data=b""))
    assert nfs(server.port, "put", "third", data=b"1", check=True).stderr == ""


# --- Mounting ---

@pytest.fixture
def fake_mount(tmp_path):
    """A `mount` and an `umount` in PATH that write down how they were called."""
    for name in ("mount", "umount"):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/called\nexit ${{FAKE_EXIT:-0}}\n')
        script.chmod(0o755)
    (tmp_path / "place").mkdir()
    return tmp_path


def mount_nfs(fake, *arguments, exit_code=0):
    environment = dict(os.environ, PATH=f"{fake}:{os.environ['PATH']}", FAKE_EXIT=str(exit_code))
    return cfs.cfsgate("mount-nfs", *arguments, env=environment)


def called(fake):
    path = fake / "called"
    return path.read_text().splitlines() if path.exists() else []


def test_how_it_is_mounted(server, fake_mount):
    place, port = fake_mount / "place", server.port
    done = mount_nfs(fake_mount, place, "--port", port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    line, = called(fake_mount)
    words = line.split()
    assert words[:4] == ["mount", "-t", "nfs", "-o"]
    assert words[5:] == [f"127.0.0.1:{EXPORT}", str(place)]
    options = words[4].split(",")
    for option in ("vers=3", "proto=tcp", f"port={port}", "mountproto=tcp", f"mountport={port}",
                   "mountvers=3", "nolock", "hard", "nosuid", "nodev"):
        assert option in options
    assert "ro" not in options
    mount_nfs(fake_mount, place, "--port", port, "--read-only", "-o", "actimeo=3", "-o", "noexec")
    assert called(fake_mount)[-1].split()[4].endswith(",nodev,ro,actimeo=3,noexec")


def test_a_mount_that_fails(server, fake_mount):
    done = mount_nfs(fake_mount, fake_mount / "place", "--port", server.port, exit_code=32)
    assert (done.returncode, "mount failed (32)" in done.stderr) == (1, True)


def test_a_mount_needs_a_server_that_answers(server, fake_mount):
    done = mount_nfs(fake_mount, fake_mount / "place", "--port", closed_port())
    assert (done.returncode, "is cfsgated running with NFS" in done.stderr) == (3, True)
    server.hooks["null"] = always(DROP)
    with cfs.faster_than(8, "the look whether a server answers"):
        done = mount_nfs(fake_mount, fake_mount / "place", "--port", server.port)
    assert (done.returncode, "no answer in time" in done.stderr) == (3, True)
    assert called(fake_mount) == []


def test_a_mount_needs_a_free_directory(server, fake_mount):
    (fake_mount / "file").write_text("")
    for place, text in (("/proc", "is a mount already"), (fake_mount / "nothing", "No such file"),
                        (fake_mount / "file", "is no directory")):
        done = mount_nfs(fake_mount, place, "--port", server.port)
        assert (done.returncode, text in done.stderr) == (1, True), done.stderr
    assert called(fake_mount) == []


def test_only_nfs_mounts_are_unmounted(fake_mount):
    for place, text in (("/proc", "is no NFS mount but proc"),
                        (fake_mount / "place", "nothing is mounted there")):
        done = mount_nfs(fake_mount, "--unmount", place)
        assert (done.returncode, text in done.stderr) == (1, True), done.stderr
    assert called(fake_mount) == []


# --- Who is connected ---

def test_clients_as_the_daemon_tells_them(tmp_path):
    clients = [{"address": "127.0.0.1", "port": 702, "owner": 0, "speaks_for": "any",
                "since": 1700000000, "requests": 12, "errors": 1, "last_error": "LOOKUP: NotFound",
                "bytes_in": 2048, "bytes_out": 4096},
               {"address": "fd00::1", "port": 40000, "owner": None, "speaks_for": "remote",
                "since": 1700000000, "requests": 0, "errors": 0, "last_error": None,
                "bytes_in": 0, "bytes_out": 0}]
    control = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(control)
        listener.listen()
        table = answered(listener, clients, "clients", "--control", control)
        first, second = table.stdout.splitlines()[1:]
        assert first.split()[:3] == ["127.0.0.1:702", "root", "any"]
        assert first.endswith("LOOKUP: NotFound")
        assert second.split()[:3] == ["[fd00::1]:40000", "-", "remote"]
        as_json = answered(listener, clients, "clients", "--control", control, "--json")
        assert json.loads(as_json.stdout)["clients"] == clients


def answered(listener, clients, *arguments):
    process = subprocess.Popen([cfs.program("cfsgate"), "nfs", *arguments], stdout=subprocess.PIPE)
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        assert json.loads(stream.readline()) == {"command": "nfs-clients"}
        connection.sendall(json.dumps({"ok": True, "clients": clients}).encode() + b"\n")
        output, _ = process.communicate(timeout=30)
    return subprocess.CompletedProcess([], process.returncode, output.decode(), "")


# --- The daemon's own server ---

@pytest.fixture(scope="module")
def daemon():
    if "--nfs-port" not in cfs.run(cfs.program("cfsgated"), "--help").stdout:
        pytest.skip("this cfsgated has no NFS server")
    instance = cfs.Daemon(nfs=True)
    instance.deaths = 0
    try:
        instance.start()
        address, = (text for text in instance.status()["nfs"]["addresses"] if "127." in text)
        instance.port = int(address.rpartition(":")[2])
        yield instance
        instance.stop()
    finally:
        instance.remove()


def names_over_nfs(daemon, *arguments):
    return nfs(daemon.port, "ls", *arguments, check=True).stdout.splitlines()


def test_the_tree_over_nfs(daemon, folder):
    name = os.path.basename(folder)
    data = os.urandom(cfs.MIB)
    cfs.write(f"{folder}/here", b"by the mount")
    nfs(daemon.port, "put", f"{name}/there", data=data, check=True)
    assert cfs.read(f"{folder}/there") == data
    assert names_over_nfs(daemon, name) == cfs.names(folder) == ["here", "there"]
    assert nfs(daemon.port, "cat", f"{EXPORT}/{name}/here", check=True).stdout == "by the mount"
    nfs(daemon.port, "mv", f"{name}/there", f"{name}/moved", check=True)
    nfs(daemon.port, "put", "--in-place", f"{name}/moved", data=b"short", check=True)
    assert cfs.read(f"{folder}/moved") == b"short"
    nfs(daemon.port, "rm", f"{name}/moved", check=True)
    nfs(daemon.port, "rm", f"{name}/here", check=True)
    nfs(daemon.port, "rm", name, check=True)
    cfs.wait_for(lambda: not os.path.exists(folder), "the mount has forgotten the directory")


def test_an_old_name_does_not_lead_to_the_renamed_file(daemon, folder):
    """The kernel has learned the new name by a look at it, and believes the old one for a while."""
    name = os.path.basename(folder)
    for count in range(5):
        old, new = f"{folder}/old-{count}", f"{folder}/new-{count}"
        cfs.write(old, b"content")
        nfs(daemon.port, "mv", f"{name}/old-{count}", f"{name}/new-{count}", check=True)
        assert os.stat(new).st_size == 7
        cfs.write(old, b"another file")
        assert cfs.read(new) == b"content" and cfs.read(old) == b"another file"
        nfs(daemon.port, "mv", f"{name}/new-{count}", f"{name}/newer-{count}", check=True)
        assert os.stat(f"{folder}/newer-{count}").st_size == 7
        with pytest.raises(FileNotFoundError):
            cfs.read(new)


def test_the_root_looks_the_same_over_nfs(daemon, mount):
    assert set(names_over_nfs(daemon)) == set(os.listdir(mount)) | set(cfs.VIRTUAL_FILES)
    answer = json.loads(nfs(daemon.port, "ls", "--json", check=True).stdout)
    links = {entry["name"]: entry.get("target") for entry in answer["entries"]}
    for name in cfs.VIRTUAL_LINKS:
        assert links[name] == os.readlink(f"{mount}/{name}")
    assert nfs(daemon.port, "cat", ".version", check=True).stdout == cfs.read(
        f"{mount}/.version").decode()


def test_attributes_are_those_of_the_mount(daemon, folder):
    name = os.path.basename(folder)
    cfs.write(f"{folder}/file", b"12345")
    for path in (name, f"{name}/file"):
        found = os.stat(f"{daemon.mount}/{path}")
        shown = json.loads(nfs(daemon.port, "stat", "--json", path, check=True).stdout)
        assert (shown["mode"], shown["uid"], shown["gid"], shown["file_id"], shown["mtime"]) == (
            found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_ino, int(found.st_mtime))
        assert shown["ctime_nanoseconds"] == found.st_ctime_ns % 10**9
    assert shown["size"] == 5


def test_a_user_gets_what_the_mount_gives(daemon, mount):
    os.makedirs(f"{mount}/priv", exist_ok=True)
    cfs.write(f"{mount}/priv/secret", b"1")
    cfs.write(f"{mount}/readable", b"1")
    user = (cfs.NOBODY.pw_uid, cfs.NOBODY.pw_gid, [])
    for path in ("priv/secret", "readable"):
        assert cfs.in_child(cfs.errno_of, cfs.read, f"{mount}/{path}", user=user) == "EACCES"
        process = start(daemon.port, "cat", path, preexec_fn=lambda: become(user))
        output, text = process.communicate(timeout=30)
        assert (process.returncode, output) == (1, b"")
        assert b"Permission denied" in text


def become(user):
    os.setgroups(user[2])
    os.setgid(user[1])
    os.setuid(user[0])


def test_mount_nfs_finds_the_daemon(daemon, mount, fake_mount):
    assert mount_nfs(fake_mount, fake_mount / "place", "--port", daemon.port).returncode == 0
    assert len(called(fake_mount)) == 1


def test_the_daemon_tells_its_clients(daemon, mount):
    def clients():
        done = cfs.cfsgate("nfs", "clients", "--json", "--control", daemon.control, check=True)
        return {client["port"]: client for client in json.loads(done.stdout)["clients"]}

    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        own = connection.getsockname()[1]
        cfs.wait_for(lambda: own in clients(), "the connection is listed")
        assert (clients()[own]["address"], clients()[own]["owner"]) == ("127.0.0.1", 0)
    cfs.wait_for(lambda: own not in clients(), "the connection is gone")
