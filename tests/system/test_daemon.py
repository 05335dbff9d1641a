# SPDX-License-Identifier: Apache-2.0
"""The daemon as a program: options, exit codes, start and end, and what it does when it hangs."""
import contextlib
import errno
import os
import select
import signal
import socket
import stat
import subprocess
import time

import pytest

import cfs


@pytest.fixture
def links(tmp_path):
    """The daemon under the names that it may be installed as."""
    def make(name):
        path = tmp_path / name
        path.symlink_to(cfs.program("cfsgated"))
        return str(path)
    return make


# --- Options and exit codes ---

@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_ends_with_0(option):
    done = cfs.run(cfs.program("cfsgated"), option)
    assert done.returncode == 0
    for name in ("--mount", "--state", "--local", "--foreground", "--debug", "--deadline"):
        assert name in done.stdout


@pytest.mark.parametrize("arguments", [
    ["--no-such-option"], ["-x"], ["--durability", "sometimes"], ["--chmod", "maybe"],
    ["--deadline", "soon"], ["--mount"]])
def test_a_wrong_option_ends_with_1(arguments):
    done = cfs.run(cfs.program("cfsgated"), *arguments)
    assert done.returncode == 1
    assert done.stderr.strip()


def test_left_over_arguments_end_with_255():
    done = cfs.run(cfs.program("cfsgated"), "--foreground", "left-over")
    assert done.returncode == 255
    assert "left-over" in done.stderr


def test_under_the_name_of_the_original_its_options_are_known(links):
    program = links("pmxcfs")
    done = cfs.run(program, "-f", "-l", "-d", "-h")
    assert done.returncode == 0
    assert "pmxcfs" in done.stdout
    assert cfs.run(program, "--no-such-option").returncode == 1
    assert cfs.run(program, "-f", "left-over").returncode == 255


DEFAULT_PLACES = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none {base}/over
mkdir {base}/over/etc {base}/over/etc.work {base}/over/var {base}/over/var.work
mount -t overlay overlay -o lowerdir=/etc,upperdir={base}/over/etc,workdir={base}/over/etc.work /etc
mount -t overlay overlay -o lowerdir=/var,upperdir={base}/over/var,workdir={base}/over/var.work /var
mkdir -p /etc/pve /var/lib
rm -rf /var/lib/pve-cluster
{program} -l
cat /run/pve-cluster.pid
test "$(stat -c %a /run/pve-cluster.pid)" = 644
mkdir /etc/pve/works
ls -a /etc/pve
test "$(stat -c %a /var/lib/pve-cluster)" = 750
kill -TERM $(cat /run/pve-cluster.pid)
i=0
while [ -e /run/pve-cluster.pid ]; do sleep 0.1; i=$((i+1)); test $i -lt 200; done
test -e /run/pve-cluster/cfs-restart-flag
! mountpoint -q /etc/pve
"""


def test_in_the_places_and_under_the_name_of_the_original(links, tmp_path):
    """In the background, in a mount namespace, so that this machine's directories stay as they
    are."""
    (tmp_path / "over").mkdir()
    script = DEFAULT_PLACES.format(base=tmp_path, program=links("pmxcfs"))
    done = cfs.run("unshare", "-m", "--propagation", "private", "sh", "-c", script, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works" in done.stdout and ".members" in done.stdout


# --- Start ---

def test_in_the_background_the_parent_ends_when_the_mount_answers(make_daemon):
    daemon = make_daemon()
    command = [part for part in daemon.command() if part != "--foreground"]
    done = cfs.run(*command, env=daemon.full_environment())
    try:
        assert done.returncode == 0, done.stderr
        assert os.path.exists(daemon.path(".version")), "answers at once"
        pid = int(cfs.read(daemon.pid_file))
        assert cfs.read(daemon.pid_file) == b"%d\n" % pid
        with open(f"/proc/{pid}/stat") as file:
            assert int(file.read().rpartition(")")[2].split()[3]) != os.getsid(0), "own session"
        os.kill(pid, signal.SIGTERM)
        cfs.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "it ends", 15)
        assert not cfs.mounts_at(daemon.mount)
        assert not os.path.exists(daemon.pid_file)
    finally:
        with contextlib.suppress(Exception):
            os.kill(int(cfs.read(daemon.pid_file)), signal.SIGKILL)


def test_a_failed_start_in_the_background_ends_with_255_and_says_why(make_daemon):
    daemon = make_daemon()
    os.rmdir(daemon.state)
    with open(daemon.state, "w") as file:
        file.write("no directory")
    command = [part for part in daemon.command() if part != "--foreground"]
    done = cfs.run(*command, env=daemon.full_environment())
    assert done.returncode == 255
    assert daemon.state in done.stderr


def test_what_a_start_makes(make_daemon):
    daemon = make_daemon()
    for folder in (daemon.mount, daemon.run, daemon.state):
        os.rmdir(folder)
    daemon.start()
    assert stat.S_IMODE(os.stat(daemon.state).st_mode) == 0o750
    found = os.stat(daemon.run)
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o750, 0, cfs.WWW_DATA)
    assert cfs.read(daemon.pid_file) == b"%d\n" % daemon.pid
    assert stat.S_IMODE(os.stat(daemon.pid_file).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(daemon.control).st_mode) & 0o077 == 0
    assert stat.S_IMODE(os.stat(f"{daemon.state}/.pmxcfs.lockfile").st_mode) == 0o600
    for name in os.listdir(daemon.state):
        assert stat.S_IMODE(os.stat(f"{daemon.state}/{name}").st_mode) & 0o007 == 0, name
    daemon.stop()


def test_the_mount_is_a_fuse_mount_for_all(make_daemon):
    with make_daemon() as daemon:
        with open("/proc/self/mountinfo") as file:
            line, = [line for line in file if f" {daemon.mount} " in line]
        kind = line.partition(" - ")[2].split()[0]
        assert kind == "fuse" or kind.startswith("fuse.")
        for option in ("rw", "nosuid", "nodev", "allow_other", "default_permissions"):
            assert option in line.replace(",", " ").split(), line


def test_the_first_request_is_answered_at_once(make_daemon):
    daemon = make_daemon().start()
    for _ in range(3):
        daemon.stop()
        start = time.monotonic()
        daemon.start()
        assert time.monotonic() - start < (10 if cfs.sanitized() else 2)
        with cfs.faster_than(1, "the first requests"):
            os.mkdir(daemon.path("d"))
            cfs.write(daemon.path("d/f"), b"x")
            assert cfs.read(daemon.path("d/f")) == b"x"
        os.unlink(daemon.path("d/f"))
        os.rmdir(daemon.path("d"))
    daemon.stop()


def test_a_second_instance_on_the_same_state_is_refused(make_daemon):
    first = make_daemon().start()
    second = make_daemon(state=first.state).spawn()
    start = time.monotonic()
    code = second.process.wait(30)
    assert code == 255
    assert 8 < time.monotonic() - start < 20
    assert first.state in second.log()
    assert not cfs.mounts_at(second.mount)
    os.mkdir(first.path("undisturbed"))
    first.stop()


def test_a_second_instance_takes_over_when_the_first_ends(make_daemon):
    first = make_daemon().start()
    os.mkdir(first.path("d"))
    second = make_daemon(state=first.state).spawn()
    time.sleep(1)  # so that it waits for the lock
    first.stop()
    cfs.wait_for(second.answers, "the second serves", 15)
    assert os.path.isdir(second.path("d"))
    second.stop()


def test_a_dead_mount_is_cleaned_at_start(make_daemon):
    daemon = make_daemon().start()
    cfs.write(daemon.path("f"), b"content")
    for _ in range(3):
        daemon.kill(clean=False)
        with cfs.raises(errno.ENOTCONN):
            os.listdir(daemon.mount)
        daemon.start()
        assert cfs.read(daemon.path("f")) == b"content"
        assert len(cfs.mounts_at(daemon.mount)) == 1
    daemon.stop()


def test_a_dead_mount_is_taken_away_without_a_start(make_daemon):
    def unmount_dead():
        return cfs.run(cfs.program("cfsgated"), "--unmount-dead", "--mount", daemon.mount, timeout=30)

    daemon = make_daemon().start()
    assert unmount_dead().returncode == 0
    assert cfs.mounts_at(daemon.mount), "a mount that answers stays"
    with cfs.stopped(daemon):
        done = unmount_dead()
    assert done.returncode == 255 and "does not answer" in done.stderr
    assert cfs.mounts_at(daemon.mount), "one that hangs as well"
    cfs.wait_for(daemon.answers, "it answers again", 10)
    inside = os.open(daemon.mount, os.O_RDONLY)  # it is busy
    try:
        daemon.kill(clean=False)
        with cfs.raises(errno.ENOTCONN):
            os.listdir(daemon.mount)
        for said in ("took away", ""):
            done = unmount_dead()
            assert (done.returncode, said in done.stderr) == (0, True), done.stderr
            assert not cfs.mounts_at(daemon.mount)
    finally:
        os.close(inside)


def test_a_mount_point_in_use_is_refused(make_daemon):
    first = make_daemon().start()
    second = make_daemon()
    second.mount = first.mount
    second.spawn()
    assert second.process.wait(30) == 255
    assert first.mount in second.log()
    assert os.path.exists(first.path(".version"))
    assert len(cfs.mounts_at(first.mount)) == 1
    second._ended()
    second.mount = os.path.join(second.base, "m")
    first.stop()


def test_a_foreign_file_system_with_content_is_refused(make_daemon):
    daemon = make_daemon()
    cfs.run("mount", "-t", "tmpfs", "none", daemon.mount, check=True)
    open(daemon.path("precious"), "w").close()
    daemon.spawn()
    assert daemon.process.wait(30) == 255
    assert daemon.mount in daemon.log()
    assert os.path.exists(daemon.path("precious"))
    cfs.run("umount", daemon.mount, check=True)


def test_a_node_of_a_cluster_needs_an_address(make_daemon):
    """The name of the tests' node is in no hosts file."""
    daemon = cfs.imported([(2, 0, 8, "corosync.conf", b"totem { version: 2 }\n")], local=False)
    try:
        daemon.spawn()
        assert daemon.process.wait(20) == 255
        for word in ("corosync.conf", "'pve1'", "/etc/hosts", "--local"):
            assert word in daemon.log()
        assert not cfs.mounts_at(daemon.mount)
        daemon._ended()
        daemon.local = True
        daemon.start()
        assert cfs.read(daemon.path("corosync.conf")).startswith(b"totem")
        daemon.stop()
    finally:
        daemon.remove()


def test_a_first_start_beside_corosync_conf_is_that_of_a_clusters_node(make_daemon, tmp_path):
    configuration = tmp_path / "corosync.conf"
    configuration.write_text("totem { version: 2 }\n")
    daemon = make_daemon(local=False, arguments=["--corosync-conf", str(configuration)])
    for _ in range(2):  # nothing is left that would make the second start another case
        daemon.spawn()
        assert daemon.process.wait(20) == 255
        assert "/etc/hosts" in daemon.log() and "--local" in daemon.log()
        daemon._ended()
    daemon.local = True
    daemon.start()
    os.mkdir(daemon.path("d"))


def test_without_local_an_ordinary_tree_is_served(make_daemon, tmp_path):
    """Where corosync has no configuration."""
    with make_daemon(local=False, arguments=["--corosync-conf", str(tmp_path / "none")]) as daemon:
        os.mkdir(daemon.path("d"))


def test_a_changed_config_db_beside_a_store_asks(make_daemon):
    """Two databases in one directory: the daemon does not guess."""
    daemon = make_daemon()
    cfs.make_database(f"{daemon.state}/config.db", [(2, 0, 8, "old", b"1")])
    daemon.start()
    assert os.path.exists(daemon.path("old"))
    daemon.stop()
    os.unlink(f"{daemon.state}/config.db")
    cfs.make_database(f"{daemon.state}/config.db", [(2, 0, 8, "old", b"1"), (3, 0, 8, "new", b"2")])
    daemon.spawn()
    assert daemon.process.wait(20) == 255
    assert "--use" in daemon.log()
    daemon._ended()
    daemon.arguments = ["--use", "config.db"]
    daemon.start()
    assert os.path.exists(daemon.path("new"))
    daemon.stop()


# --- End ---

def test_the_restart_flag_is_there_after_the_end_and_gone_after_the_start(make_daemon):
    daemon = make_daemon().start()
    flag = f"{daemon.run}/cfs-restart-flag"
    assert not os.path.exists(flag)
    daemon.stop()
    found = os.stat(flag)
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (0, 0o440)
    assert (found.st_uid, found.st_gid) == (0, cfs.WWW_DATA)
    daemon.start()
    assert not os.path.exists(flag)
    daemon.stop()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_that_end_it(make_daemon, number):
    daemon = make_daemon().start()
    daemon.process.send_signal(number)
    assert daemon.process.wait(15) == 0
    assert not cfs.mounts_at(daemon.mount)
    assert not os.path.exists(daemon.pid_file)
    assert not os.path.exists(daemon.control)


def test_sigpipe_is_ignored(make_daemon):
    with make_daemon() as daemon:
        daemon.process.send_signal(signal.SIGPIPE)
        os.mkdir(daemon.path("d"))


def test_unmounting_ends_it(make_daemon):
    daemon = make_daemon().start()
    cfs.run("umount", daemon.mount, check=True)
    assert daemon.process.wait(15) == 0
    assert not os.path.exists(daemon.pid_file)


def test_sigterm_always_ends_an_idle_daemon(make_daemon):
    """The original sometimes stays."""
    daemon = make_daemon()
    for _ in range(20):
        daemon.start()
        daemon.stop(seconds=10)


def test_sigterm_directly_after_the_start(make_daemon):
    daemon = make_daemon()
    for delay in (0, 0.002, 0.01, 0.03, 0.1, 0.3):
        daemon.spawn()
        time.sleep(delay)  # the moment of the signal is the subject
        daemon.process.terminate()
        assert daemon.process.wait(15) in (0, 255, -signal.SIGTERM)
        assert not cfs.mounts_at(daemon.mount)
        daemon._ended()
    daemon.start()
    daemon.stop()


def test_it_ends_while_programs_have_files_and_directories_open(make_daemon):
    daemon = make_daemon().start()
    cfs.write(daemon.path("f"), b"x")
    fd = os.open(daemon.path("f"), os.O_RDWR)
    directory = os.open(daemon.mount, os.O_RDONLY)
    inside = subprocess.Popen(["sleep", "60"], cwd=daemon.mount)
    try:
        daemon.stop()
        with cfs.raises(errno.ENOTCONN, errno.EIO):
            os.pread(fd, 1, 0)
    finally:
        inside.kill()
        inside.wait()
        os.close(directory)
        cfs.errno_of(os.close, fd)


def busy(folder):
    i = 0
    while True:
        i += 1
        try:
            cfs.write(f"{folder}/f{os.getpid()}", b"%d" % i)
        except OSError:
            return i


def test_it_ends_under_load_and_keeps_every_answered_write(make_daemon):
    daemon = make_daemon().start()
    for _ in range(3):
        children = cfs.Children()
        pids = [children.start(busy, daemon.mount) for _ in range(4)]
        cfs.wait_for(lambda: all(os.path.exists(daemon.path(f"f{pid}")) for pid in pids), "load")
        daemon.stop()
        counts = children.results(10)
        daemon.start()
        for pid, count in zip(pids, counts):
            # Number `count` failed; it may have been applied. The first may have got as far as the
            # file's creation.
            assert int(cfs.read(daemon.path(f"f{pid}")) or b"0") in (count - 1, count)
    daemon.stop()
    daemon.check()


# --- Control socket ---

def connects(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(b'{"command":"status"}\n')
        with connection.makefile("rb") as stream:
            return stream.readline().decode()


def test_the_control_socket_is_for_root_alone(make_daemon):
    with make_daemon() as daemon:
        assert '"ok":true' in connects(daemon.control).replace(" ", "")
        os.chmod(daemon.control, 0o777)  # even then
        os.chmod(os.path.dirname(daemon.control), 0o755)
        for user in ((33, cfs.WWW_DATA, []), (cfs.NOBODY.pw_uid, cfs.NOBODY.pw_gid, [])):
            def attempt():
                try:
                    return connects(daemon.control)
                except OSError as error:
                    return errno.errorcode[error.errno]
            answer = cfs.in_child(attempt, user=user)
            assert '"ok":true' not in answer.replace(" ", ""), answer


@pytest.mark.parametrize("data", [
    b"\n", b"{}\n", b"[]\n", b"no json\n", b'{"command":"unknown"}\n', b'{"command":1}\n',
    b'{"command":"put"}\n', b'{"command":"get","path":"../../etc/passwd"}\n', b"\xff\xfe\n",
    b"[" * 100_000 + b"\n"])
def test_nonsense_on_the_control_socket_is_refused(daemon, mount, data):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(daemon.control)
        connection.sendall(data)
        with connection.makefile("rb") as stream:
            answer = stream.readline().replace(b" ", b"")
    assert answer == b"" or b'"ok":false' in answer
    assert daemon.status()["node"] == "pve1"


def test_status_for_people_and_for_programs(daemon, mount):
    text = daemon.client("status").stdout
    assert daemon.mount in text
    status = daemon.status()
    assert status["mode"] == "local" and status["quorate"] is True
    assert status["pid"] == daemon.pid
    assert status["tree"]["entries_max"] == cfs.ENTRIES_MAX


def test_commands_on_the_tree(daemon, folder, tmp_path):
    name = os.path.basename(folder)
    daemon.put(f"{name}/f", b"content\0binary\xff")
    assert cfs.read(f"{folder}/f") == b"content\0binary\xff"
    daemon.client("mkdir", f"{name}/d")
    daemon.client("mv", f"{name}/f", f"{name}/d/g")
    assert cfs.names(f"{folder}/d") == ["g"]
    assert "g" in daemon.client("ls", f"{name}/d").stdout
    done = subprocess.run([cfs.program("cfsgate"), "get", "--control", daemon.control,
                           f"{name}/d/g"], check=True, stdout=subprocess.PIPE, timeout=30)
    assert done.stdout == b"content\0binary\xff"
    daemon.client("rm", f"{name}/d/g")
    assert cfs.names(f"{folder}/d") == []
    for command in (("get", f"{name}/missing"), ("rm", f"{name}/missing"), ("mkdir", f"{name}/d"),
                    ("rm", name), ("ls", f"{name}/missing"), ("put", f"{name}/d")):
        done = daemon.client(*command, check=False, data=b"x")
        assert done.returncode != 0 and done.stderr.strip(), command


def test_a_command_without_a_daemon_says_so(make_daemon):
    daemon = make_daemon()
    done = daemon.client("status", check=False)
    assert done.returncode != 0
    assert daemon.control in done.stderr


# --- When it hangs ---

def test_abort_frees_a_process_that_waits_for_a_stopped_daemon(make_daemon):
    daemon = make_daemon().start()
    cfs.write(daemon.path("f"), b"x")
    with cfs.stopped(daemon):
        victims = cfs.Children()
        pids = [victims.start(cfs.errno_of, os.mkdir, daemon.path("new")),
                victims.start(cfs.errno_of, os.open, daemon.path("f"), os.O_RDONLY)]
        cfs.wait_for(lambda: all(cfs.process_state(pid) in ("S", "D") for pid in pids), "they wait")
        time.sleep(0.2)  # so that the requests have left
        done = cfs.cfsgate("abort", "--mount", daemon.mount, timeout=20)
        assert done.returncode == 0, done.stderr
        answers = victims.results(5)
        assert set(answers) <= {"ECONNABORTED", "ENOTCONN", "EIO"}, answers
    cfs.wait_for(lambda: not daemon.alive(), "the daemon without a mount ends", 15)
    daemon.kill()
    daemon.start()
    assert cfs.read(daemon.path("f")) == b"x"
    daemon.stop()


def test_abort_of_what_is_not_ours_is_refused(make_daemon):
    daemon = make_daemon()
    done = cfs.cfsgate("abort", "--mount", daemon.mount)
    assert done.returncode != 0
    assert daemon.mount in done.stderr


def test_systemd_is_told_of_the_start_and_that_the_mount_answers(make_daemon, tmp_path):
    address = str(tmp_path / "notify")
    # A probe is a program, and has a quarter of that; with a sanitizer its start takes long.
    seconds = 4.0 if cfs.sanitized() else 0.6
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(address)
        service.settimeout(10)
        daemon = make_daemon(environment={"NOTIFY_SOCKET": address,
                                          "WATCHDOG_USEC": str(int(seconds * 1e6))})
        daemon.spawn()
        messages = []

        def came(word):
            while select.select([service], [], [], 0)[0]:
                messages.append(service.recv(4096).decode())
            return any(word in message for message in messages)

        cfs.wait_for(lambda: came("READY=1"), "READY=1", 20)
        cfs.wait_for(lambda: came("WATCHDOG=1"), "WATCHDOG=1", 10)
        messages.clear()
        cfs.wait_for(lambda: came("WATCHDOG=1"), "it comes again", 10)
        with cfs.stopped(daemon):
            came("")
            messages.clear()
            time.sleep(2.5 * seconds)  # more than two intervals: that nothing comes is the subject
            assert not came("WATCHDOG=1")
        cfs.wait_for(lambda: came("WATCHDOG=1"), "it comes again when the daemon goes on", 10)
        daemon.stop()
        assert came("STOPPING=1")


def test_an_idle_daemon_writes_nothing(make_daemon):
    with make_daemon() as daemon:
        os.mkdir(daemon.path("d"))
        cfs.write(daemon.path("d/f"), b"x")

        def written():
            with open(f"/proc/{daemon.pid}/io") as file:
                return dict(line.split(": ") for line in file.read().splitlines())["wchar"]

        def quiet():
            before = written()
            time.sleep(1.5)  # that nothing happens for a while is the subject
            return written() == before

        cfs.wait_for(quiet, "nothing is written", 15)


def test_it_stands_a_long_path(make_daemon):
    with make_daemon() as daemon:
        path = daemon.mount
        for _ in range(40):
            path = os.path.join(path, "d" * 90)
            os.mkdir(path)
        cfs.write(os.path.join(path, "f"), b"deep")
        assert cfs.read(os.path.join(path, "f")) == b"deep"


def test_it_stands_a_deep_path_over_the_limit(make_daemon):
    """Relative to an open directory a path may grow without limit; the tree's ends at 4096."""
    with make_daemon() as daemon:
        fd = os.open(daemon.mount, os.O_RDONLY)
        made = 0
        try:
            while made < 60:
                os.mkdir("d" * 100, dir_fd=fd)
                made += 1
                deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=fd)
                os.close(fd)
                fd = deeper
        except OSError as error:
            assert error.errno == errno.ENAMETOOLONG
        finally:
            os.close(fd)
        assert 35 <= made < 45, made


def test_an_exporting_daemon_needs_no_memory_to_free_memory():
    """A loopback mount writes its pages back to the daemon when memory is short."""
    if cfs.sanitized():
        pytest.skip("a sanitizer's memory cannot be locked")
    daemon = cfs.Daemon(nfs=True)
    try:
        daemon.start()
        with open(f"/proc/{daemon.process.pid}/status") as status:
            about = dict(line.split(":", 1) for line in status)
        effective = int(about["CapEff"], 16)
        if effective & 1 << 14:  # CAP_IPC_LOCK
            assert int(about["VmLck"].split()[0]) > 1024, about["VmLck"]
        if effective & 1 << 24:  # CAP_SYS_RESOURCE
            with open(f"/proc/{daemon.process.pid}/stat") as stat:
                flags = int(stat.read().rsplit(")", 1)[1].split()[6])
            assert flags & 0x00080000, f"{flags:#x}: PF_MEMALLOC_NOIO"
    finally:
        daemon.stop()
