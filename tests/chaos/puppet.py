"""A supervised child that has no worker in it: says what a child says, does what PUPPET tells it."""

import faulthandler
import json
import os
import re
import signal
import socket
import sys
import time

from headrace.runtime.beat import Beat
from headrace.runtime.process import die_with_parent

die_with_parent()
signal.signal(signal.SIGINT, signal.SIG_IGN)
control = socket.socket(fileno=int(os.environ["HEADRACE_CONTROL_FD"]))
beat = Beat.adopt(int(os.environ["HEADRACE_BEAT_FD"]))
faulthandler.register(signal.SIGURG, file=int(os.environ["HEADRACE_STACK_FD"]), all_threads=True)
role = os.environ["HEADRACE_ROLE"]
mode = os.environ.get("PUPPET", "")


def say(**message):
    control.sendall(json.dumps(message).encode() + b"\n")


def hold_the_interpreter():
    re.match(r"(a|a)*b", "a" * 25)


code = hold_the_interpreter.__code__
say(
    op="ready", places=[["held", code.co_filename, code.co_firstlineno, code.co_firstlineno + 1]]
) if mode != "stillborn" else None
if mode == "stillborn":
    say(op="fatal", message="ImportError: no module named spam")
    sys.exit(1)
if mode == "overdue" and role == "worker":
    beat.running, beat.kill_at, beat.what = 1, time.monotonic(), "sleepy"
if mode == "held" and role == "worker":
    beat.running, beat.beat_at = 1, time.monotonic()
    hold_the_interpreter()
    beat.beat_at = 0.0

late = os.path.exists(os.environ["PUPPET_LOG"])
wakes = 0
for line in control.makefile():
    message = json.loads(line)
    with open(os.environ["PUPPET_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{role} {json.dumps(message)}\n")
    wakes += message["op"] == "wake"
    if message["op"] == "wake" and not (mode == "busy" and wakes == 1 and not late):
        say(op="idle")
    if message["op"] in ("drain", "lost") and mode != "deaf":
        sys.exit(0)
