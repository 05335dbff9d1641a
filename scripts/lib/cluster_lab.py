# SPDX-License-Identifier: Apache-2.0
"""Several cluster nodes on one machine, each with its own real corosync. Needs root.

A node is one process with its own network, mounts, host name, IPC and process ids. It has its own
/etc, /var, /run and /dev/shm; what is written there is gone with it, but for its "disk": the
directories in DISK, which outlive kill() and boot(). A further network namespace is the switch: one
bridge for each side of a partition. Nothing is named outside of these namespaces, so that any
number of clusters can run at once, and nothing of the machine's is changed.
"""
import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

MOUNT = "/etc/pve"
# What a node keeps when its power is cut.
DISK = {"state": "/var/lib/pve-cluster", "ring": "/var/lib/corosync", "conf": "/etc/corosync"}
QNETD = 100  # the number of the node that is the quorum device's server

SETUP = r"""
set -e
name=$1 directory=$2 lifeline=$3
hostname "$name"
mount -t tmpfs tmpfs "$directory/scratch"
# Before the overlays: a disk below /var would otherwise be bound from the overlay.
for part in state ring conf; do
    mkdir "$directory/scratch/$part"
    mount --bind "$directory/disk/$part" "$directory/scratch/$part"
done
cp "$directory/hosts" "$directory/scratch/hosts"
for top in etc var; do
    mkdir "$directory/scratch/$top.upper" "$directory/scratch/$top.work"
    mount -t overlay overlay -o \
        "lowerdir=/$top,upperdir=$directory/scratch/$top.upper,workdir=$directory/scratch/$top.work" \
        "/$top"
done
cp "$directory/scratch/hosts" /etc/hosts
echo "$name" >/etc/hostname
mkdir -p /etc/pve /etc/corosync /var/lib/corosync /var/lib/pve-cluster /var/log/corosync
mount --bind "$directory/scratch/state" /var/lib/pve-cluster
mount --bind "$directory/scratch/ring" /var/lib/corosync
mount --bind "$directory/scratch/conf" /etc/corosync
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
mkdir -p /run/lock /run/corosync /run/corosync-qdevice /run/corosync-qnetd
touch /run/node-is-ready
"""
# The namespaces live as long as this. With a lifeline: until whoever holds its other end is gone.
STAY = r"""
if [ -n "$lifeline" ]; then
    while read -r _ <&"$lifeline"; do :; done
else
    sleep infinity &
    while :; do wait || :; done
fi
"""


class LabError(Exception):
    """What is wrong, for the person who asked."""


def wait_for(condition, seconds, what, every=0.02):
    """Waits until `condition()` is true, and returns what it gave. LabError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise LabError(f"after {seconds} s still not: {what}")
        time.sleep(every)


# --- Processes ---

def _stat(pid):
    """State and start time of a process; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return fields[0], int(fields[19])


def _only_child(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
    except OSError:
        return None
    return int(children[0]) if children else None


class Process:
    """A process by its id in the machine, and by its start: an id may be used again."""

    def __init__(self, pid, start=None, popen=None):
        found = _stat(pid)
        self.pid = pid
        self.start = start if start is not None else (found[1] if found else 0)
        self.popen = popen  # of the program that waits for it, if that is our child

    def alive(self):
        if self.popen:
            self.popen.poll()
        found = _stat(self.pid)
        return found is not None and found[0] not in "ZX" and found[1] == self.start

    def send(self, number):
        if self.alive():
            try:
                os.kill(self.pid, number)
                if number == signal.SIGCONT and self.popen:
                    self.popen.send_signal(number)  # nsenter stops itself with its child
            except ProcessLookupError:
                pass

    def end(self, number=signal.SIGKILL, seconds=20):
        """Sends the signal and waits for the end."""
        self.send(number)
        wait_for(lambda: not self.alive(), seconds, f"process {self.pid} has ended", every=0.005)
        if self.popen:
            self.popen.wait(seconds)

    def wait(self, seconds=20):
        """The exit code; negative for a signal. Only of a process that this program started."""
        code = self.popen.wait(seconds)
        return 128 - code if code > 128 else code


def _run_ip(pid, commands):
    """Commands of ip, in the network of that process."""
    done = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"],
                          input="\n".join(commands) + "\n", text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise LabError(f"the network could not be set up: {done.stdout.strip()}")


# --- One node ---

class Node:
    """One of the cluster's machines. Made by Cluster; `init` is nothing while it is off."""

    def __init__(self, cluster, number, saved=None):
        self.cluster = cluster
        self.number = number
        self.name = "qnetd" if number == QNETD else f"n{number}"
        self.address = f"10.77.0.{number}"
        self.directory = os.path.join(cluster.directory, self.name)
        saved = saved or {}
        for role in ("init", "corosync", "daemon", "qdevice"):
            known = saved.get(role)
            setattr(self, role, Process(*known) if known else None)

    def saved(self):
        return {role: [process.pid, process.start]
                for role in ("init", "corosync", "daemon", "qdevice")
                if (process := getattr(self, role))}

    @property
    def root(self):
        """The node's / as a path from outside."""
        return f"/proc/{self.init.pid}/root"

    @property
    def tree(self):
        """The mounted tree as a path from outside."""
        return self.root + MOUNT

    def disk(self, part="state"):
        """A part of DISK as a path from outside, also while the node is off."""
        return os.path.join(self.directory, "disk", part)

    def on(self):
        return bool(self.init and self.init.alive())

    # Power

    def boot(self):
        """Power on; nothing runs in it yet."""
        if self.on():
            raise LabError(f"{self.name} is on already")
        for part in DISK:
            os.makedirs(self.disk(part), exist_ok=True)
        os.makedirs(os.path.join(self.directory, "scratch"), exist_ok=True)
        with open(os.path.join(self.directory, "hosts"), "w", encoding="utf-8") as file:
            file.write(self.cluster.hosts())
        self.corosync = self.daemon = self.qdevice = None
        self.init = self.cluster.hold(
            ["-m", "-u", "-i", "-p", "-f", "--mount-proc", "--kill-child"], SETUP,
            [self.name, self.directory], self.log_path("boot"))
        try:
            wait_for(lambda: os.path.exists(self.root + "/run/node-is-ready"), 20, "set up")
        except LabError as error:
            raise LabError(f"{self.name} did not start: {self.log('boot')}") from error
        self.cluster.plug_in(self)

    def kill(self):
        """Power off, at once: everything in it is killed; its disk stays."""
        if self.init:
            self.init.end()
            self.cluster.unplug(self)
        self.init = self.corosync = self.daemon = self.qdevice = None

    def restart(self, daemon=True):
        """Power on again, with all that ran in it."""
        if self.on():
            self.kill()
        self.boot()
        self.start_corosync()
        if daemon and self.cluster.daemon_command:
            self.start_daemon()

    # Commands

    def _enter(self):
        if not self.on():
            raise LabError(f"{self.name} is not on")
        return ["nsenter", "-t", str(self.init.pid), "-m", "-u", "-i", "-n", "-p", "--wd=/"]

    def exec(self, *command, timeout=60, check=False, **options):
        """Runs a command in the node; text output, standard error with it."""
        options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self._enter() + [str(part) for part in command], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              errors="replace", check=False, **options)
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {command}: exit {done.returncode}: {done.stdout}")
        return done

    def call(self, command):
        """Runs a command in the node on this program's own terminal; its exit code."""
        return subprocess.call(self._enter() + list(command))

    def spawn(self, *command, log="spawn", **options):
        """Starts a command in the node. Its output goes to the log of that name, unless options
        of subprocess.Popen say otherwise. The Process is the command itself."""
        with open(self.log_path(log), "ab") as file:
            options.setdefault("stdin", subprocess.DEVNULL)
            options.setdefault("stdout", file)
            options.setdefault("stderr", file)
            popen = subprocess.Popen(self._enter() + [str(part) for part in command],
                                     start_new_session=True, **options)
        try:
            # nsenter itself stays outside, and waits for the one child that goes in.
            pid = wait_for(lambda: _only_child(popen.pid) or popen.poll() is not None, 10,
                           f"{command[0]} has started in {self.name}", every=0.002)
        except LabError:
            popen.kill()
            raise
        if pid is True:
            raise LabError(f"{self.name}: {command[0]} ended at once: {self.log(log)}")
        return Process(pid, popen=popen)

    # Corosync

    def start_corosync(self):
        """Starts it and waits until it answers, which is before it has quorum."""
        self.corosync = self.spawn("corosync", "-f", log="corosync")
        wait_for(lambda: self.ring() is not None or not self.corosync.alive(), 20,
                 f"corosync of {self.name} answers", every=0.05)
        if not self.corosync.alive():
            raise LabError(f"corosync of {self.name} has ended: {self.log('corosync')}")
        if self.cluster.options["qdevice"]:
            self.qdevice = self.spawn("corosync-qdevice", "-f", log="qdevice")

    def kill_corosync(self):
        """As a crash of it; the quorum device's client ends by itself."""
        self.corosync.end()
        self.corosync = None

    def ring(self):
        """(quorate, number of nodes in the ring); nothing where corosync does not answer."""
        text = self.exec("corosync-quorumtool", "-s").stdout
        quorate = nodes = None
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key == "Quorate":
                quorate = value.strip() == "Yes"
            elif key == "Nodes":
                nodes = int(value)
        return None if quorate is None or nodes is None else (quorate, nodes)

    def write_corosync_conf(self, text):
        """On the node's disk; corosync reads it at its start, or when told by `reload_conf`."""
        path = os.path.join(self.disk("conf"), "corosync.conf")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)

    # The daemon

    def start_daemon(self, *arguments, command=None, wait=True, seconds=60):
        """Starts the cluster's daemon (or another `command`) with further arguments, and waits
        until it has mounted."""
        command = list(command or self.cluster.daemon_command) + list(arguments)
        self.daemon = self.spawn(*command, log="daemon")
        if wait:
            self.wait_mounted(seconds)

    def wait_mounted(self, seconds=60):
        wait_for(lambda: self.mounted() or not self.daemon.alive(), seconds,
                 f"the daemon of {self.name} has mounted", every=0.01)
        if not self.daemon.alive():
            raise LabError(f"the daemon of {self.name} has ended: {self.log('daemon')}")

    def mounted(self):
        try:
            with open(f"/proc/{self.init.pid}/mounts", encoding="utf-8") as file:
                return any(line.split()[1] == MOUNT and line.split()[2].startswith("fuse")
                           for line in file)
        except OSError:
            return False

    def stop_daemon(self):
        """Asks it to end, and waits."""
        self.daemon.end(signal.SIGTERM)
        self.daemon = None

    def kill_daemon(self):
        """As a crash of it. The mount that is left is taken away."""
        self.daemon.end()
        self.daemon = None
        self.exec("umount", "-l", MOUNT)

    def pause_daemon(self):
        self.daemon.send(signal.SIGSTOP)

    def resume_daemon(self):
        self.daemon.send(signal.SIGCONT)

    # Logs

    def log_path(self, name):
        return os.path.join(self.cluster.directory, "logs", f"{name}-{self.name}.log")

    def log(self, name, last=3000):
        """The end of a log: boot, corosync, daemon, qdevice, qnetd, or a name given to spawn()."""
        try:
            with open(self.log_path(name), "rb") as file:
                return file.read()[-last:].decode(errors="replace")
        except FileNotFoundError:
            return ""


# --- The cluster ---

DEFAULTS = {
    "name": "lab",          # corosync's cluster_name
    "transport": "udpu",    # knet is what real clusters have, and slower to form
    "crypto": False,        # only with knet
    "token": 1000,          # ms; corosync's own default is 3000
    "qdevice": False,       # a quorum device, with its server in one more node
    "totem": "",            # one more line of that section
}


class Cluster:
    """Nodes 1 to `count`; as a context manager it is up inside, and gone without a trace after.

    `daemon_command` is what start_daemon() runs. `ephemeral`: the nodes end with this program,
    however that ends; else they stay until down(), and load() finds them by their directory.
    """

    def __init__(self, count=3, daemon_command=(), directory=None, ephemeral=True, **options):
        unknown = set(options) - set(DEFAULTS)
        if unknown:
            raise TypeError(f"no such option: {unknown}")
        self.options = {**DEFAULTS, **options}
        self.daemon_command = list(daemon_command)
        self.directory = directory or tempfile.mkdtemp(prefix="cfsgate-cluster-")
        self.ephemeral = ephemeral
        self.config_version = 1
        self.bridges = []
        self.sides = {}  # number of a node, as text: the bridge that it is plugged in
        self.switch = None
        self._lifeline = os.pipe() if ephemeral else None
        numbers = list(range(1, count + 1)) + ([QNETD] if self.options["qdevice"] else [])
        self.all = {number: Node(self, number) for number in numbers}

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            print(self.logs())
            self.down()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit)):
            print(self.logs())
        self.down()

    @property
    def nodes(self):
        """The nodes that vote, by their order."""
        return [node for number, node in sorted(self.all.items()) if number != QNETD]

    def __getitem__(self, number):
        return self.all[number]

    # Up and down

    def up(self):
        """Boots all nodes and starts corosync in them; returns when they are one quorate ring.
        Daemons are the caller's."""
        check_machine(self.options)
        if self.ephemeral:
            atexit.register(self.down)
        os.makedirs(os.path.join(self.directory, "logs"), exist_ok=True)
        if self.options["crypto"]:
            subprocess.run(["corosync-keygen", "-l", "-s", "256", "-k", self._key()], check=True,
                           stdout=subprocess.DEVNULL)
        self.switch = self.hold([], "lifeline=$1\n", [], os.path.join(self.directory, "logs/switch"))
        wait_for(lambda: os.readlink(f"/proc/{self.switch.pid}/ns/net")
                 != os.readlink("/proc/self/ns/net"), 10, "the switch has its own network")
        self._add_bridge("br0")
        for node in self.all.values():
            node.boot()
            if node.number == QNETD:
                node.spawn("corosync-qnetd", "-f", "-s", "off", log="qnetd")
        for node in self.nodes:
            self._write_conf(node)
        for node in self.nodes:
            node.corosync = node.spawn("corosync", "-f", log="corosync")
        for node in self.nodes:
            wait_for(lambda n=node: n.ring() is not None, 20, f"corosync of {node.name} answers")
            if self.options["qdevice"]:
                node.qdevice = node.spawn("corosync-qdevice", "-f", log="qdevice")
        self.wait_quorate()

    def down(self):
        """Ends everything and removes all files. May be called again."""
        for node in self.all.values():
            if node.init:
                node.init.end()
                node.init = None
        if self.switch:
            self.switch.end()
            self.switch = None
        if self._lifeline:
            for end in self._lifeline:
                os.close(end)
            self._lifeline = None
        atexit.unregister(self.down)
        shutil.rmtree(self.directory, ignore_errors=True)

    def hold(self, namespaces, setup, arguments, log_path):
        """Starts a process in namespaces of its own that does nothing but keep them; that one."""
        lifeline = self._lifeline[0] if self._lifeline else None
        with open(log_path, "ab") as log:
            popen = subprocess.Popen(
                ["unshare", "-n", *namespaces, "bash", "-c", setup + STAY, "node", *arguments,
                 "" if lifeline is None else str(lifeline)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=() if lifeline is None else (lifeline,))
        if "-f" not in namespaces:
            return Process(popen.pid, popen=popen)
        pid = wait_for(lambda: _only_child(popen.pid) or popen.poll() is not None, 10,
                       "the namespaces are there", every=0.002)
        if pid is True:
            with open(log_path, encoding="utf-8", errors="replace") as log:
                raise LabError(f"no namespaces: {log.read().strip()}")
        return Process(pid, popen=popen)

    def add_node(self, daemon=False):
        """One more node: all get a corosync.conf with it and of the next version, running
        corosyncs read it, and it starts with an empty disk."""
        number = max(node.number for node in self.nodes) + 1
        node = self.all[number] = Node(self, number)
        self.config_version += 1
        for other in self.nodes:
            if other.on():
                with open(other.root + "/etc/hosts", "w", encoding="utf-8") as file:
                    file.write(self.hosts())
        node.boot()
        self.reload()
        node.start_corosync()
        if daemon:
            node.start_daemon()
        return node

    # Configuration

    def hosts(self):
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{node.address} {node.name}" for node in self.all.values()]
        return "\n".join(lines) + "\n"

    def corosync_conf(self, version=None):
        options = self.options
        text = f"""totem {{
  version: 2
  cluster_name: {options["name"]}
  config_version: {version or self.config_version}
  transport: {options["transport"]}
  token: {options["token"]}
  crypto_cipher: {"aes256" if options["crypto"] else "none"}
  crypto_hash: {"sha256" if options["crypto"] else "none"}
  {options["totem"]}
  interface {{
    linknumber: 0
  }}
}}

nodelist {{
"""
        for node in self.nodes:
            text += f"""  node {{
    name: {node.name}
    nodeid: {node.number}
    quorum_votes: 1
    ring0_addr: {node.address}
  }}
"""
        text += "}\n\nquorum {\n  provider: corosync_votequorum\n"
        if options["qdevice"]:
            text += f"""  device {{
    model: net
    votes: 1
    net {{
      tls: off
      host: {self.all[QNETD].address}
      algorithm: ffsplit
    }}
  }}
"""
        # Neither real-time scheduling nor control groups: not allowed in most containers.
        return text + """}

system {
  sched_rr: no
  move_to_root_cgroup: no
}

logging {
  to_stderr: yes
  to_syslog: no
  timestamp: hires
}
"""

    def reload(self):
        """Gives every node the corosync.conf of now; the corosyncs that run read it."""
        for node in self.nodes:
            self._write_conf(node)
        running = next(node for node in self.nodes if node.corosync)
        running.exec("corosync-cfgtool", "-R", check=True)

    def _key(self):
        return os.path.join(self.directory, "authkey")

    def _write_conf(self, node):
        node.write_corosync_conf(self.corosync_conf())
        if self.options["crypto"]:
            shutil.copy(self._key(), node.disk("conf"))

    # The network

    def _add_bridge(self, name):
        _run_ip(self.switch.pid, [f"link add {name} type bridge", f"link set {name} up"])
        self.bridges.append(name)

    def plug_in(self, node):
        port = f"port{node.number}"
        bridge = self.sides.get(str(node.number), "br0")
        _run_ip(self.switch.pid,
                [f"link add {port} type veth peer name eth0 netns {node.init.pid}",
                 f"link set {port} master {bridge} up"])
        _run_ip(node.init.pid, ["link set lo up", f"addr add {node.address}/24 dev eth0",
                                "link set eth0 up"])

    def unplug(self, node):
        """The namespace of a dead node goes away later than its processes; its port now."""
        subprocess.run(["nsenter", "-t", str(self.switch.pid), "-n", "ip", "link", "del",
                        f"port{node.number}"], stderr=subprocess.DEVNULL, check=False)

    def partition(self, *sides):
        """Splits the network: `partition([1, 2], [3])`. Who is not named stays with the first
        side."""
        placed = [number for side in sides for number in side]
        if len(placed) != len(set(placed)) or not set(placed) <= set(self.all):
            raise LabError("a side names a node twice, or one that there is not")
        groups = [list(side) for side in sides] or [[]]
        groups[0] += [number for number in self.all if number not in placed]
        commands = []
        for index, group in enumerate(groups):
            bridge = f"br{index}"
            if bridge not in self.bridges:
                self._add_bridge(bridge)
            for number in group:
                self.sides[str(number)] = bridge
                if self.all[number].on():
                    commands.append(f"link set port{number} master {bridge}")
        _run_ip(self.switch.pid, commands)

    def heal(self):
        self.partition()

    # Waiting

    def wait_ring(self, numbers, quorate=True, members=None, seconds=60):
        """Waits until each of these nodes is in a ring of that many (of all of these)."""
        nodes = [self.all[number] for number in numbers]
        members = members or len(nodes)
        try:
            wait_for(lambda: all(node.ring() == (quorate, members) for node in nodes), seconds,
                     f"{'quorate' if quorate else 'not quorate'}, {members} members")
        except LabError as error:
            seen = {node.name: node.ring() for node in nodes}
            raise LabError(f"{error}; seen: {seen}") from None

    def wait_quorate(self, seconds=60):
        """All nodes that are on in one ring, which has quorum."""
        self.wait_ring([node.number for node in self.nodes if node.on() and node.corosync],
                       seconds=seconds)

    def logs(self, last=4000):
        """The end of every log."""
        folder = os.path.join(self.directory, "logs")
        texts = []
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), "rb") as file:
                text = file.read()[-last:].decode(errors="replace").strip()
            if text:
                texts.append(f"--- {name} ---\n{text}")
        return "\n".join(texts)

    # Between two runs of a program

    def save(self):
        state = {"options": self.options, "daemon_command": self.daemon_command,
                 "config_version": self.config_version, "bridges": self.bridges, "sides": self.sides,
                 "switch": [self.switch.pid, self.switch.start],
                 "nodes": {str(number): node.saved() for number, node in self.all.items()}}
        path = os.path.join(self.directory, "state.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
        os.replace(path + ".new", path)

    @classmethod
    def load(cls, directory):
        """The cluster that save() wrote there. LabError if there is none."""
        try:
            with open(os.path.join(directory, "state.json"), encoding="utf-8") as file:
                state = json.load(file)
        except FileNotFoundError:
            raise LabError("no cluster is up; see 'up'") from None
        cluster = cls(0, state["daemon_command"], directory, ephemeral=False, **state["options"])
        cluster.config_version = state["config_version"]
        cluster.bridges = state["bridges"]
        cluster.sides = state["sides"]
        cluster.switch = Process(*state["switch"])
        cluster.all = {int(number): Node(cluster, int(number), saved)
                       for number, saved in state["nodes"].items()}
        return cluster


# --- What it needs ---

PROGRAMS = {"corosync": "corosync", "corosync-keygen": "corosync", "ip": "iproute2",
            "nsenter": "util-linux", "unshare": "util-linux", "bash": "bash"}
QDEVICE_PROGRAMS = {"corosync-qdevice": "corosync-qdevice", "corosync-qnetd": "corosync-qnetd"}


def missing_packages(qdevice=False):
    """The Debian packages whose programs are not here, sorted."""
    wanted = {**PROGRAMS, **(QDEVICE_PROGRAMS if qdevice else {})}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted({package for program, package in wanted.items()
                   if not shutil.which(program, path=path)})


def check_machine(options):
    if os.geteuid() != 0:
        raise LabError("this needs root, for namespaces and mounts")
    missing = missing_packages(options["qdevice"])
    if missing:
        raise LabError(f"packages are missing: apt-get install {' '.join(missing)}")
