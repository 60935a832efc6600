"""Runs parsec-nas, and keeps what each command printed, with what it cost, in a file of its own.

A file is written whole or not at all, and says which command made it. The same command finds its
file; another one is refused. Seconds are those of the child alone (its user and system time), so
they mean the same with several jobs at a time; the time on the wall is written beside them.
"""

import concurrent.futures
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

DIVERGED = 7  # an exit code of parsec-nas that the same command always has


class Stopped(Exception):
    """The user wants to stop."""


class Refused(Exception):
    """What is wanted does not fit together; one sentence."""


class Failed(Exception):
    """A command ended as it should not; one sentence."""


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write(path, text):
    """Writes a file whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".tmp", path)


class Runner:
    """Commands of one binary for one directory of results. No binary: what is there is read."""

    def __init__(self, out, binary, threads, jobs):
        self.out, self.binary, self.threads, self.jobs = out, binary, threads, jobs
        self.lock, self.paths, self.children, self.stopping = threading.Lock(), {}, set(), False
        self.build = self.version = None
        if not binary:
            return
        try:
            with open(binary, "rb") as file:
                self.build = hashlib.sha256(file.read()).hexdigest()[:12]
            self.version = subprocess.run([binary, "--version"], capture_output=True, text=True,
                                          check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            raise Refused(f"--binary {binary}: {error}") from error

    def result(self, path, command, finish=None, passes=0.0, scoring=0.0, shares=True, folder=None):
        """The record in the file OUT/path. If there is none, runs the command first; `finish` may
        change the record before it is written. `passes` and `scoring` are what the command costs.
        `shares`: the command takes --threads and --quiet. `folder`: what it continues."""
        full = os.path.join(self.out, path)
        with self.lock:
            mine = self.paths.setdefault(path, threading.Lock())
        with mine:
            shown = [os.path.relpath(word, self.out) if word.startswith(self.out + os.sep) else word
                     for word in command]
            if os.path.exists(full):
                record = load(full)
                self.check(full, record, shown)
                return record
            more = ["--threads", str(self.threads), "--quiet"] if shares else []
            record = self.run(full, [self.binary, *command, *more], folder)
            record.update(command=shown, passes=passes, scoring=scoring)
            if finish and not record["exit"]:
                finish(record)
            write(full, json.dumps(record, indent=1) + "\n")
            os.unlink(full + ".spent")
            return record

    def check(self, full, record, shown):
        """Refuses a result that another command or version made."""
        if record["command"] != shown:
            one, other = ([w for w in a if w not in b] for a, b in
                          ((record["command"], shown), (shown, record["command"])))
            raise Refused(f"{full} was made with other settings ({' '.join(one) or 'fewer words'}; "
                          f"now {' '.join(other) or 'fewer words'}): want another OUT, or remove "
                          f"the file")
        if self.version and record["version"] != self.version:
            raise Refused(f"{full} was made by {record['version']}, this is {self.version}: want "
                          f"another OUT")

    def run(self, full, command, folder):
        """Runs it once. What it spent is in FULL.spent until the result is written, so that a
        search that is stopped and continued counts all of its seconds."""
        if os.path.exists(full + ".spent"):
            spent = load(full + ".spent")
        else:
            spent = {"wall": 0.0, "cpu": 0.0, "whole": not (folder and os.path.exists(folder))}
        if spent.pop("open", False):
            spent["whole"] = False  # killed before it could say what it had spent
        write(full + ".spent", json.dumps({**spent, "open": True}))
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            load_before, begin = os.getloadavg()[0], time.monotonic()
            child = self.start(command, stdout, stderr)
            usage = self.wait(child)
            spent["wall"] += time.monotonic() - begin
            spent["cpu"] += usage.ru_utime + usage.ru_stime
            write(full + ".spent", json.dumps(spent))
            if self.stopping:
                raise Stopped
            stdout.seek(0)
            stderr.seek(0)
            text, message = (f.read().decode(errors="replace") for f in (stdout, stderr))
        if child.returncode not in (0, DIVERGED):
            said = message.strip().split("\n")[-1]
            raise Failed(f"{' '.join(command)} ended with {child.returncode}: {said}")
        record = {"version": self.version, "build": self.build, "exit": child.returncode,
                  "wall_seconds": round(spent["wall"], 3), "cpu_seconds": round(spent["cpu"], 3),
                  "whole": spent["whole"], "jobs": self.jobs, "threads": self.threads,
                  "load": load_before}
        if child.returncode:
            return {**record, "message": message.strip()}
        return {**record, "output": json.loads(text) if text[:1] in "[{" else text.strip()}

    def start(self, command, stdout, stderr):
        """In a session of its own, so that Ctrl-C reaches it through stop() alone."""
        with self.lock:
            if self.stopping:
                raise Stopped
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout,
                                     stderr=stderr, start_new_session=True)
            self.children.add(child)
        return child

    def wait(self, child):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with self.lock:  # so that stop() signals no process that took the number over
            self.children.discard(child)
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return usage

    def stop(self, how=signal.SIGTERM):
        """Ends all children: a search saves what it has."""
        with self.lock:
            self.stopping = True
            for child in self.children:
                os.kill(child.pid, how)


def work(runner, tasks):
    """Does tasks (name, function), runner.jobs at a time; gives the sentences of those that failed.
    KeyboardInterrupt when all children have ended."""
    begin, failures = time.monotonic(), []
    pool = concurrent.futures.ThreadPoolExecutor(runner.jobs)
    names = {pool.submit(function): name for name, function in tasks}
    try:
        for done, future in enumerate(concurrent.futures.as_completed(names), 1):
            error = future.exception()
            if isinstance(error, Refused):
                raise error
            if error and not isinstance(error, Failed):
                raise error
            if error:
                failures.append(f"{names[future]}: {error}")
            print(f"{done}/{len(names)}  {time.monotonic() - begin:6.0f} s  {names[future]}"
                  f"{': failed' if error else ''}", file=sys.stderr, flush=True)
    except BaseException:
        runner.stop()
        try:
            pool.shutdown(cancel_futures=True)
        except KeyboardInterrupt:
            runner.stop(signal.SIGKILL)
            pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
    return failures
