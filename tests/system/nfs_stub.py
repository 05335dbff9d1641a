# SPDX-License-Identifier: Apache-2.0
"""A small NFSv3 and MOUNT server in this process, which can be told to misbehave.

For what a client does when a server refuses, stalls or goes away. A handle is the entry's number;
the tree is in memory and has no permissions.
"""
import contextlib
import socket
import struct
import threading

EXPORT = "/etc/pve"
MOUNT, NFS = 100005, 100003
PROCEDURES = ["null", "getattr", "setattr", "lookup", "access", "readlink", "read", "write", "create",
              "mkdir", "symlink", "mknod", "remove", "rmdir", "rename", "link", "readdir",
              "readdirplus", "fsstat", "fsinfo", "pathconf", "commit"]
OK, NOENT, EXIST, ISDIR, NOTEMPTY = 0, 2, 17, 21, 66
ACCES, NOSPC, STALE, JUKEBOX = 13, 28, 70, 10008
FILE, DIRECTORY, LINK = 1, 2, 5

# What a hook may answer besides an nfsstat3.
DROP = "drop"      # no reply
CLOSE = "close"    # the connection ends
REFUSE = "refuse"  # MSG_DENIED, AUTH_TOOWEAK


class Entry:
    def __init__(self, number, kind, content=b""):
        self.number, self.kind, self.content, self.version = number, kind, content, number
        self.names = {}


class Arguments:
    """The words of a request, read one after the other."""

    def __init__(self, data):
        self.data = data

    def u32(self):
        value, = struct.unpack_from(">I", self.data)
        self.data = self.data[4:]
        return value

    def u64(self):
        return self.u32() << 32 | self.u32()

    def opaque(self):
        size = self.u32()
        value = self.data[:size]
        self.data = self.data[size + -size % 4:]
        return value


def u32(*values):
    return struct.pack(f">{len(values)}I", *values)


def u64(value):
    return struct.pack(">Q", value)


def opaque(data):
    return u32(len(data)) + data + bytes(-len(data) % 4)


class Server:
    """Listens on `port` of 127.0.0.1 from `with` on. `hooks` maps the name of a procedure to what
    is called, without arguments, before it is performed; None lets it happen. `calls` counts."""

    def __init__(self, write_bytes_max=1 << 20):
        self.write_bytes_max = write_bytes_max
        self.hooks, self.calls, self.peers, self.credentials = {}, {}, [], []
        self.entries = {1: Entry(1, DIRECTORY)}
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = []

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # The tree, for tests.

    def add(self, path, content=b"", kind=FILE):
        *folders, name = path.split("/")
        place = self.entries[1]
        for folder in folders:
            place = self.entries[place.names[folder]]
        return self.make(place, name, kind, content)

    def make(self, place, name, kind, content=b""):
        entry = Entry(max(self.entries) + 1, kind, content)
        self.entries[entry.number] = entry
        place.names[name] = entry.number
        return entry

    def names(self):
        return sorted(self.entries[1].names)

    def content(self, name):
        return self.entries[self.entries[1].names[name]].content

    # The transport.

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self.listener.accept()
                self.peers.append(peer)
                self.connections.append(connection)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, struct.error), connection:
            stream = connection.makefile("rb")
            while True:
                record, last = b"", False
                while not last:
                    mark, = struct.unpack(">I", stream.read(4))
                    record, last = record + stream.read(mark & 0x7fffffff), bool(mark >> 31)
                reply = self.answer(record)
                if reply == CLOSE:
                    return
                if reply != DROP:
                    connection.sendall(u32(len(reply) | 1 << 31) + reply)

    def answer(self, record):
        call = Arguments(record)
        xid, _, _, program, _, number, _ = [call.u32() for _ in range(7)]
        credential = Arguments(call.opaque())
        call.u32(), call.opaque()
        names = PROCEDURES if program == NFS else ["mount-null", "mnt"]
        name = names[number]
        with self.lock:
            self.calls[name] = self.calls.get(name, 0) + 1
            self.note(credential)
            hook = self.hooks.get(name, lambda: None)()
            if hook in (DROP, CLOSE):
                return hook
            if hook == REFUSE:
                return u32(xid, 1, 1, 1, 5)
            result = u32(hook) + self.failure(name) if hook else self.perform(name, call)
        return u32(xid, 1, 0, 0, 0, 0) + result

    def note(self, credential):
        credential.u32(), credential.opaque()
        uid, gid, count = credential.u32(), credential.u32(), credential.u32()
        self.credentials.append((uid, gid, [credential.u32() for _ in range(count)]))

    # The procedures.

    def failure(self, name):
        """What follows a status that is not OK: absent attributes."""
        return bytes({"getattr": 0, "mnt": 0, "setattr": 8, "write": 8, "create": 8, "remove": 8,
                      "rmdir": 8, "rename": 16}.get(name, 4))

    def perform(self, name, call):
        try:
            if name in ("null", "mount-null"):
                return b""
            return u32(OK) + getattr(self, name)(call)
        except KeyError:
            return u32(NOENT) + self.failure(name)
        except FileExistsError:
            return u32(EXIST) + self.failure(name)
        except OSError:
            return u32(NOTEMPTY) + self.failure(name)

    def entry(self, call):
        return self.entries[int(call.opaque())]

    def place(self, call):
        return self.entry(call), call.opaque().decode()

    def attributes(self, entry):
        mode = 0o755 if entry.kind == DIRECTORY else 0o640
        size = len(entry.content)
        return (u32(entry.kind, mode, 1, 0, 33) + u64(size) + u64(size) + u32(0, 0) + u64(7) +
                u64(entry.number) + u32(1000, 0) * 2 + u32(1000, entry.version))

    def post(self, entry):
        return u32(1) + self.attributes(entry)

    def mnt(self, call):
        if call.opaque().decode() != EXPORT:
            raise KeyError
        return opaque(b"1") + u32(1, 1)

    def fsinfo(self, call):
        size = self.write_bytes_max
        return u32(0, size, size, 1, size, size, 1, 65536) + u64(1 << 40) + u32(0, 1, 0x1b)

    def getattr(self, call):
        return self.attributes(self.entry(call))

    def setattr(self, call):
        entry = self.entry(call)
        for _ in range(3):  # mode, uid, gid
            if call.u32():
                call.u32()
        if call.u32():
            entry.content = entry.content[:call.u64()]
        entry.version += 1
        return bytes(8)

    def lookup(self, call):
        place, name = self.place(call)
        entry = self.entries[place.names[name]]
        return opaque(str(entry.number).encode()) + self.post(entry) + u32(0)

    def readlink(self, call):
        return u32(0) + opaque(self.entry(call).content)

    def read(self, call):
        entry, offset, count = self.entry(call), call.u64(), call.u32()
        data = entry.content[offset:offset + count]
        end = offset + len(data) >= len(entry.content)
        return u32(0, len(data), end) + opaque(data)

    def write(self, call):
        entry, offset, _, stable = self.entry(call), call.u64(), call.u32(), call.u32()
        data = call.opaque()
        assert stable == 2 and len(data) <= self.write_bytes_max
        entry.content = entry.content[:offset].ljust(offset, b"\0") + data
        entry.version += 1
        return u32(0, 0, len(data), 2) + bytes(8)

    def create(self, call):
        place, name = self.place(call)
        if call.u32() == 1 and name in place.names:  # GUARDED
            raise FileExistsError
        entry = self.make(place, name, FILE)
        return u32(1) + opaque(str(entry.number).encode()) + u32(0) + bytes(8)

    def remove(self, call):
        place, name = self.place(call)
        del self.entries[place.names.pop(name)]
        return bytes(8)

    def rmdir(self, call):
        place, name = self.place(call)
        if self.entries[place.names[name]].names:
            raise OSError
        del self.entries[place.names.pop(name)]
        return bytes(8)

    def rename(self, call):
        (source, old), (target, new) = self.place(call), self.place(call)
        target.names[new] = source.names.pop(old)
        return bytes(16)

    def readdirplus(self, call):
        """Two entries at a time; each second one without attributes."""
        place, cookie = self.entry(call), call.u64()
        names = sorted(place.names, reverse=True)
        text = u32(0) + bytes(8)
        for index, name in list(enumerate(names))[cookie:cookie + 2]:
            entry = self.entries[place.names[name]]
            text += u32(1) + u64(entry.number) + opaque(name.encode()) + u64(index + 1)
            text += self.post(entry) + u32(0) if index % 2 else u32(0, 0)
        return text + u32(0, cookie + 2 >= len(names))
