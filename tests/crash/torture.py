#!/usr/bin/env python3
"""Kills the program with SIGKILL in every kind of work on the store, at named places and at random moments, over one
data folder: ingest, delete, erase, compact, backup, restore, holds, reembed, and compaction, backup, erasure or reembed
beside an ingest.
After each kill the store must open, `footnote check` find nothing, every document be in a state that was acknowledged
or under way, and what was erased be in no byte of the data folder.
Usage: torture.py FOOTNOTE [KILLS]. Last line: N passed, N failed, N skipped."""
import glob, json, os, random, shutil, signal, subprocess, sys, tempfile, time

footnote = os.path.abspath(sys.argv[1])
wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 200 if os.environ.get("FOOTNOTE_LONG") else 10
seed = int(os.environ.get("FOOTNOTE_SEED", "11"))
random.seed(seed)
WORDS = "harbour ledger copper winter signal garden engine paper quiet river market window bridge candle forest".split()
STORE = ["store.before_copy", "store.copied", "store.before_rename", "store.after_rename", "store.before_sync", "store.rewritten"]
PLACES = {
    "ingest": ["words.flushed", "put.before_commit", "put.after_commit", "ingest.before_commit", "ingest.after_commit", "graph.before_write", "graph.piece", "graph.after_write"],
    "delete": ["words.flushed", "delete.before_commit", "delete.after_commit"],
    "hold": ["note.before_commit", "note.after_commit"],
    "compact": STORE,
    "erase": ["erase.before_commit", "erase.after_commit", "erase.before_verify", "erase.before_receipt", "erase.done"] + STORE,
    "backup": ["backup.copied", "backup.sealed", "backup.renamed"],
    "reembed": ["reembed.begun", "reembed.batch", "reembed.before_turn", "reembed.after_turn"],
    "restore": ["restore.copied", "restore.checked", "restore.renamed", "store.before_rename", "store.after_rename"],
}
PLACES["ingest+compact"] = PLACES["ingest"] + STORE
PLACES["ingest+backup"] = PLACES["ingest"] + PLACES["backup"]
PLACES["ingest+erase"] = PLACES["ingest"] + PLACES["erase"]
PLACES["ingest+reembed"] = PLACES["ingest"] + PLACES["reembed"]
MODELS = ["all-minilm-l6-v2", os.path.realpath(os.path.join(os.path.dirname(__file__), "../golden/embedders/tiny-bge-en"))]
KINDS = ["ingest", "delete", "erase", "compact", "backup", "restore", "hold", "ingest+compact", "ingest+backup", "ingest+erase", "reembed", "ingest+reembed"]


class Wrong(Exception):
    pass


class Store:
    """What the data folder may hold: for each source the versions it may be in (None: not there)."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="footnote-torture-")
        self.data, self.folder, self.conf = f"{self.top}/data", f"{self.top}/folder", f"{self.top}/service.conf"
        os.makedirs(self.folder)
        with open(self.conf, "w") as f:
            f.write("generate.model = none\nindex.exact_below = 24\ningest.commit_docs = 3\nembed.threads = 1\n")
        self.may, self.holds = {}, {}
        self.version = 0
        self.gone = {}          # marker -> version: erased, so in no byte
        self.backups = []       # (path, {source: version}, version counter)
        self.kills = self.acks = 0
        self.took = {}          # kind -> seconds a whole run takes

    def marker(self, v):
        return f"marker{v:06}quicksilver"

    def write(self, n):
        """A new version of a file, unlike every other."""
        self.version += 1
        v, path = self.version, f"{self.folder}/doc{n:03}.md"
        body = [f"# Version {v}", ""] + [" ".join(random.choice(WORDS) for _ in range(30)) + f" {self.marker(v)} weighs {v * 7 + p} grams." for p in range(random.randint(1, 5))]
        with open(path, "w") as f:
            f.write("\n\n".join(body))
        return path, v

    def args(self, *a):
        return [footnote, "-c", self.conf, "--data", self.data, "--json", *a]

    def tool(self, *a):
        return subprocess.run(self.args(*a), capture_output=True, text=True, timeout=600)

    def run_killed(self, kind, commands):
        """Runs the first command, the others beside it, and kills all of them at a place or a moment. Their output."""
        env, place, wait = dict(os.environ), None, None
        if random.random() < 0.6:
            place = random.choice(PLACES[kind])
            env["FOOTNOTE_FAULT"] = f"{place}:{random.randint(1, 4) if 'ingest' in kind else 1}"
        else:
            wait = random.uniform(0.15, 1.0) * min(self.took.get(kind, 1), 3)
        procs, began = [], time.monotonic()
        for c in commands:
            procs.append(subprocess.Popen(self.args(*c), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env))
            if len(procs) < len(commands):
                time.sleep(0.15)
        if wait is not None:
            try:
                procs[0].wait(wait)
            except subprocess.TimeoutExpired:
                pass
            for p in procs:
                if p.poll() is None:
                    p.send_signal(signal.SIGKILL)
        outs = [p.communicate(timeout=300) for p in procs]
        killed = any(p.returncode == -signal.SIGKILL for p in procs)
        self.kills += killed
        if not killed:
            self.took[kind] = time.monotonic() - began
        what = f"{place or 'random'}{'' if killed else ' (not reached)'}"
        rows = [[json.loads(x) for x in o.decode().split("\n")[:-1] if x] for o, _ in outs]
        return rows, [p.returncode for p in procs], [e.decode() for _, e in outs], what

    # ---- one operation each; they widen what may be, and narrow it by what was acknowledged ----

    def plan_ingest(self):
        files = dict(self.write(n) for n in random.sample(range(30), random.randint(4, 12)))
        for path, v in files.items():
            self.may[path] = self.may.get(path, {None}) | {v}
        return ["ingest", *files], files

    def took_ingest(self, rows, files):
        for r in rows:
            if r.get("verdict") in ("added", "updated") and r["source"] in files:
                self.may[r["source"]] = {files[r["source"]]}
                self.acks += 1

    def known(self):
        return [s for s, v in self.may.items() if None not in v]

    def do_ingest(self):
        command, files = self.plan_ingest()
        rows, _, _, what = self.run_killed("ingest", [command])
        self.took_ingest(rows[0], files)
        return what

    def do_delete(self):
        s = random.choice(self.known())
        self.may[s] |= {None}
        rows, _, _, what = self.run_killed("delete", [["delete", "--source", s]])
        if rows[0]:
            self.may[s] = {None}
            self.acks += 1
        return what

    def took_erase(self, s, rows, codes, errs):
        if rows:
            if rows[0]["verified"] is not True:
                raise Wrong(f"a receipt that is not verified: {rows[0]}")
            self.may[s] = {None}
            self.acks += 1
        elif codes == 4:
            raise Wrong(f"erase found bytes: {errs}")

    def do_erase(self):
        s = random.choice(self.known())
        self.erasing = [s]
        self.may[s] |= {None}
        rows, codes, errs, what = self.run_killed("erase", [["erase", "--source", s]])
        self.took_erase(s, rows[0], codes[0], errs[0])
        return what

    def do_compact(self):
        return self.run_killed("compact", [["compact"]])[3]

    def reembed(self):
        """To the model that does not serve."""
        serves = json.loads(self.tool("stats").stdout)["model"]
        return ["reembed", "--model", MODELS[serves == MODELS[0]]]

    def do_reembed(self):
        rows, codes, errs, what = self.run_killed("reembed", [self.reembed()])
        if codes[0] > 0:
            raise Wrong(f"reembed exits {codes[0]}: {errs[0]}")
        return what

    def do_hold(self):
        s = random.choice(self.known())
        self.holds[s] = {True, False}
        rows, _, _, what = self.run_killed("hold", [["hold", "add", "--source", s, "--reason", "case"]])
        if rows[0]:
            self.holds[s] = {True}
            self.acks += 1
        return what

    def backup_new(self, now):
        return f"{self.top}/backup{len(self.backups)}-{self.version}", now, self.version

    def do_backup(self):
        path, now, v = self.backup_new({s: next(iter(x)) for s, x in self.may.items() if x != {None}})
        rows, _, _, what = self.run_killed("backup", [["backup", path]])
        if bool(rows[0]) and not os.path.exists(path):
            raise Wrong("an acknowledged backup is not there")
        if os.path.exists(path):        # its name is its acknowledgement
            self.backups.append((path, now, v))
            other = f"{self.top}/other"
            shutil.rmtree(other, ignore_errors=True)
            r = subprocess.run([footnote, "-c", self.conf, "--data", other, "restore", path], capture_output=True, text=True, timeout=300)
            if r.returncode:
                raise Wrong(f"a backup does not restore: {r.stderr}")
            if self.listed(other) != now:
                raise Wrong("a backup holds other documents than the store did")
        return what

    def do_restore(self):
        path, then, v = random.choice(self.backups)
        now = {s: next(iter(x)) for s, x in self.may.items() if x != {None}}
        rows, _, _, what = self.run_killed("restore", [["restore", path, "--force"]])
        have = self.listed(self.data)
        if have != then and (rows[0] or have != now):
            raise Wrong("a restore left neither the old documents nor the backup's")
        if have == then:
            self.may = {s: {x} for s, x in then.items()}
            self.gone = {m: x for m, x in self.gone.items() if x > v}   # older ones may have come back with it
        return what

    def beside(self, kind):
        command, files = self.plan_ingest()
        other = kind.split("+")[1]
        if other == "erase":
            choice = [s for s in self.known() if s not in files]
            s = random.choice(choice) if choice else None
            if not s:
                return self.do_ingest()
            self.erasing = [s]
            self.may[s] |= {None}
            rows, codes, errs, what = self.run_killed(kind, [command, ["erase", "--source", s]])
            self.took_erase(s, rows[1], codes[1], errs[1])
        else:
            second = {"compact": ["compact"], "backup": ["backup", f"{self.top}/beside{self.version}"]}.get(other) or self.reembed()
            rows, _, _, what = self.run_killed(kind, [command, second])
        self.took_ingest(rows[0], files)
        for p in glob.glob(self.top + "/beside*"):
            os.unlink(p)
        return what

    # ---- looking ----

    def listed(self, data):
        r = subprocess.run([footnote, "-c", self.conf, "--data", data, "--json", "docs", "list"], capture_output=True, text=True, timeout=300)
        if r.returncode:
            raise Wrong(f"docs list exits {r.returncode}: {r.stderr}")
        return {d["source"]: int(d["title"].split()[-1]) for d in map(json.loads, r.stdout.splitlines())}

    def verify(self):
        check = self.tool("check")
        if check.returncode:
            raise Wrong(f"check exits {check.returncode}: {check.stdout[-600:]}{check.stderr[-600:]}")
        have = self.listed(self.data)
        for s, allowed in self.may.items():
            if have.get(s) not in allowed:
                raise Wrong(f"{os.path.basename(s)} is in version {have.get(s)}, acknowledged or under way: {allowed}")
        if set(have) - set(self.may):
            raise Wrong(f"documents nobody stored: {set(have) - set(self.may)}")
        for s in self.erasing:
            if s not in have:           # then no version of it, ever, is left
                for v in self.versions.get(s, ()):
                    self.gone[self.marker(v)] = v
        self.erasing = []
        self.may = {s: {have.get(s)} for s in self.may}
        if self.holds:
            held = {h["source"] for h in map(json.loads, self.tool("hold", "list").stdout.splitlines())}
            for s, allowed in self.holds.items():
                if (s in held) not in allowed:
                    raise Wrong(f"hold of {os.path.basename(s)}: {s in held}, not {allowed}")
                if s in held and self.tool("hold", "remove", "--source", s).returncode:
                    raise Wrong("a hold can't be removed")
            self.holds = {}
        raw = b"".join(open(p, "rb").read() for p in glob.glob(self.data + "/**", recursive=True) if os.path.isfile(p))
        for m in self.gone:
            if m.encode() in raw:
                raise Wrong(f"{m} was erased and is in the data folder")
        if os.path.exists(self.data + "/data.new"):
            raise Wrong("data.new stays")

    def round(self, kind):
        self.erasing = []
        if kind in ("delete", "erase", "hold") and not self.known() or kind == "restore" and not self.backups:
            kind = "ingest"
        what = self.beside(kind) if "+" in kind else getattr(self, "do_" + kind)()
        for s, vs in self.may.items():
            self.versions.setdefault(s, set()).update(v for v in vs if v)
        self.verify()
        return kind, what

    versions = {}


store = Store()
passed = failed = 0
try:
    command, files = store.plan_ingest()
    store.took_ingest(map(json.loads, store.tool(*command).stdout.splitlines()), files)
    kinds = []
    while store.kills < wanted and not failed and passed < 3 * wanted + 10:
        if not kinds:
            kinds = random.sample(KINDS, len(KINDS))
        kind, began = kinds.pop(), time.monotonic()
        try:
            kind, what = store.round(kind)
            passed += 1
            if os.environ.get("FOOTNOTE_TALK"):
                print(f"round {passed}: {kind} at {what}, {time.monotonic() - began:.1f} s", flush=True)
        except Wrong as e:
            failed += 1                 # what follows would only repeat it
            print(f"FAIL round {passed + 1} ({kind}, seed {seed}): {e}")
    if not failed and store.kills < wanted:
        failed += 1
        print(f"FAIL only {store.kills} kills in {passed} rounds: too quick to prove anything")
    print(f"{store.kills} kills in {passed + failed} rounds, {store.acks} acknowledged changes, {len(store.gone)} erased texts looked for")
finally:
    shutil.rmtree(store.top, ignore_errors=True)
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
