#!/usr/bin/env python3
"""Kills `footnote ingest` with SIGKILL in mid-work, again and again, over one data folder. After each kill `footnote
check` must find nothing wrong and every file that was acknowledged (a verdict line on stdout) must be there with its
text. Usage: ingest_kill.py FOOTNOTE [RUNS]. Last line: N passed, N failed, N skipped."""
import json, os, random, shutil, signal, subprocess, sys, tempfile, time

footnote, runs = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20
random.seed(7)
WORDS = "harbour ledger copper winter signal garden engine paper quiet river market window bridge candle forest".split()


def write_files(folder, first, n):
    for i in range(first, first + n):
        body = [f"Record {i}", ""]
        for p in range(6):
            body += [" ".join(random.choice(WORDS) for _ in range(60)) + f". Item {i}-{p} weighs {i * 7 + p} grams.", ""]
        with open(f"{folder}/doc{i:05}.txt", "w") as f:
            f.write("\n".join(body))


def tool(*args):
    return subprocess.run([footnote, "--data", data, *args], capture_output=True, text=True, timeout=900)


def acknowledged(out):
    """Whole lines only: a line cut by the kill was not told."""
    rows = [json.loads(line) for line in out.decode().split("\n")[:-1]]
    return {r["source"]: r for r in rows if "verdict" in r}


def orphans(pid):
    """Parsers of the killed process that live on; they get a while to be told."""
    for _ in range(100):
        left = []
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{p}/cmdline", "rb") as f:
                    argv = f.read().split(b"\0")
            except OSError:
                continue
            if len(argv) > 2 and argv[1] in (b"--parser", b"--tool") and argv[2] == str(pid).encode():
                left.append(p)
        if not left:
            break
        time.sleep(0.1)
    return [f"{len(left)} parsers outlive the process that was killed"] if left else []


def problems(acks):
    """What is wrong after a kill; empty when all is well."""
    check = tool("check")
    if check.returncode != 0:
        return [f"check exits {check.returncode}: {check.stdout[-500:]}{check.stderr[-500:]}"]
    listed = tool("docs", "list", "--json")
    have = {d["source"]: d for d in map(json.loads, listed.stdout.splitlines())}
    missing = [s for s, r in acks.items() if r["verdict"] in ("added", "updated", "unchanged") and s not in have]
    short = [s for s, r in acks.items() if s in have and r["verdict"] in ("added", "updated") and have[s]["chars"] != r["chars"]]
    wrong = []
    if missing:
        wrong.append(f"{len(missing)} acknowledged documents are gone, first {missing[0]}")
    if short:
        wrong.append(f"{len(short)} documents have other text than acknowledged, first {short[0]}")
    return wrong


top = tempfile.mkdtemp(prefix="footnote-kill-")
data, folder = f"{top}/data", f"{top}/folder"
os.makedirs(folder)
passed = failed = killed = 0
acks = {}
try:
    write_files(folder, 0, 120)
    started = time.monotonic()
    subprocess.run([footnote, "--data", f"{top}/other", "ingest", "-q", folder], stdout=subprocess.DEVNULL, timeout=900, check=True)
    whole = time.monotonic() - started  # what such a run takes on this machine: kills fall before its end
    for run in range(runs):
        write_files(folder, run * 60, 120)  # half new, half changed
        p = subprocess.Popen([footnote, "--data", data, "ingest", "--json", folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            out, _ = p.communicate(timeout=random.uniform(0.1, 0.9) * min(whole, 4))
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            out, _ = p.communicate()
            killed += 1
        acks.update(acknowledged(out))
        wrong = problems(acks) + orphans(p.pid)
        passed, failed = passed + (not wrong), failed + bool(wrong)
        for line in wrong:
            print(f"FAIL run {run}: {line}")
    if killed < runs // 2:
        failed += 1
        print(f"FAIL only {killed} of {runs} runs were killed in mid-work: too quick to prove anything")
    final = tool("ingest", "--json", folder)
    rows = acknowledged(final.stdout.encode())
    if final.returncode != 0 or len(rows) != len(os.listdir(folder)):
        failed += 1
        print(f"FAIL the last, whole ingest exits {final.returncode} with {len(rows)} verdicts")
    else:
        passed += 1
    print(f"killed {killed} of {runs} runs, {len(acks)} documents acknowledged")
finally:
    shutil.rmtree(top)
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
