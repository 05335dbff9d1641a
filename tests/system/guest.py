# SPDX-License-Identifier: Apache-2.0
"""Programs in a real Linux kernel of their own: Debian's user-mode-linux, a kernel as a process.

The host of the tests may have no NFS client. A guest has one, and FUSE, and boots in about two
seconds. Its root is the host's file tree, read-only, so every program is there under its usual
path; /tmp, /run, /mnt, /root and /var/lib/nfs are its own and empty. It has one processor, and addresses
up to 512 GiB: programs with a sanitizer do not run in it.

    with guest.Guest() as kernel:
        done = kernel.run("uname -r; mount | wc -l")       # a script for bash, or a list of words
        done.returncode, done.stdout, done.stderr

The daemon runs in the guest itself, where its mount and the NFS client are in one kernel; or beside
it, and the guest is a client from another address:

    with guest.Network() as network, guest.Guest(network=network) as kernel:
        network.popen(["cfsgated", ...])                    # the server, at kernel.server
        kernel.run(f"mount -t nfs ... {kernel.server}:/etc/pve /mnt")

Nothing outlives the test: a guest ends with the process that started it (from its main thread), and
with all of its own processes; a network goes with its last process.
"""
import base64
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KERNEL = "/usr/bin/linux.uml"
INIT = os.path.join(HERE, "guest", "init")
MODULES = ["ipv6", "fuse", "nfsv3", "tcp_diag"]
BOOT_SECONDS_MAX = 60

live = []  # guests that were booted and not stopped


def missing():
    """Why no guest can be booted here, or None."""
    if not os.path.exists(KERNEL):
        return f"no {KERNEL} (package user-mode-linux)"
    if not os.path.exists("/sbin/mount.nfs"):
        return "no /sbin/mount.nfs (package nfs-common)"
    return None


class GuestDied(AssertionError):
    """The kernel ended, or was killed because it did not answer."""


class Job:
    """A command in a guest."""

    def __init__(self, guest, number, argv):
        self._guest = guest
        self._number = number
        self._changed = threading.Condition()
        self._output = {1: b"", 2: b""}
        self._lines_given = 0
        self.argv = argv
        self.returncode = None

    def _receive(self, message):
        with self._changed:
            if "data" in message:
                self._output[message["stream"]] += base64.b64decode(message["data"])
            else:
                self.returncode = message["code"]
            self._changed.notify_all()

    def _wake(self):
        with self._changed:
            self._changed.notify_all()

    def _wait_for(self, condition, timeout):
        with self._changed:
            return self._changed.wait_for(
                lambda: condition() or self._guest.dead, timeout) and condition()

    def ended(self):
        return self.returncode is not None

    @property
    def stdout(self):
        return self._output[1].decode(errors="replace")

    @property
    def stderr(self):
        return self._output[2].decode(errors="replace")

    def line(self, timeout):
        """The next line of its standard output; None when it has ended without one more."""
        def ready():
            return self._output[1].count(b"\n") > self._lines_given or self.ended()

        if not self._wait_for(ready, timeout):
            self._guest.check_alive(self)
            raise subprocess.TimeoutExpired(self.argv, timeout, self._output[1], self._output[2])
        lines = self.stdout.split("\n")[:-1]
        if self._lines_given == len(lines):
            return None
        self._lines_given += 1
        return lines[self._lines_given - 1]

    def wait(self, timeout=60):
        """Its end, as subprocess.run() tells it. Kills it at the time-out."""
        if not self._wait_for(self.ended, timeout):
            self._guest.check_alive(self)
            self.kill()
            if not self._wait_for(self.ended, 10):
                self._guest.abort()  # not even SIGKILL ends it
            raise subprocess.TimeoutExpired(self.argv, timeout, self._output[1], self._output[2])
        return subprocess.CompletedProcess(self.argv, self.returncode, self.stdout, self.stderr)

    def kill(self):
        self._guest.send(kill=self._number)


class Guest:
    """A kernel. `see`: directories of the host that stay visible, at the same path, though they lie
    in /tmp or the like; `share`: such that are writable too. Content that one side changes while the
    other has it open is not carried over reliably."""

    boot_seconds_max = BOOT_SECONDS_MAX

    def __init__(self, name="pve1", memory=768, seconds=600, network=None, see=(), share=(),
                 modules=()):
        self.name = name
        self.memory = memory
        self.seconds = seconds
        self.network = network
        self.device, self.server, self.address = network.add_device() if network else (None,) * 3
        build = os.environ.get("CFSGATE_BUILD")
        self.see = [os.path.abspath(path) for path in (HERE, os.path.dirname(HERE), build, *see) if path]
        self.share = [os.path.abspath(path) for path in share]
        self.modules = MODULES + list(modules)
        self.process = None
        self._console = None
        self.release = None
        self.dead = True
        self._line = None
        self._reader = None
        self._jobs = {}
        self._lock = threading.Lock()

    # --- Life ---

    def start(self):
        base = tempfile.mkdtemp(prefix="guest.", dir="/tmp")
        settings = {"name": self.name, "see": self.see, "share": self.share,
                    "modules": self.modules, "address": self.address}
        with open(f"{base}/settings", "w") as file:
            json.dump(settings, file)
        self._console = tempfile.TemporaryFile()
        self._line, theirs = socket.socketpair()
        environment = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
        # A kernel is several processes, which outlive the first of them. In a PID namespace all end
        # with timeout(1), which ends with unshare(1), which ends with the thread that starts it here.
        self.process = subprocess.Popen(
            self._wrapped(["unshare", "--pid", "--fork", "--kill-child", "timeout", "-s", "KILL",
                           str(self.seconds + 30), *self._command(base, theirs.fileno())]),
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console, cwd="/",
            pass_fds=[theirs.fileno()], start_new_session=True, env=environment,
            preexec_fn=_die_with_parent)
        theirs.close()
        self.dead = False
        live.append(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + self.boot_seconds_max
        while self.release is None and not self.dead and time.monotonic() < end:
            time.sleep(0.01)
        shutil.rmtree(base)  # nothing of it is needed any more, and nobody may be left to do it later
        if self.release is None:
            text = f"the guest did not boot\n{self.console()}"
            self.abort()
            raise GuestDied(text)
        return self

    def _command(self, base, line):
        command = [KERNEL, f"mem={self.memory}M", "rootfstype=hostfs", "rootflags=/", "ro",
                   "root=/dev/root", f"init={INIT}", "con=null", "con0=null,fd:1", "ssl=null",
                   f"ssl0=fd:{line}", "quiet", "loglevel=4", "panic=1", f"uml_dir={base}",
                   "umid=kernel", f"cfsgate_guest={base}/settings"]
        return command + ([f"eth0=tuntap,{self.device},,"] if self.device else [])

    def _wrapped(self, command):
        return self.network.command(command) if self.network else command

    def stop(self, seconds=30):
        """Powers it off."""
        if self.process is None:
            return
        try:
            self.send(off=True)
            self.process.wait(seconds)
        except (subprocess.TimeoutExpired, GuestDied):
            pass
        finally:
            self.abort()

    def abort(self):
        """Kills it, whatever its state, with all its processes."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait(30)
        self._line.close()
        self._reader.join(10)
        self.process = None
        live.remove(self)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        self.stop()

    def console(self, lines=40):
        """What the kernel has said last, also after its end."""
        if not self._console:
            return ""
        text = os.pread(self._console.fileno(), 1 << 20, 0).decode(errors="replace")
        return "".join(text.splitlines(keepends=True)[-lines:])

    def check_alive(self, what="it"):
        if self.dead:
            raise GuestDied(f"the guest died: {getattr(what, 'argv', what)}")

    # --- The line ---

    def send(self, **message):
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            try:
                self._line.sendall(data)
            except OSError:
                raise GuestDied("the guest is gone") from None

    def _read(self):
        rest = b""
        while True:
            try:
                # closing a socket does not wake who reads it
                if not select.select([self._line], [], [], 1)[0]:
                    if self.process is None or self.process.poll() is not None:
                        break
                    continue
                data = self._line.recv(65536)
            except (OSError, ValueError):
                break
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._dispatch(json.loads(line))
        self.dead = True
        for job in list(self._jobs.values()):
            job._wake()

    def _dispatch(self, message):
        if "ready" in message:
            self.release = message["ready"]
        elif message["job"] in self._jobs:
            self._jobs[message["job"]]._receive(message)

    # --- Commands ---

    def start_job(self, command, data=None, env=None, cwd="/tmp"):
        """Starts a script for bash, or a list of words, and does not wait."""
        argv = ["bash", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        number = len(self._jobs) + 1
        job = self._jobs[number] = Job(self, number, argv)
        self.send(start=number, argv=argv, env=env or {}, cwd=cwd,
                  data=base64.b64encode(data).decode() if data else None)
        return job

    def run(self, command, timeout=60, check=False, **options):
        """Runs it to its end."""
        done = self.start_job(command, **options).wait(timeout)
        if check:
            assert done.returncode == 0, \
                f"{command}: exit {done.returncode}: {done.stderr}{done.stdout}"
        return done


def abort_all():
    for guest in list(live):
        guest.abort()


# --- Two kernels ---

def _die_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Network:
    """A network namespace for a server, and a wire to each guest. It has no name: it is gone with
    its last process."""

    def __init__(self):
        self._holder = None
        self._devices = 0
        self._processes = []

    def __enter__(self):
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=_die_with_parent)
        self._holder.stdin.write(b"x")
        self._holder.stdin.flush()
        assert self._holder.stdout.read(1) == b"x", "no network namespace"
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, kind, value, trace):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait(10)
        self._holder.kill()
        self._holder.communicate()

    def command(self, argv):
        """The same in the namespace. Only the network is another: a mount is seen by all."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *map(str, argv)]

    def run(self, *argv, timeout=30):
        done = subprocess.run(self.command(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout)
        assert done.returncode == 0, f"{argv}: {done.stdout.decode(errors='replace')}"
        return done.stdout.decode(errors="replace")

    def popen(self, argv, **options):
        """A process in the namespace; killed at the end if it still runs."""
        self._processes.append(subprocess.Popen(self.command(argv), **options))
        return self._processes[-1]

    def add_device(self):
        """A wire for one guest: its device, the address of this end, and of the guest's."""
        number = self._devices
        self._devices += 1
        device, server, client = f"tap{number}", f"10.77.{number}.1", f"10.77.{number}.2"
        self.run("ip", "tuntap", "add", "dev", device, "mode", "tap")
        self.run("ip", "address", "add", f"{server}/24", "dev", device)
        self.run("ip", "link", "set", device, "up")
        return device, server, f"{client}/24"
