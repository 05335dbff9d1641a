# SPDX-License-Identifier: Apache-2.0
"""The past of a real daemon: log, show, diff, restore, snapshots, purge, and the guard."""
import glob
import json
import os
import re
import shlex
import stat
import subprocess
import threading
import time

import pytest

import cfs

SECRET = b"Tr0ub4dor&3-is-the-secret"


@pytest.fixture
def daemon():
    with cfs.Daemon() as instance:
        yield instance


def ask(daemon, *words, **options):
    """A `cfsgate` command, of one word or two, to this daemon."""
    options.setdefault("check", True)
    return cfs.cfsgate(*words, "--control", daemon.control, "--state", daemon.state, "--mount",
                       daemon.mount, **options)


def ask_json(daemon, *words):
    return json.loads(ask(daemon, *words, "--json").stdout)


def log(daemon, *words):
    return ask_json(daemon, "log", *words)["records"]


def version(daemon):
    return daemon.status()["tree"]["version"]


def listing(daemon):
    """Every entry: kind, mode, time and content."""
    found = {}
    for folder, folders, files in os.walk(daemon.mount):
        for name in folders + files:
            path = os.path.join(folder, name)
            below = os.path.relpath(path, daemon.mount)
            status = os.lstat(path)
            if below in cfs.VIRTUAL_FILES or stat.S_ISLNK(status.st_mode):
                continue
            content = cfs.read(path) if stat.S_ISREG(status.st_mode) else None
            found[below] = (oct(status.st_mode), int(status.st_mtime), content)
    return found


def expect_listing(daemon, expected):
    """The kernel is told of a change a moment after the command is answered."""
    try:
        cfs.wait_for(lambda: listing(daemon) == expected, "the tree", 5)
    except AssertionError:
        assert listing(daemon) == expected


def next_second():
    """Waits for the clock to go on by a second; returns the one that has ended. By the clock of
    time(2), which is some milliseconds behind that of time.time()."""
    coarse = 5  # CLOCK_REALTIME_COARSE
    now = int(time.clock_gettime(coarse))
    cfs.wait_for(lambda: int(time.clock_gettime(coarse)) > now, "the next second")
    return now


def make_tree(daemon):
    os.makedirs(daemon.path("etc/deep/er"))
    cfs.write(daemon.path("etc/a.cfg"), b"one\ntwo\nthree\n")
    cfs.write(daemon.path("etc/deep/er/b.cfg"), b"below")
    cfs.write(daemon.path("etc/empty"), b"")
    for i, path in enumerate(["etc/a.cfg", "etc/deep/er/b.cfg", "etc/deep", "etc"]):
        os.utime(daemon.path(path), (1500000000 + i, 1500000000 + i))


def remove_tree(path):
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            os.rmdir(os.path.join(folder, name))
    os.rmdir(path)


def files_with(daemon, secret):
    return [path for path in glob.glob(f"{daemon.state}/**", recursive=True)
            if os.path.isfile(path) and secret in cfs.read(path)]


# --- Looking ---

def test_log_says_who_when_and_what(daemon):
    begin = next_second() + 1
    os.mkdir(daemon.path("d"))
    cfs.write(daemon.path("d/f"), b"content")
    os.utime(daemon.path("d/f"), (1500000000, 1500000000))
    end = next_second()
    os.rename(daemon.path("d/f"), daemon.path("g"))
    os.unlink(daemon.path("g"))
    records = log(daemon)
    assert [record["what"] for record in records] == [
        "delete", "rename", "mtime", "write", "create", "mkdir"]
    assert [record["version"] for record in records] == list(range(version(daemon), 1, -1))
    assert {(record["node"], record["node_name"]) for record in records} == {(0, "local")}
    assert all(begin <= record["time"] <= time.time() for record in records)
    assert (records[3]["path"], records[3]["bytes"]) == ("d/f", 7)
    assert (records[1]["path"], records[1]["target"]) == ("d/f", "g")
    assert [record["what"] for record in log(daemon, "g")] == ["delete", "rename"]
    assert [record["what"] for record in log(daemon, daemon.path("d"))] == [
        "rename", "mtime", "write", "create", "mkdir"]
    assert log(daemon, "-n", "2") == records[:2]
    assert log(daemon, "--reverse", "-n", "3") == records[:2:-1]
    assert log(daemon, "--since", f"@{end + 1}") == records[:2]
    assert log(daemon, "--until", f"@{end}") == records[2:]
    assert log(daemon, "--since", "1h") == records
    assert log(daemon, "none") == []
    text = ask(daemon, "log", "d/f").stdout.splitlines()
    assert "write" in text[2] and "d/f (7 bytes at 0" in text[2]
    assert "1500000000" not in text[1] and "2017-07-14" in text[1]
    assert ask(daemon, "log", "--since", "soon", check=False).returncode == 2


def test_a_long_log_comes_in_pages(daemon):
    for i in range(60):
        os.mkdir(daemon.path(f"d{i}"))
    for _ in range(25):
        for i in range(60):
            daemon.request("mv", path=f"d{i}", target=f"e{i}")
            daemon.request("mv", path=f"e{i}", target=f"d{i}")
        if not cfs.LONG:
            break
    records = log(daemon, "-n", "100000")
    assert [record["sequence"] for record in records] == list(range(len(records), 0, -1))
    assert len(records) >= 180


def test_show_and_diff(daemon):
    make_tree(daemon)
    then = version(daemon)
    cfs.write(daemon.path("etc/a.cfg"), b"one\n2\nthree\n")
    os.unlink(daemon.path("etc/empty"))
    cfs.write(daemon.path("etc/new"), b"new\n")
    later = version(daemon)
    remove_tree(daemon.path("etc"))

    shown = cfs.run(cfs.program("cfsgate"), "show", f"etc/a.cfg@{then}", "--control",
                    daemon.control, check=True).stdout
    assert shown == "one\ntwo\nthree\n"
    entry = ask_json(daemon, "show", f"etc/a.cfg@{then}")
    assert (entry["size"], entry["mtime"], entry["position"]["version"]) == (14, 1500000000, then)
    names = [line.split()[-1] for line in ask(daemon, "show", f"etc@{then}").stdout.splitlines()]
    assert names == ["a.cfg", "deep/", "empty"]
    assert ask(daemon, "show", f"{daemon.path('etc/a.cfg')}@{later}").stdout == "one\n2\nthree\n"

    text = ask(daemon, "diff", f"etc/a.cfg@{then}", f"etc/a.cfg@{later}").stdout
    assert text == (f"--- etc/a.cfg@{then}\n+++ etc/a.cfg@{later}\n@@ -1,3 +1,3 @@\n"
                    " one\n-two\n+2\n three\n")
    text = ask(daemon, "diff", f"etc@{then}", f"@{later}").stdout
    assert "-two\n+2\n" in text and "+new\n" in text and "etc/empty: file -> nothing" in text
    assert "b.cfg" not in text
    text = ask(daemon, "diff", f"etc/a.cfg@{then}").stdout
    assert text == f"--- etc/a.cfg@{then}\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-one\n-two\n-three\n"
    assert ask(daemon, "diff", f"etc@{then}", f"etc@{then}").stdout == ""

    for words, code in [(["show", "etc/a.cfg"], 2), (["show", "etc/a.cfg@99999"], 1),
                        (["show", "etc/a.cfg@#99999"], 1), (["show", "etc/a.cfg@nothing"], 1),
                        (["show", "etc/none@" + str(then)], 1), (["diff", "etc/a.cfg"], 2),
                        (["diff", "etc/none@" + str(then)], 1), (["show", "etc/a.cfg@1"], 1)]:
        done = ask(daemon, *words, check=False)
        assert done.returncode == code, (words, done.stderr)
        assert done.stdout == "" and done.stderr.startswith("cfsgate: "), words
    assert not glob.glob(f"{daemon.state}/past.*")


# --- Going back ---

def test_a_deleted_directory_comes_back_with_contents_and_times(daemon):
    make_tree(daemon)
    os.makedirs(daemon.path("priv/sub"))
    cfs.write(daemon.path("priv/sub/key"), SECRET)
    before = listing(daemon)
    then = version(daemon)
    remove_tree(daemon.path("etc"))
    remove_tree(daemon.path("priv"))
    gone = version(daemon)

    plan = ask(daemon, "restore", "--dry-run", f"etc@{then}").stdout.splitlines()
    assert plan[0] == "mkdir etc " and plan[-1].endswith("nothing was changed")
    assert version(daemon) == gone, "a dry run changes nothing"

    done = ask_json(daemon, "restore", f"etc@{then}")
    assert done["total"] == len(plan) - 1 == version(daemon) - gone
    ask(daemon, "restore", f"priv@{then}")
    expect_listing(daemon, before)  # kinds, modes, times and contents
    assert stat.S_IMODE(os.stat(daemon.path("priv/sub/key")).st_mode) == 0o600
    status = daemon.status()["restore"]
    assert not status["running"] and status["done"] == status["total"]

    for _ in range(2):  # also over a clean and an unclean end
        remove_tree(daemon.path("etc"))
        daemon.stop() if _ == 0 else daemon.kill()
        daemon.start()
        ask(daemon, "restore", f"etc@{then}")
        expect_listing(daemon, before)


def test_point_in_time(daemon):
    make_tree(daemon)
    cfs.write(daemon.path("corosync.conf"), b"two nodes")
    before = listing(daemon)
    then = next_second()
    cfs.write(daemon.path("etc/a.cfg"), b"overwritten")
    remove_tree(daemon.path("etc/deep"))
    os.mkdir(daemon.path("unwanted"))
    cfs.write(daemon.path("unwanted/f"), b"x")
    cfs.write(daemon.path("corosync.conf"), b"three nodes")
    after = listing(daemon)
    checksum = daemon.checksum()

    plan = ask(daemon, "restore", "--all", "--at", f"@{then}", "--dry-run").stdout
    assert "delete unwanted/f" in plan and "left as it is: corosync.conf" in plan
    assert daemon.checksum() == checksum
    assert not [s for s in ask_json(daemon, "snapshot", "list")["snapshots"]
                if s["kind"] == "named"], "a dry run keeps nothing either"

    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
    done = ask_json(daemon, "restore", "--all", "--at", at)
    expected = dict(before)
    expected["corosync.conf"] = after["corosync.conf"]
    expect_listing(daemon, expected)
    assert done["left"] == [{"path": "corosync.conf", "why": "restore it by its name"}]

    # And back, from the snapshot that was made first.
    assert done["snapshot"].startswith("before-restore-")
    ask(daemon, "restore", "--all", "--version", done["snapshot"])
    expect_listing(daemon, after)

    for words in [["--all"], [], ["--all", "--at", "soon"], ["--all", "etc@5"], ["etc"],
                  ["etc@5", "--at", "1h"], ["--all", "--at", "1h", "--version", "5"]]:
        assert ask(daemon, "restore", *words, check=False).returncode == 2, words
    for words in [["--all", "--at", "9999d"], ["--all", "--version", "99999"], ["/@5"]]:
        assert ask(daemon, "restore", *words, check=False).returncode == 1, words


def test_a_restore_goes_the_way_of_every_change():
    with cfs.Daemon(arguments=["--entries-max", "14"]) as daemon:
        os.mkdir(daemon.path("d"))
        for i in range(10):
            cfs.write(daemon.path(f"d/{i}"), b"x")
        then = version(daemon)
        remove_tree(daemon.path("d"))
        for i in range(8):
            cfs.write(daemon.path(f"other{i}"), b"x")
        done = ask(daemon, "restore", f"d@{then}", check=False)
        assert done.returncode == 1
        assert re.search(r"stopped at 'create d/4'.*13 of 32 operations were done", done.stderr)
        for i in range(8):
            os.unlink(daemon.path(f"other{i}"))
        ask(daemon, "restore", f"d@{then}")
        assert sorted(os.listdir(daemon.path("d"))) == [str(i) for i in range(10)]


def test_snapshots(daemon):
    cfs.write(daemon.path("f"), b"then")
    assert ask(daemon, "snapshot", "create", "mine").stdout == "mine\n"
    name = ask(daemon, "snapshot", "create").stdout.strip()
    assert re.fullmatch(r"at-\d{8}T\d{6}Z", name)
    cfs.write(daemon.path("f"), b"now")
    ask(daemon, "snapshot")
    for wrong in ["mine", "17", "a.b", "guard-x"]:
        assert ask(daemon, "snapshot", "create", wrong, check=False).returncode == 1, wrong
    listed = {s["name"]: s for s in ask_json(daemon, "snapshot", "list")["snapshots"]}
    assert {s["kind"] for s in listed.values()} == {"named", "automatic"}
    assert listed["mine"]["entries"] == 1 and listed["mine"]["version"] == 3
    assert "mine" in ask(daemon, "snapshot", "list").stdout
    daemon.kill()
    daemon.start()
    assert ask(daemon, "show", "f@mine").stdout == "then"
    ask(daemon, "restore", "f@mine")
    assert daemon.get("f") == b"then"
    automatic, = (s for s in listed if s.startswith("snapshot."))
    assert ask(daemon, "snapshot", "delete", automatic, check=False).returncode == 1
    for each in ["mine", name]:
        ask(daemon, "snapshot", "delete", each)
    assert ask(daemon, "snapshot", "delete", "mine", check=False).returncode == 1
    assert ask(daemon, "show", "f@mine", check=False).returncode == 1
    assert "snapshot create" in cfs.cfsgate("snapshot", "help").stdout
    daemon.stop()
    daemon.check()
    daemon.start()


def test_the_past_is_cut_off_at_a_snapshot():
    with cfs.Daemon(arguments=["--history-mib", "1"]) as daemon:
        cfs.write(daemon.path("f"), b"first")
        first = version(daemon)
        seen = []
        for i in range(3):
            cfs.write(daemon.path("f"), str(i).encode())
            seen.append(version(daemon))
            for _ in range(17):  # more than a segment
                cfs.write(daemon.path("large"), bytes(cfs.MIB))
            ask(daemon, "snapshot")
        assert len(glob.glob(f"{daemon.state}/journal.*")) <= 3
        assert ask(daemon, "show", f"f@{seen[2]}").stdout == "2"
        for old in [first, *seen[:2]]:
            done = ask(daemon, "show", f"f@{old}", check=False)
            assert done.returncode == 1 and "history" in done.stderr
        ask(daemon, "snapshot", "create", "kept")
        for i in range(3):
            cfs.write(daemon.path("f"), b"later" + str(i).encode())
            ask(daemon, "snapshot")
        daemon.kill()
        daemon.start()
        ask(daemon, "restore", "f@kept")
        assert daemon.get("f") == b"2"


def test_only_root_sees_the_past(daemon):
    os.mkdir(daemon.path("priv"))
    cfs.write(daemon.path("priv/key"), SECRET)
    then = version(daemon)
    ask(daemon, "snapshot", "create", "mine")
    os.unlink(daemon.path("priv/key"))

    def as_nobody():
        os.setgid(cfs.NOBODY.pw_gid)
        os.setgroups([cfs.WWW_DATA])
        os.setuid(cfs.NOBODY.pw_uid)

    for words in [["log"], ["show", f"priv/key@{then}"], ["diff", f"priv@{then}"],
                  ["restore", "--all", "--version", str(then)], ["snapshot", "list"],
                  ["snapshot", "create", "x"], ["snapshot", "delete", "mine"],
                  ["history", "purge", "priv"]]:
        done = subprocess.run([cfs.program("cfsgate"), *words, "--control", daemon.control],
                              preexec_fn=as_nobody, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=30)
        assert done.returncode == 3 and done.stdout == b"", (words, done)
    for path in glob.glob(f"{daemon.state}/**", recursive=True):
        if os.path.isfile(path):
            assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0, path
    assert ask(daemon, "show", f"priv/key@{then}").stdout.encode() == SECRET


# --- Purge ---

def test_purge_takes_the_bytes_away(daemon):
    os.mkdir(daemon.path("priv"))
    cfs.write(daemon.path("priv/key"), SECRET)
    cfs.write(daemon.path("priv/large"), SECRET * 20000)
    cfs.replace(daemon.path("priv/swapped"), SECRET + b"2")
    cfs.write(daemon.path("kept"), b"kept content")
    then = version(daemon)
    ask(daemon, "snapshot", "create", "mine")
    ask(daemon, "snapshot")
    for name in ["key", "large"]:
        os.unlink(daemon.path("priv", name))
    cfs.replace(daemon.path("priv/swapped"), b"present content")
    assert files_with(daemon, SECRET)
    before = listing(daemon)
    checksum = daemon.checksum()
    records = [r["sequence"] for r in log(daemon)]

    alone = ask(daemon, "history", "purge", "priv", "--all-nodes", check=False)
    assert alone.returncode == 1 and "not in a cluster" in alone.stderr
    assert files_with(daemon, SECRET), "nothing was done"

    done = ask(daemon, "history", "purge", "priv")
    assert "Other nodes keep their past" in done.stdout
    assert "still in the tree, with its present content: priv/swapped" in done.stdout
    assert not files_with(daemon, SECRET)
    expect_listing(daemon, before)
    assert daemon.checksum() == checksum
    assert [r["sequence"] for r in log(daemon)] == records, "the facts stay"
    gone = ask(daemon, "show", f"priv/key@{then}", check=False)
    assert gone.returncode == 1 and "purged" in gone.stderr
    assert ask(daemon, "show", f"kept@{then}").stdout == "kept content"
    assert "was purged" in ask(daemon, "diff", f"priv/key@{then}").stdout
    plan = ask(daemon, "restore", f"priv@{then}").stdout
    assert "left as it is: priv/key" in plan
    expect_listing(daemon, before)  # nothing is made of what is not known
    assert ask(daemon, "history", "purge", "/", check=False).returncode == 1
    daemon.stop()
    daemon.check()
    daemon.start()
    expect_listing(daemon, before)
    assert not files_with(daemon, SECRET)


def in_the_middle(daemon, seconds, *words):
    """Kills the daemon so long after a command has begun; whether that had not ended."""
    thread = threading.Thread(target=lambda: ask(daemon, *words, check=False))
    thread.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and thread.is_alive():
        time.sleep(0.0005)
    alive = thread.is_alive()
    daemon.kill()
    thread.join()
    return alive


def test_killed_in_the_middle_of_purge_and_snapshot(daemon):
    for i in range(6):
        cfs.write(daemon.path("secret"), SECRET * 30000 + str(i).encode())
        cfs.write(daemon.path(f"f{i}"), os.urandom(100000))
        ask(daemon, "snapshot", "create", f"s{i}")
    os.unlink(daemon.path("secret"))
    before = listing(daemon)
    checksum = daemon.checksum()
    interrupted = 0
    rounds = 20 if cfs.LONG else 6
    for i in range(rounds):
        seconds = 0.02 + 0.3 * i / rounds
        words = ["history", "purge", "secret"] if i % 3 else ["snapshot", "create", f"k{i}"]
        interrupted += in_the_middle(daemon, seconds if i % 3 else seconds / 4, *words)
        cfs.cfsgate("check", "--state", daemon.state, check=True)
        daemon.start()
        assert not glob.glob(f"{daemon.state}/past.*") and not glob.glob(f"{daemon.state}/new.*")
        assert daemon.checksum() == checksum
    assert interrupted, "no command was interrupted"
    ask(daemon, "history", "purge", "secret")
    assert not files_with(daemon, SECRET)
    expect_listing(daemon, before)


# --- The guard ---

def test_the_guard_keeps_what_goes_in_masses(daemon):
    os.makedirs(daemon.path("nodes/pve1/firewall"))
    cfs.write(daemon.path("other"), b"x")
    for i in range(150):
        cfs.write(daemon.path(f"nodes/pve1/firewall/{i}.fw"), str(i).encode())
    before = listing(daemon)
    assert daemon.status()["guard"] is None
    for i in range(149):
        os.unlink(daemon.path(f"nodes/pve1/firewall/{i}.fw"))
    guard = cfs.wait_for(lambda: (daemon.status()["guard"] or {}).get("snapshot") and
                         daemon.status()["guard"], "the guard's snapshot")
    assert guard["path"] == "nodes/pve1/firewall" and guard["removed"] == 149
    assert abs(guard["time"] - time.time()) < 60
    cfs.write(daemon.path("other"), b"later")
    warnings = [line for line in daemon.log(1000).splitlines() if "many entries were removed" in line]
    assert len(warnings) == 1, "once for a burst"
    guards = [s for s in ask_json(daemon, "snapshot", "list")["snapshots"]
              if s["name"].startswith("guard-")]
    assert [s["name"] for s in guards] == [guard["snapshot"]]

    # The command that the log names.
    command = shlex.split(warnings[0][warnings[0].index("cfsgate restore "):])
    assert command[:2] == ["cfsgate", "restore"]
    ask(daemon, *command[1:])
    before["other"] = listing(daemon)["other"]
    expect_listing(daemon, before)
    daemon.restart()
    assert ask(daemon, "show", f"nodes/pve1/firewall/7.fw@{guard['snapshot']}").stdout == "7"
