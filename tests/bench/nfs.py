#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""NFS operations per second of cfsgated beside other servers, all in one run on one disk.

  tests/bench/nfs.py --build build/release [--directory DIR] [--rounds 3] [--seconds 2]

Each round asks every server in turn; a figure is the median of the rounds, with the lowest and the
highest beside it. Server and client are pinned to one processor each (--same-cpu: both to one).
Peers: nfs-ganesha (package nfs-ganesha-vfs), where it is installed, and an event loop that does
nothing but answer (NULL only). Needs root: everything runs in a network and mount namespace of its
own. Build first: cmake --build BUILD --target cfsgated nfs_load
"""
import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

OPERATIONS = ["NULL", "GETATTR", "LOOKUP", "ACCESS", "READ", "READDIRPLUS", "WRITE", "CREATE",
              "REMOVE"]
PORT = 20490


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default="build/release", help="the build to measure")
    parser.add_argument("--directory", default="/var/tmp", help="where the stores lie: a real disk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--depths", default="1,16,64", help="calls in flight")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--same-cpu", action="store_true", help="client and server on one processor")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def enter_namespaces():
    """Runs this program again where ports and /run belong to it alone."""
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                          sys.executable, *sys.argv, "--inside"])


def set_up_namespaces():
    for command in ("mount -t tmpfs none /run", "ip link set lo up",
                    # Without an address beside loopback some servers resolve nothing.
                    "ip link add bench0 type veth peer name bench1",
                    "ip addr add 10.99.0.1/24 dev bench0", "ip link set bench0 up",
                    "ip link set bench1 up"):
        subprocess.run(command.split(), check=True)


def wait_for_port(port, process, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def fill(directory):
    """What the load program wants to find."""
    os.makedirs(f"{directory}/bench/list")
    with open(f"{directory}/bench/file", "wb") as file:
        file.write(b"x" * 65536)
    for i in range(1000):
        with open(f"{directory}/bench/list/f{i:04}", "wb"):
            pass


def pinned(cpu, command):
    return ["taskset", "-c", str(cpu), *command]


@contextlib.contextmanager
def running(command, log):
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def cfsgated(options, base):
    for folder in ("mount", "state", "run"):
        os.makedirs(f"{base}/{folder}")
    command = [f"{options.build}/gateway/cfsgated", "--foreground", "--local", "--mount",
               f"{base}/mount", "--state", f"{base}/state", "--run", f"{base}/run", "--pid-file",
               f"{base}/pid", "--control", f"{base}/control", "--node-name", "bench", "--nfs-port",
               str(PORT)]
    with running(pinned(0, command), f"{base}/log") as process:
        wait_for_port(PORT, process)
        fill(f"{base}/mount")
        yield {"export": "/etc/pve", "operations": OPERATIONS}


@contextlib.contextmanager
def ganesha(_, base):
    os.makedirs(f"{base}/export")
    fill(f"{base}/export")
    config = f"{base}/ganesha.conf"
    with open(config, "w") as file:
        file.write(f"""
NFS_CORE_PARAM {{ Protocols = 3; NFS_Port = {PORT}; MNT_Port = {PORT + 1}; Enable_NLM = false;
  Enable_RQUOTA = false; Enable_UDP = false; }}
EXPORT {{ Export_Id = 1; Path = {base}/export; Pseudo = /bench; Protocols = 3; Transports = TCP;
  Access_Type = RW; Squash = None; SecType = sys; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = WARN; }}
""")
    os.makedirs("/run/ganesha", exist_ok=True)
    with running(["rpcbind", "-f", "-w"], f"{base}/rpcbind.log"):
        time.sleep(0.5)
        command = ["ganesha.nfsd", "-F", "-L", f"{base}/log", "-f", config, "-p", f"{base}/pid"]
        with running(pinned(0, command), f"{base}/out") as process:
            wait_for_port(PORT, process)
            wait_for_port(PORT + 1, process)
            yield {"export": f"{base}/export", "mount_port": PORT + 1, "operations": OPERATIONS}


@contextlib.contextmanager
def bare(options, base):
    command = [f"{options.build}/tests/bench/nfs_load", "bare", str(PORT)]
    with running(pinned(0, command), f"{base}/log") as process:
        wait_for_port(PORT, process)
        yield {"export": "-", "operations": ["NULL"]}


def servers():
    found = {"cfsgate": cfsgated, "bare": bare}
    if shutil.which("ganesha.nfsd") and shutil.which("rpcbind"):
        found["ganesha"] = ganesha
    else:
        print("nfs-ganesha is not installed (packages nfs-ganesha-vfs, rpcbind): not compared",
              file=sys.stderr)
    return found


def load(options, server):
    operations = [name for name in options.operations.split(",") if name in server["operations"]]
    if not operations:
        return {}
    command = pinned(0 if options.same_cpu else 1, [
        f"{options.build}/tests/bench/nfs_load", "127.0.0.1", str(PORT),
        str(server.get("mount_port", PORT)), server["export"], "bench", str(options.seconds),
        options.depths, *operations])
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def measure(options):
    """server -> operation -> depth -> rates of the rounds"""
    rates = {}
    for number in range(options.rounds):
        for name, start in servers().items():
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
            base = tempfile.mkdtemp(prefix="nfs-bench.", dir=options.directory)
            try:
                with start(options, base) as server:
                    for operation, by_depth in load(options, server).items():
                        for depth, rate in by_depth.items():
                            rates.setdefault(name, {}).setdefault(operation, {}).setdefault(
                                depth, []).append(rate)
            finally:
                shutil.rmtree(base, ignore_errors=True)
    return rates


def show(options, rates):
    peers = [name for name in rates if name != "cfsgate"]
    print(f"{'operation':<12}{'depth':>6}{'cfsgate/s':>12}{'lowest':>10}{'highest':>10}"
          + "".join(f"{name + '/s':>12}{'ratio':>7}" for name in peers))
    for operation in options.operations.split(","):
        for depth in options.depths.split(","):
            own = rates["cfsgate"].get(operation, {}).get(depth)
            if not own:
                continue
            middle = statistics.median(own)
            line = f"{operation:<12}{depth:>6}{middle:>12.0f}{min(own):>10.0f}{max(own):>10.0f}"
            for name in peers:
                theirs = rates[name].get(operation, {}).get(depth)
                if theirs and statistics.median(theirs) > 0:
                    line += f"{statistics.median(theirs):>12.0f}{middle / statistics.median(theirs):>7.2f}"
                else:
                    line += f"{'-':>12}{'-':>7}"
            print(line)


def main():
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("nfs.py needs root for its namespaces")
    options.build = os.path.abspath(options.build)
    if not options.inside:
        enter_namespaces()
    set_up_namespaces()
    rates = measure(options)
    if options.json:
        print(json.dumps(rates))
    else:
        show(options, rates)


if __name__ == "__main__":
    main()
