# SPDX-License-Identifier: Apache-2.0
"""A clean Debian 12 that boots with systemd, in a guest kernel (guest.py).

Its disk is made once, by mmdebstrap from the mirror that apt has here, and kept in /var/tmp. A guest
writes to a copy of its own, so every one begins clean. It has no network: what an installation
needs was downloaded with the disk.

    with debian_guest.DebianGuest(see=[folder]) as host:
        host.run("systemctl is-system-running")          # a script for bash, as root
"""
import base64
import glob
import hashlib
import os
import shutil
import subprocess
import tempfile

import guest

MODULES = "/usr/lib/uml/modules"
CACHE = "/var/tmp"
DISK_MIB = 2048
PACKAGES = ["systemd-sysv", "kmod", "procps", "iproute2"]
DOWNLOADED = ["nfs-common"]  # besides what the package depends on
# Of no use without a screen and a network; they only make the boot longer.
MASKED = ["console-getty.service", "getty@tty1.service", "systemd-timesyncd.service", "e2scrub_reap.service",
          "systemd-resolved.service", "systemd-networkd.service", "apt-daily.timer",
          "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"]

# Runs commands one at a time. From the host: NUMBER and a script in base64, or the word "off". Its
# answers are those of guest/init.
RUNNER = """#!/bin/bash
stty -F /dev/ttyS0 raw -echo
exec 3<>/dev/ttyS0
echo "{\\"ready\\": \\"$(uname -r)\\"}" >&3
while read -r number script <&3; do
    if [ "$number" = off ]; then systemctl --force --force poweroff; fi
    base64 -d <<<"$script" >/run/runner.script
    bash /run/runner.script </dev/null >/run/runner.out 2>/run/runner.err 3>&-
    code=$?
    for stream in 1:out 2:err; do
        printf '{"job": %d, "stream": %d, "data": "%s"}\\n' \\
            "$number" "${stream%:*}" "$(base64 -w0 "/run/runner.${stream#*:}")" >&3
    done
    printf '{"job": %d, "code": %d}\\n' "$number" "$code" >&3
done
"""
RUNNER_UNIT = """[Unit]
Description=Commands of the tests
After=multi-user.target

[Service]
ExecStart=/usr/local/sbin/runner
Environment=LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive TERM=dumb
KillMode=process

[Install]
WantedBy=default.target
"""


def missing():
    """Why no such guest can be booted here, or None."""
    for program, package in (("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"),
                             ("dpkg-deb", "dpkg"), (guest.KERNEL, "user-mode-linux")):
        if not shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
            return f"no {program} (package {package})"
    return None


# --- The disk ---

def _sources():
    """The mirror of this machine's apt."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)",
         "Created-By: Packages"], stdout=subprocess.PIPE, check=True, timeout=60)
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    sources = [f"deb {uri} {codename} main" for uri, codename, component in lines
               if codename == "bookworm" and component == "main"]
    if not sources:
        raise AssertionError("apt of this machine has no Debian 12 (bookworm)")
    return sources[0]


def _hooks(folder, package):
    """What is done in the new system, whose root is $1."""
    masks = " ".join(MASKED)
    return [
        f'mkdir -p "$1/usr/lib/modules" && cp -a {MODULES}/* "$1/usr/lib/modules/"',
        f'install -m 755 "{folder}/runner" "$1/usr/local/sbin/runner"',
        f'install -m 644 "{folder}/runner.service" "$1/etc/systemd/system/runner.service"',
        'chroot "$1" systemctl enable runner.service',
        f'chroot "$1" systemctl mask {masks}',
        'echo "127.0.0.1 localhost" >"$1/etc/hosts"; echo pve1 >"$1/etc/hostname"',
        'echo "127.0.1.1 pve1" >>"$1/etc/hosts"',
        f'cp "{package}" "$1/tmp/package.deb"',
        'chroot "$1" apt-get install --yes --no-install-recommends --download-only '
        f'/tmp/package.deb {" ".join(DOWNLOADED)}',
        'rm "$1/tmp/package.deb"',
    ]


def _recipe(package):
    """All that the disk depends on."""
    depends = subprocess.run(["dpkg-deb", "--field", package, "Depends"], stdout=subprocess.PIPE,
                             check=True, timeout=60).stdout.decode()
    text = "\n".join([depends, RUNNER, RUNNER_UNIT, str(DISK_MIB), *PACKAGES, *_hooks("", "")])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def disk(package):
    """The path of the disk with which this package can be installed; made now if it is not there."""
    path = f"{CACHE}/cfsgate-debian-{_recipe(package)}.ext4"
    if os.path.exists(path):
        return path
    for old in glob.glob(f"{CACHE}/cfsgate-debian-*.ext4"):
        os.unlink(old)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="cfsgate-debian.") as folder:
        for name, text in (("runner", RUNNER), ("runner.service", RUNNER_UNIT)):
            with open(f"{folder}/{name}", "w") as file:
                file.write(text)
        root = f"{folder}/root"
        hooks = [word for hook in _hooks(folder, package) for word in ("--customize-hook", hook)]
        _run("mmdebstrap", "--mode=root", "--variant=apt", "--skip=cleanup/apt,cleanup/reproducible", "--format=directory",
             "--include", ",".join(PACKAGES), *hooks, "bookworm", root, _sources(), seconds=1200)
        image = f"{folder}/image"
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-d", root, image, f"{DISK_MIB}M", seconds=600)
        os.rename(image, path)
    return path


def _run(*command, seconds):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds, check=False)
    if done.returncode != 0:
        text = done.stdout.decode(errors="replace")
        raise AssertionError(f"{command[0]}: exit {done.returncode}:\n{text[-4000:]}")


# --- The guest ---

class DebianGuest(guest.Guest):
    """`folder` is a directory of the host that the guest sees, writable, at /host."""

    boot_seconds_max = 240  # of systemd, on a machine that has other things to do

    def __init__(self, disk_path, folder, memory=1024, seconds=1800):
        super().__init__(memory=memory, seconds=seconds)
        self.disk = disk_path
        self.folder = folder
        self._copy = None

    def start(self):
        self._copy = tempfile.mkdtemp(prefix="cfsgate-guest.", dir=CACHE)
        try:
            super().start()
            self.run(f"mkdir -p /host && mount -t hostfs none /host -o {self.folder}", check=True)
        except BaseException:
            self.abort()
            raise
        return self

    def abort(self):
        super().abort()
        if self._copy:
            shutil.rmtree(self._copy)
            self._copy = None

    def _command(self, base, line):
        return [guest.KERNEL, f"mem={self.memory}M", f"ubd0={self._copy}/disk,{self.disk}",
                "root=/dev/ubda", "rw", "con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{line}",
                "quiet", "loglevel=4", "panic=1", f"uml_dir={base}", "umid=kernel"]

    def send(self, **message):
        if "start" in message:
            script = base64.b64encode(message["argv"][-1].encode()).decode()
            self._send_line(f"{message['start']} {script}")
        elif "off" in message:
            self._send_line("off")
        # A command cannot be killed alone; whoever waits for it in vain kills the guest.

    def _send_line(self, text):
        with self._lock:
            try:
                self._line.sendall(text.encode() + b"\n")
            except OSError:
                raise guest.GuestDied("the guest is gone") from None
