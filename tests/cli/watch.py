#!/usr/bin/env python3
"""`footnote ingest --watch`, alone and through a running service. Usage: watch.py FOOTNOTE. Last line: N passed, N failed,
N skipped."""
import json, os, queue, shutil, signal, subprocess, sys, tempfile, threading, time

footnote = os.path.abspath(sys.argv[1])
PATIENCE = 300
passed = failed = 0
top = tempfile.mkdtemp(prefix="footnote-watch-")


def check(what, good, why=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"FAIL {what}: {why}")


signal.signal(signal.SIGINT, signal.default_int_handler)        # in a job in the background it is ignored, and children would too


class Watch:
    """One command and what it prints."""

    def __init__(self, data, *args):
        self.p = subprocess.Popen([footnote, "-c", conf, "--data", data, "--json", "ingest", "--watch", *args], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def round(self):
        """Events up to the next summary, by name of the file; None at the end."""
        events = {}
        while True:
            row = self.lines.get(timeout=PATIENCE)
            if row is None:
                return None
            if "summary" in row:
                return events
            events[os.path.basename(row["source"])] = row["verdict"]

    def until(self, name):
        events = self.round()
        while events is not None and name not in events:
            events = self.round()
        return events or {}


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def follow(w, folder, tag):
    check(f"{tag}: first sync", w.round() == {"a.txt": "added"})
    write(f"{folder}/b.txt", "The bridge opens at nine.")
    check(f"{tag}: a new file", w.until("b.txt").get("b.txt") == "added")
    write(f"{folder}/.a.swp", "The harbour closes at eight.")
    os.rename(f"{folder}/.a.swp", f"{folder}/a.txt")
    check(f"{tag}: a file saved by renaming", w.until("a.txt").get("a.txt") == "updated")
    os.makedirs(f"{folder}/new/deep")
    write(f"{folder}/new/deep/c.txt", "A lamp in the tower.")
    check(f"{tag}: a file in a new folder", w.until("c.txt").get("c.txt") == "added")
    os.remove(f"{folder}/b.txt")
    check(f"{tag}: a file that is gone", w.until("b.txt").get("b.txt") == "removed")


try:
    conf = f"{top}/service.conf"
    write(conf, "ingest.watch_settle_ms = 100\nserve.listen = 127.0.0.1:0\n")
    if subprocess.run([footnote, "-c", conf, "--data", f"{top}/none", "ingest", conf], capture_output=True).returncode == 3:
        print("skip: the embedder is not there\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    for tag in ("alone", "with serve"):
        folder, data = f"{top}/{tag}", f"{top}/{tag}/data"      # the data folder lies in what is watched
        os.makedirs(folder)
        write(f"{folder}/a.txt", "The harbour opens at seven.")
        serve = None
        if tag != "alone":
            serve = subprocess.Popen([footnote, "-c", conf, "--data", data, "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until = time.monotonic() + PATIENCE
            while not os.path.exists(f"{data}/footnote.sock") and time.monotonic() < until:
                time.sleep(0.05)
        w = Watch(data, "--prune", folder)
        try:
            follow(w, folder, tag)
            w.p.send_signal(signal.SIGINT)
            code = w.p.wait(timeout=PATIENCE)
            check(f"{tag}: Ctrl-C ends it", code == (0 if serve is None else -signal.SIGINT), f"exit {code}")
            if serve:
                serve.send_signal(signal.SIGTERM)               # the command that was left does not hold it up
                check(f"{tag}: serve stops", serve.wait(timeout=PATIENCE) == 0, f"exit {serve.returncode}")
        finally:
            for p in (w.p, serve):
                if p and p.poll() is None:
                    p.kill()
    both = subprocess.run([footnote, "-c", conf, "--data", f"{top}/none", "ingest", "--watch", "--dry-run", top], capture_output=True, text=True)
    check("--watch with --dry-run is refused", both.returncode == 2 and "--dry-run" in both.stderr, both.stderr)
finally:
    shutil.rmtree(top)
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
