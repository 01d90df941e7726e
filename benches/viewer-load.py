#!/usr/bin/env python3
"""Measures `parallax top` beside an observer that sees many flows: processor time, memory, and the time from a key to the screen.

    sudo benches/viewer-load.py [FLOWS-A-SECOND] [--drops] [--programs FOLDER]

It makes two network namespaces with a pair of interfaces, sends small UDP packets from 200 ports over it, and runs the
viewer in tmux. With --drops nobody reads them, so that half of the flows are drops. Everything is removed again.
"""

import argparse
import ctypes
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SENDER, RECEIVER = f"plxv{os.getpid()}a", f"plxv{os.getpid()}b"
ADDRESS, PORT = "10.88.0.2", 7000
SECONDS = 25
# Each key with what its screen shows, whatever the traffic.
KEYS = [("2", ("REASON", "No drops")), ("1", ("VERDICT",)), ("3", ("CLIENT",)), ("4", ("Sources",))]
KEYS += [("5", ("WHO TALKS",)), ("6", ("UPTIME",)), ("1", ("VERDICT",))]
BATCH = 32
# socket(7); Python has no names for them.
SO_RCVBUFFORCE, MSG_DONTWAIT = 33, 0x40


class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("pieces", ctypes.POINTER(Piece)),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Message(ctypes.Structure):
    """`struct mmsghdr` of sendmmsg(2)."""

    _fields_ = [("header", Header), ("length", ctypes.c_uint32)]


def messages():
    payload = ctypes.create_string_buffer(64)
    piece = Piece(ctypes.cast(payload, ctypes.c_void_p), 22)
    array = (Message * BATCH)()
    for message in array:
        message.header.pieces = ctypes.pointer(piece)
        message.header.piece_count = 1
    return array, (payload, piece)


def send(rate):
    libc, (array, _kept) = ctypes.CDLL(None), messages()
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]
    for one in sockets:
        one.connect((ADDRESS, PORT))
    start, sent, turn = time.monotonic(), 0, 0
    while time.monotonic() < start + SECONDS:
        due = int((time.monotonic() - start) * rate)
        for _ in range((due - sent) // BATCH):
            libc.sendmmsg(sockets[turn].fileno(), array, BATCH, 0)
            sent += BATCH
            turn = (turn + 1) % len(sockets)
        time.sleep(0.001)


def receive(reads):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20 if reads else 1)
    receiver.bind((ADDRESS, PORT))
    libc, (array, _kept) = ctypes.CDLL(None), messages()
    end = time.monotonic() + SECONDS + 10
    while time.monotonic() < end:
        if not reads or libc.recvmmsg(receiver.fileno(), array, BATCH, MSG_DONTWAIT, None) < 20:
            time.sleep(0.002)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def namespaces():
    for name in (SENDER, RECEIVER):
        run("ip", "netns", "add", name)
    pair = ("plxva", "netns", SENDER, "type", "veth", "peer", "name", "plxvb", "netns", RECEIVER)
    commands = [("ip", "link", "add", *pair)]
    for name, device, address in ((SENDER, "plxva", "10.88.0.1/24"), (RECEIVER, "plxvb", f"{ADDRESS}/24")):
        commands.append(("ip", "-n", name, "addr", "add", address, "dev", device))
        commands.append(("ip", "-n", name, "link", "set", device, "up"))
    for command in commands:
        made = run(*command)
        if made.returncode != 0:
            sys.exit(f"viewer-load: `{' '.join(command)}` failed (as root?): {made.stderr.strip()}")


def measure(tmux, programs, server, observer):
    def screen():
        return run(*tmux, "capture-pane", "-p", "-t", "top").stdout

    def seen():
        told = run(programs / "parallax", "--server", server, "status", "-o", "json").stdout
        return int(json.loads(told)["seen_flows"])

    shell = run(*tmux, "display-message", "-p", "-t", "top", "#{pane_pid}").stdout.strip()
    viewer = int(shell)
    started, flows = time.monotonic(), seen()
    before = cpu_seconds(viewer), cpu_seconds(observer)
    waits = []
    for key, shown in KEYS * 2:
        pressed = time.monotonic()
        run(*tmux, "send-keys", "-t", "top", key)
        while not any(word in screen() for word in shown) and time.monotonic() < pressed + 3:
            pass
        waits.append(1000 * (time.monotonic() - pressed))
    time.sleep(max(0, started + 10 - time.monotonic()))
    passed = time.monotonic() - started
    after = cpu_seconds(viewer), cpu_seconds(observer)
    used = [100 * (end - begin) / passed for begin, end in zip(before, after)]
    print(screen())
    print(f"flows a second    {(seen() - flows) / passed:,.0f}")
    print(f"viewer            {used[0]:.1f} % of a core, {memory_mib(viewer)} MiB")
    print(f"observer          {used[1]:.1f} % of a core, {memory_mib(observer)} MiB")
    print(f"key to screen     {statistics.median(waits):.0f} ms in the middle, {max(waits):.0f} ms at most")


def main():
    if sys.argv[1:2] == ["send"]:
        return send(int(sys.argv[2]))
    if sys.argv[1:2] == ["receive"]:
        return receive(sys.argv[2] == "True")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flows", nargs="?", type=int, default=200_000, metavar="FLOWS-A-SECOND")
    parser.add_argument("--drops", action="store_true", help="half of the flows are drops")
    parser.add_argument("--programs", type=pathlib.Path, default=pathlib.Path("target/release"), metavar="FOLDER")
    args = parser.parse_args()
    programs = args.programs.resolve()
    with tempfile.TemporaryDirectory() as folder:
        server, tmux = f"unix://{folder}/observer.sock", ("tmux", "-S", f"{folder}/tmux", "-f", "/dev/null")
        processes = []

        def start(namespace, *command):
            inside = ("ip", "netns", "exec", namespace, *map(str, command))
            processes.append(subprocess.Popen(inside, stdout=subprocess.DEVNULL))
            return processes[-1].pid

        try:
            namespaces()
            start(RECEIVER, sys.executable, __file__, "receive", not args.drops)
            options = ("--node-name", "load", "--aggregation", "none", "--log", "error", "--listen", server)
            observer = start(SENDER, programs / "parallax-observer", *options)
            time.sleep(3)
            start(SENDER, sys.executable, __file__, "send", args.flows // (2 if args.drops else 1))
            time.sleep(3)
            top = f"exec env XDG_STATE_HOME={folder} '{programs}/parallax' --server {server} top"
            run(*tmux, "new-session", "-d", "-s", "top", "-x", "120", "-y", "40", top)
            time.sleep(5)
            if any(process.poll() is not None for process in processes):
                sys.exit("viewer-load: the observer, the sender or the receiver has ended; are the programs there?")
            measure(tmux, programs, server, observer)
        finally:
            run(*tmux, "kill-server")
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(10)
            for name in (SENDER, RECEIVER):
                run("ip", "netns", "del", name)


if __name__ == "__main__":
    main()
