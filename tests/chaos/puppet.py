"""A supervised child that has no worker in it: says what a child says, does what PUPPET tells it."""

import faulthandler
import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

from headrace.runtime.beat import Beat
from headrace.runtime.process import die_with_parent

die_with_parent()
signal.signal(signal.SIGINT, signal.SIG_IGN)
control = socket.socket(fileno=int(os.environ["HEADRACE_CONTROL_FD"]))
beat = Beat.adopt(int(os.environ["HEADRACE_BEAT_FD"]))
faulthandler.register(signal.SIGURG, file=int(os.environ["HEADRACE_STACK_FD"]), all_threads=True)
role = os.environ["HEADRACE_ROLE"]
heard = Path(os.environ["PUPPET_LOG"])
mode = os.environ.get("PUPPET", "")


def say(**message: object) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def hold_the_interpreter() -> None:
    re.match(r"(a|a)*b", "a" * 25)


code = hold_the_interpreter.__code__
if mode == "stillborn":
    say(op="fatal", message="ImportError: no module named spam")
    sys.exit(1)
say(op="ready", places=[["held", code.co_filename, code.co_firstlineno, code.co_firstlineno + 1]])
if mode == "counts" and role == "worker":
    say(op="counted", counts={"of": "another version"})
    say(op="counted", counts={"totals": {"headrace_attempts": [["t", "succeeded", 3]]}, "spreads": {}})
if mode == "overdue" and role == "worker":
    beat.running, beat.kill_at, beat.what = 1, time.monotonic(), "sleepy"
if mode == "held" and role == "worker":
    beat.running, beat.beat_at = 1, time.monotonic()
    hold_the_interpreter()
    beat.beat_at = 0.0

late = heard.exists()
wakes = 0
for line in control.makefile():
    message = json.loads(line)
    with heard.open("a", encoding="utf-8") as log:
        log.write(f"{role} {json.dumps(message)}\n")
    wakes += message["op"] == "wake"
    if message["op"] == "wake" and not (mode == "busy" and wakes == 1 and not late):
        say(op="idle")
    if message["op"] in ("drain", "lost") and mode != "deaf":
        sys.exit(0)
