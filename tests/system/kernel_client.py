# SPDX-License-Identifier: Apache-2.0
"""The kernel's NFS client and a daemon in one kernel, for tests that run in a guest."""
import contextlib
import itertools
import os
import selectors
import socket
import struct
import threading

import cfs

EXPORT = "/etc/pve"  # whatever directory the FUSE mount is at
ADDRESS = "127.0.0.1"
ports = itertools.count(2049)


def mount(port, path, *options):
    """A hard mount, as users are told to make it. Without a portmapper and a lock manager."""
    os.makedirs(path, exist_ok=True)
    options = ["vers=3", "tcp", f"port={port}", f"mountport={port}", "nolock", *options]
    cfs.run("mount", "-t", "nfs", "-o", ",".join(options), f"{ADDRESS}:{EXPORT}", path, check=True)
    return path


def unmount(path):
    cfs.run("umount", path, check=True, timeout=60)


class Daemon(cfs.Daemon):
    """A daemon with NFS mounts of its tree. `nfs_mount` is the first; `mount` is the one by FUSE."""

    def __init__(self, **options):
        super().__init__(nfs=True, **options)
        self.deaths = 0
        self.port = next(ports)  # the same after a restart
        self.nfs_mount = None
        self.nfs_mounts = []

    def command(self, name=None):
        command = super().command(name)
        command[command.index("--nfs-port") + 1] = str(self.port)
        return command

    def mount_nfs(self, *options, port=None):
        path = mount(port or self.port, f"{self.base}/n{len(self.nfs_mounts)}", *options)
        self.nfs_mounts.append(path)
        return path

    def start(self, *arguments, **options):
        """The first time, with a mount with the usual options."""
        super().start(*arguments, **options)
        if not self.nfs_mount:
            self.nfs_mount = self.mount_nfs()
        return self

    def restart(self):
        """Under open mounts."""
        super().stop()
        return self.start()

    def stop(self, *arguments, **options):
        for path in self.nfs_mounts[::-1]:
            unmount(path)
            self.nfs_mounts.remove(path)
        self.nfs_mount = None
        super().stop(*arguments, **options)

    def abort(self):
        """A hard mount without a server holds those who use it; they get an error now."""
        super().abort()
        for path in self.nfs_mounts:
            with contextlib.suppress(Exception):
                cfs.remove_mounts(path)
        self.nfs_mounts = []


class View:
    """A daemon whose tree is looked at through its NFS mount: for tests that only know `mount`."""

    def __init__(self, daemon):
        self._daemon = daemon

    def __getattr__(self, name):
        return getattr(self._daemon, name)

    @property
    def mount(self):
        return self._daemon.nfs_mount

    def path(self, *parts):
        return os.path.join(self.mount, *parts)


# Procedures of NFSv3 that change something.
SETATTR, WRITE, CREATE, MKDIR, REMOVE, RMDIR, RENAME = 2, 7, 8, 9, 12, 13, 14
NFS_PROGRAM = 100003


class Proxy:
    """Between client and daemon, to lose answers on purpose. It is as trusted as the kernel's client:
    root, calling from a reserved port, always the same one for a client's port."""

    def __init__(self, target):
        self.lose = set()  # answers to these procedures do not arrive
        self.lost = 0
        self._target = target
        self._ports = {}
        self._flows = {}  # by the connection that it reads
        self._selector = selectors.DefaultSelector()
        self._listener = None
        self.port = 0
        self.connect()
        self._mutex = threading.Lock()
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self._ending = True
        self._thread.join(10)
        self.disconnect()

    def connect(self):
        """Lets clients connect."""
        self._listener = socket.create_server((ADDRESS, self.port), backlog=16)
        self.port = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)

    def disconnect(self):
        """Ends all connections; what was lost is lost for good. New ones are refused, as they are
        while the daemon is down: a client whose connections end at once changes its port."""
        with self._mutex:
            self._selector.unregister(self._listener)
            self._listener.close()
            for flow in list(self._flows.values()):
                self._close(flow)

    def _run(self):
        while not self._ending:
            ready = self._selector.select(0.05)
            with self._mutex:
                for key, _ in ready:
                    if key.fileobj is self._listener and self._listener.fileno() >= 0:
                        self._accept()
                    elif key.fileobj in self._flows:
                        self._forward(self._flows[key.fileobj])

    def _accept(self):
        client, address = self._listener.accept()
        port = self._ports.setdefault(address[1], 900 - len(self._ports))
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((ADDRESS, port))
            server.connect((ADDRESS, self._target))
        except OSError:  # the daemon is down: the client is to see that
            server.close()
            client.close()
            return
        losing = set()  # transactions
        for source, sink, calls in ((client, server, True), (server, client, False)):
            self._flows[source] = _Flow(source, sink, calls, losing)
            self._selector.register(source, selectors.EVENT_READ)

    def _forward(self, flow):
        try:
            data = flow.source.recv(1 << 20)
            if not data:
                self._close(flow)
            for record in flow.records(data):
                if flow.calls and flow.is_call_of(record, self.lose):
                    flow.losing.add(flow.transaction(record))
                if not flow.calls and flow.transaction(record) in flow.losing:
                    self.lost += 1
                else:
                    flow.sink.sendall(record)
        except OSError:
            self._close(flow)

    def _close(self, flow):
        """Both sides at once, and so that the port can be used again."""
        for end in (flow.source, flow.sink):
            if self._flows.pop(end, None):
                self._selector.unregister(end)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()


class _Flow:
    """One direction of a connection, cut into records (RFC 5531, 11)."""

    def __init__(self, source, sink, calls, losing):
        self.source = source
        self.sink = sink
        self.calls = calls
        self.losing = losing
        self._data = b""

    def records(self, data):
        """Those that are complete now, as they came."""
        self._data += data
        while True:
            end = 0
            last = False
            while not last and end + 4 <= len(self._data):
                mark = struct.unpack_from(">I", self._data, end)[0]
                last = bool(mark >> 31)
                end += 4 + (mark & 0x7FFFFFFF)
            if not last or end > len(self._data):
                return
            record, self._data = self._data[:end], self._data[end:]
            yield record

    @staticmethod
    def transaction(record):
        return record[4:8]

    @staticmethod
    def is_call_of(record, procedures):
        program, _, procedure = struct.unpack_from(">III", record, 4 + 12)
        return program == NFS_PROGRAM and procedure in procedures
