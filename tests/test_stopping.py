"""Signals that end a run."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from unroll.errors import Stopped
from unroll.stopping import StopRequest


def test_an_echo_of_a_signal_is_no_second_one(monkeypatch):
    request, now = StopRequest(), 100.0
    monkeypatch.setattr("unroll.stopping.time.monotonic", lambda: now)
    request._keep(signal.SIGTERM, None)
    request._keep(signal.SIGTERM, None)
    now = 101.5
    with pytest.raises(Stopped):
        request._keep(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        request._keep(signal.SIGINT, None)


PROGRAM = """
import signal, sys, time
from unroll.stopping import StopRequest
request = StopRequest()
request.listen()
print("listening", flush=True)
while request.number is None:
    time.sleep(0.01)
print("to a terminal that is gone", flush=True)
open(sys.argv[1], "w").write(signal.Signals(request.number).name)
"""


def test_a_run_outlives_its_terminal_for_as_long_as_it_takes_to_save(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "saved")]
    hears = {"start_new_session": True, "preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, **hears)  # also where nohup runs us
    os.close(theirs)
    while b"\n" not in os.read(ours, 1000):  # the whole line: a terminal's goes through in pieces
        pass
    os.close(ours)
    process.send_signal(signal.SIGHUP)  # as a system does to the session whose terminal it was
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "saved").read_text() == "SIGHUP"


def test_what_nohup_started_does_not_hear_of_a_terminal(monkeypatch):
    heard = []
    monkeypatch.setattr("unroll.stopping.signal.signal", lambda number, handler: heard.append(number))
    for ignored, told in ((True, False), (False, True)):
        handler = signal.SIG_IGN if ignored else signal.SIG_DFL
        monkeypatch.setattr("unroll.stopping.signal.getsignal", lambda number, handler=handler: handler)
        heard.clear()
        StopRequest().listen()
        assert (signal.SIGHUP in heard) is told
        assert signal.SIGTERM in heard
