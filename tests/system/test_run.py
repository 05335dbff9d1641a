# SPDX-License-Identifier: Apache-2.0
"""scripts/run: starts a daemon on directories of the caller's choice, and ends it."""
import os
import re
import socket
import tempfile

import pytest

import cfs

SCRIPT = os.path.join(os.path.dirname(os.path.dirname(cfs.HERE)), "scripts", "run")


class Place:
    """A state directory and a mount point, and the script on them."""

    def __init__(self, base, name):
        self.state = os.path.join(base, f"{name}-state")
        self.mount = os.path.join(base, f"{name}-mount")

    def run(self, *arguments, code=0):
        done = cfs.run(SCRIPT, "--build", cfs.build_directory(), "--state", self.state, *arguments,
                       timeout=60)
        assert done.returncode == code, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, *arguments, **options):
        return self.run("--mount", self.mount, *arguments, **options)

    def stop(self):
        return self.run("--stop")

    def pid(self):
        with open(os.path.join(f"{self.state}.run", "pid")) as file:
            return int(file.read())


@pytest.fixture
def places():
    """Makes places; at the end no daemon of theirs is left."""
    with tempfile.TemporaryDirectory(prefix="cfs.", dir="/tmp") as base:
        made = []

        def make(name="one"):
            made.append(Place(base, name))
            return made[-1]

        yield make
        for place in made:
            place.stop()
            cfs.remove_mounts(place.mount)


def test_help_needs_nothing():
    done = cfs.run(SCRIPT, "--help")
    assert done.returncode == 0 and "--import" in done.stdout


def test_a_wrong_option_is_refused():
    assert cfs.run(SCRIPT, "--nonsense").returncode == 2
    assert cfs.run(SCRIPT, "--state").returncode == 2


def test_it_returns_when_the_mount_answers_and_stops_cleanly(places):
    place = places()
    said = place.start()
    assert "Try next" in said
    with open(f"{place.mount}/file", "w") as file:
        file.write("content")
    pid = place.pid()
    said = place.stop()
    assert "stopped" in said
    assert not cfs.mounts_at(place.mount)
    assert not os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"{place.state}.run")
    place.start()
    with open(f"{place.mount}/file") as file:
        assert file.read() == "content"


def test_a_second_call_says_so_and_changes_nothing(places):
    place = places()
    place.start()
    pid = place.pid()
    assert "runs already" in place.start()
    assert "runs already" in place.run()  # whatever the mount point is
    assert place.pid() == pid
    assert len(cfs.mounts_at(place.mount)) == 1


def test_a_stop_without_a_daemon_is_no_error(places):
    assert "no daemon" in places().stop()


def test_a_mount_point_in_use_is_refused(places):
    one, other = places("one"), places("other")
    one.start()
    said = other.run("--mount", one.mount, code=1)
    assert one.mount in said and "in use" in said
    os.mkdir(other.mount)
    cfs.run("mount", "-t", "tmpfs", "none", other.mount, check=True)
    assert "in use" in other.start(code=1)
    cfs.run("umount", other.mount, check=True)
    with open(f"{other.mount}/file", "w"):
        pass
    assert "not empty" in other.start(code=1)
    os.unlink(f"{other.mount}/file")


def test_the_mount_of_a_daemon_that_died_is_taken_away(places):
    place = places()
    place.start()
    os.kill(place.pid(), 9)
    cfs.wait_for(lambda: cfs.run("stat", f"{place.mount}/.version").returncode != 0, "it is dead")
    place.start()
    os.listdir(place.mount)
    os.kill(place.pid(), 9)
    cfs.wait_for(lambda: cfs.run("stat", f"{place.mount}/.version").returncode != 0, "it is dead")
    assert "had died" in place.run("--mount", place.mount, "--stop")
    assert not cfs.mounts_at(place.mount)


def test_several_daemons_run_side_by_side(places):
    one, other = places("one"), places("other")
    one.start()
    other.start()
    one.stop()
    assert os.path.exists(f"{other.mount}/.version")


def test_import_makes_a_new_state(places):
    place = places()
    place.start("--import", os.path.join(cfs.ORIGINAL, "config.db"))
    assert os.path.isdir(f"{place.mount}/nodes")
    assert "in use" in place.start("--import", os.path.join(cfs.ORIGINAL, "config.db"), code=1)
    place.stop()
    said = place.start("--import", os.path.join(cfs.ORIGINAL, "config.db"), code=1)
    assert "holds a store already" in said
    assert "no such file" in place.start("--import", "/tmp/cfs.no-such-file", code=1)


def test_the_tree_is_exported_by_nfs(places):
    place = places()
    output = place.start()
    found = re.search(r"exported by NFS as 127\.0\.0\.1:/etc/pve, port (\d+)", output)
    assert found, output
    port = found.group(1)
    assert f"nfs ls -l --port {port}" in output
    listed = cfs.cfsgate("nfs", "ls", "--port", port, check=True).stdout.split()
    assert sorted(listed) == sorted(os.listdir(place.mount))


def test_a_taken_port_leaves_the_mount(places):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        output = places().start("--nfs-port", str(taken.getsockname()[1]))
    assert "mounted at" in output and "not exported by NFS" in output
    assert "Address already in use" in output
