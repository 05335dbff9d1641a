# SPDX-License-Identifier: Apache-2.0
"""`cfsgate mount-nfs` with the kernel's NFS client, in a guest."""
import os
import subprocess

import pytest

import cfs
import kernel_client

pytestmark = pytest.mark.guest(memory=1024)


@pytest.fixture(scope="module")
def daemon():
    with kernel_client.Daemon() as instance:
        yield instance


@pytest.fixture
def place(daemon, tmp_path):
    path = str(tmp_path / "place")
    os.mkdir(path)
    yield path
    cfs.remove_mounts(path)


def mount_nfs(daemon, *arguments, check=True):
    return cfs.cfsgate("mount-nfs", "--port", daemon.port, *arguments, timeout=60, check=check)


def options_of(path):
    with open("/proc/self/mountinfo") as table:
        line, = (line for line in table if line.split()[4] == path)
    return set(line.split()[5].split(",") + line.split()[-1].split(","))


def test_mounts_and_unmounts(daemon, place):
    done = mount_nfs(daemon, place)
    assert done.stdout + done.stderr == ""
    assert [kind for _, kind in cfs.mounts_at(place)] == ["nfs"]
    options = options_of(place)
    assert {"rw", "nosuid", "nodev", "vers=3", "hard", "proto=tcp", "timeo=600", "retrans=2",
            f"port={daemon.port}", f"mountport={daemon.port}", "local_lock=all"} <= options
    assert "acregmin=0" in options and "acdirmax=0" in options
    cfs.write(f"{place}/file", b"by NFS")
    assert cfs.read(f"{daemon.mount}/file") == b"by NFS"
    done = mount_nfs(daemon, place, check=False)
    assert (done.returncode, "is a mount already" in done.stderr) == (1, True)
    assert mount_nfs(daemon, "--unmount", place).stdout == ""
    assert not cfs.mounts_at(place)


def test_read_only_and_further_options(daemon, place):
    mount_nfs(daemon, place, "--read-only", "-o", "actimeo=7")
    assert {"ro", "acregmin=7"} <= options_of(place)
    mount_nfs(daemon, "--unmount", place)


def test_by_the_address_of_version_6(daemon, place):
    status = daemon.status()["nfs"]["addresses"]
    if not any(address.startswith("[::1]") for address in status):
        pytest.skip(f"the daemon listens on {status}")
    mount_nfs(daemon, place, "--address", "::1")
    assert "proto=tcp6" in options_of(place)
    mount_nfs(daemon, "--unmount", place)


def test_a_change_by_fuse_shows_at_once(daemon, place):
    mount_nfs(daemon, place)
    for length in range(1, 200):
        cfs.write(f"{daemon.mount}/watched", b"x" * length)
        assert os.stat(f"{place}/watched").st_size == length
        assert not os.path.exists(f"{place}/new-{length}")
        cfs.write(f"{daemon.mount}/new-{length}", b"")
        assert os.path.exists(f"{place}/new-{length}")
        os.unlink(f"{daemon.mount}/new-{length}")
    mount_nfs(daemon, "--unmount", place)


def test_a_mount_in_use_is_detached(daemon, place):
    mount_nfs(daemon, place)
    cfs.write(f"{place}/used", b"content")
    with open(f"{place}/used", "rb") as file:
        assert "in use, detached" in mount_nfs(daemon, "--unmount", place).stdout
        assert not cfs.mounts_at(place)
        assert file.read() == b"content"


def test_a_mount_without_its_server_is_unmounted(daemon, place):
    """Also where somebody waits on it, who then gets an error."""
    mount_nfs(daemon, place)
    cfs.write(f"{place}/waited", b"content")
    with cfs.stopped(daemon):
        waiting = subprocess.Popen(["stat", f"{place}/waited"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        cfs.wait_for(lambda: cfs.process_state(waiting.pid) == "D", "somebody waits")
        with cfs.faster_than(30, "unmounting"):
            assert "no server answers" in mount_nfs(daemon, "--unmount", place).stdout
        assert not cfs.mounts_at(place)
        assert waiting.wait(10) == 1
