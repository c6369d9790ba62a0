#!/usr/bin/env python3
"""Stands between unmodified clients and a real server and writes down the first frame of each kind.

    tap.py NAME ENCODING NAMESRV BROKER PORT >> crates/wire/testdata/traffic.txt

NAMESRV and BROKER are host:port of the server; the tap listens on PORT (as name server) and PORT+1 (as broker), and
puts the latter into the routes that pass by (both broker ports must have five digits). Run `Traffic.java` with the client's jars against PORT meanwhile;
end the tap with a signal. One line for each frame:

    NAME ENCODING > CODE HEX     a request of the client; `>=` for its answer to the server
    NAME ENCODING < CODE HEX     the server's answer to that request; `<!` for a request of the server
"""

import signal
import socket
import struct
import sys
import threading

NAME, ENCODING, NAMESRV, BROKER, PORT = sys.argv[1:6]
PORT = int(PORT)
FRAME_BYTES_MAX = 6000
SEEN = set()
LOCK = threading.Lock()
OLD, NEW = BROKER.encode(), b"127.0.0.1:%d" % (PORT + 1)
# The same in offset message ids, so that clients look messages up through the tap.
OLD_HEX, NEW_HEX = b"%08X" % int(BROKER.rsplit(":", 1)[1]), b"%08X" % (PORT + 1)
assert len(OLD) == len(NEW), "the ports must have equally many digits"


def head(frame):
    """code, opaque, flag of a frame"""
    (mark,) = struct.unpack_from(">I", frame, 4)
    header = frame[8 : 8 + (mark & 0xFFFFFF)]
    if mark >> 24 == 1:
        code, _language, _version, opaque, flag = struct.unpack_from(">hbhii", header)
        return code, opaque, flag
    import json

    h = json.loads(header)
    return h["code"], h["opaque"], h.get("flag", 0)


def note(direction, code, frame):
    with LOCK:
        if len(frame) <= FRAME_BYTES_MAX and (direction, code) not in SEEN:
            SEEN.add((direction, code))
            print(NAME, ENCODING, direction, code, frame.hex(), flush=True)


def frames(source):
    data = b""
    while True:
        more = source.recv(1 << 16)
        if not more:
            return
        data += more
        while len(data) >= 4 and len(data) >= 4 + struct.unpack_from(">i", data)[0]:
            size = 4 + struct.unpack_from(">i", data)[0]
            yield data[:size]
            data = data[size:]


def pump(source, target, asked, answers, from_client):
    try:
        for frame in frames(source):
            code, opaque, flag = head(frame)
            if flag & 1:
                asker = answers.pop(opaque, None)
                if asker is not None:
                    note(">=" if from_client else "<", asker, frame)
                    if asker == 11 and code == 0:
                        note("<", "11-found", frame)
            else:
                asked[opaque] = code
                note(">" if from_client else "<!", code, frame)
            target.sendall(frame if from_client else frame.replace(OLD, NEW).replace(OLD_HEX, NEW_HEX))
    except OSError:
        pass
    for s in (source, target):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(port, address):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        client, _ = listener.accept()
        host, p = address.rsplit(":", 1)
        server = socket.create_connection((host, int(p)))
        from_client, from_server = {}, {}
        threading.Thread(target=pump, args=(client, server, from_client, from_server, True), daemon=True).start()
        threading.Thread(target=pump, args=(server, client, from_server, from_client, False), daemon=True).start()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
threading.Thread(target=serve, args=(PORT, NAMESRV), daemon=True).start()
threading.Thread(target=serve, args=(PORT + 1, BROKER), daemon=True).start()
threading.Event().wait()
