#!/usr/bin/env python3
"""The steps of `make gpu-check`, once all is built (tools/gpu_check.sh): in the order of their worth, within the time there is, going on where an
earlier call ended. Usage: gpu_steps.py --build FOLDER --seconds N [--only PART,PART] [--python PROGRAM] [--pack FOLDER] [--nvcc VERSION]
[--fault TEXT] [--lack TEXT] …

A step is one test of a program of tests/gpu/, one work of a peer, or one test under a tool of compute-sanitizer. RULES says which there are, what
comes first, how long one may take, and how many may run side by side (never what is timed). A step that does not fit into the rest of the time is
not begun, one that is under way when it ends is killed; both are `cut off`, which is neither passed nor failed. What a step gave is kept in
FOLDER/gpu/done.jsonl under a number made from the sources of its program and the device: a later call takes it from there and does what
is missing. A step that was skipped at once is asked again; one that fails is done, until its sources have changed or that file is gone.

Writes FOLDER/GPU.md (the report, gpu_report.py), FOLDER/gpu/gpu.jsonl (its figures), gpu.json and log; copies of the four and done.jsonl to $OUT. The last line
is "N passed, N failed, N skipped, N cut off". Exit code: 0; 1 where something failed or nothing passed; 3: no GPU; 4: nothing failed, and the same
command does the rest."""
import argparse, concurrent.futures, glob, hashlib, itertools, json, os, re, shutil, signal, subprocess, sys, tempfile, threading, time

import gpu_report

PASSED, FAILED, SKIPPED, CUT = "passed", "failed", "skipped", "cut off"
RESERVE = 8                        # seconds for the report
MODELS_BYTES = 42 << 30            # random models of all sizes, as files;
LARGEST_BYTES = 18 << 30           # the largest of them
QUICK = 5                          # seconds; who was skipped within them is asked again: what it lacked may be there now
SIDE_BY_SIDE = 8                   # checks at once: most of their time is the host's
PARTS = ("kernels", "models", "time", "peers", "sanitize")


class Rule:
    """part; program (of FOLDER/gpu) and which of its tests ("file name" matches), or a peer's works, or a tool; what a step of it needs at the least,
    and may take at most, in seconds; how many run side by side"""
    def __init__(self, part, title, needs, most, jobs=1, program=None, tests=None, peer=None, tool=None):
        self.part, self.title, self.needs, self.most, self.jobs = part, title, needs, most, jobs
        self.program, self.tests, self.peer, self.tool = program, tests and re.compile(tests), peer, tool


# In the order of their worth. A test belongs to the first rule that matches it; under a tool it comes again.
RULES = [
    Rule("time peers", "ceilings", 5, 90, peer=["ceilings"]),
    Rule("kernels", "kernels", 2, 150, SIDE_BY_SIDE, "run-kernels", r"^tests/nn/| device_"),
    Rule("models", "models: real weights", 5, 90, 1, "run-models", r" packed_"),
    Rule("models", "models: 1.5b", 10, 90, 1, "run-models", r" model_15b_q4_k(_in_order)?$"),
    Rule("time", "times: models asked for", 12, 120, 1, "run-models", r" time_(15b_bf16|15b_q4_k|8b_q8_0)$"),
    Rule("time", "times: ready", 8, 90, 1, "run-generate", r"/time_ready\.c "),
    Rule("time", "times: encoder", 5, 60, 1, "run-embed", r"/time_encoder\.c "),
    Rule("time", "times: scan", 4, 60, 1, "run-kernels", r" time_scan$"),
    Rule("peers", "torch: decode 1.5b", 25, 150, peer=["torch", "--only", "decode", "--models", "1.5b"]),
    Rule("peers", "torch: prompt, encoder, scan", 25, 120, peer=["torch", "--only", "prompt,encoder,scan", "--models", "1.5b"]),
    Rule("models", "generator", 2, 150, SIDE_BY_SIDE, "run-generate", r"^tests/generate/"),
    Rule("models", "embedder", 2, 120, SIDE_BY_SIDE, "run-embed", r"^tests/embed/"),
    Rule("models", "models: random weights", 10, 150, 1, "run-models", r" model_"),
    Rule("time", "times: kernels", 5, 90, 1, "run-kernels", r" time_"),
    Rule("sanitize", "sanitize memcheck", 5, 120, SIDE_BY_SIDE, "run-kernels", r"^tests/nn/(?!.*_fills_)", tool="memcheck"),
    Rule("time", "times: models", 15, 150, 1, "run-models", r" time_"),
    Rule("peers", "torch: decode 8b", 25, 150, peer=["torch", "--only", "decode", "--models", "8b"]),
    Rule("peers", "llama.cpp", 30, 150, peer=["llama"]),
    Rule("peers", "vllm", 60, 240, peer=["vllm"]),
    Rule("sanitize", "sanitize synccheck", 5, 120, SIDE_BY_SIDE, "run-kernels", r"^tests/nn/(?!.*_fills_)", tool="synccheck"),
    Rule("sanitize", "sanitize racecheck", 5, 120, SIDE_BY_SIDE, "run-kernels", r"^tests/nn/(?!.*_fills_)", tool="racecheck"),
]


class Step:
    """argv; judge(rc, output, late) -> (result, why); figures: "out", lines of JSON in its output, or "file", what it leaves in GPU_FIGURES"""
    def __init__(self, rule, name, argv, key, judge, figures="file"):
        self.rule, self.name, self.argv, self.key, self.judge, self.figures = rule, name, argv, key, judge, figures


def lines_of(text):
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
    return found


# --- what a step's end means; late: it took all the time that it may ---
def judge_test(rc, output, late):
    if late:
        return FAILED, f"not over after {late} s"
    line = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", output, re.M)
    why = next((x.strip() for x in output.splitlines() if re.match(r"  \S+:\d+: |  killed by", x)), f"exit code {rc}")
    if not line or line[-1] == ("0", "0", "0"):
        return FAILED, why if not line else "there is no such test"
    passed, failed, skipped = map(int, line[-1])
    if failed or rc:
        return FAILED, why
    return (PASSED, "") if passed else (SKIPPED, next((x.strip() for x in output.splitlines() if x.startswith("  skipped: ")), "skipped"))


def judge_ceilings(rc, output, late):
    if late or rc:
        return FAILED, f"not over after {late} s" if late else (output.strip().splitlines() or [f"exit code {rc}"])[-1]
    return PASSED, ""


def judge_peer(rc, output, late):
    """Who is not there, or fails, is skipped: no fault of ours."""
    found = lines_of(output)
    if late:
        return SKIPPED, f"not over after {late} s"
    missing = [f["why"] for f in found if f.get("work") == "missing"]
    if rc or missing and not any("tokens_per_s" in f or "queries_per_s" in f for f in found):
        return SKIPPED, missing[0] if missing else (output.strip().splitlines() or [f"exit code {rc}"])[-1][:200]
    return PASSED, ""


def judge_tool(rc, output, late):
    bad = re.search(r"SUMMARY: (?!0 (?:errors|hazards))\d+ .*", output)
    if bad:
        told = [x for x in output.splitlines() if x.startswith("=========") and "SUMMARY: 0" not in x and "COMPUTE-SANITIZER" not in x]
        return FAILED, bad.group(0) + "\n" + "\n".join(told[:30])
    if late:
        return SKIPPED, f"not over after {late} s under the tool"
    if not re.search(r"SUMMARY: 0 (?:errors|hazards)", output):
        return SKIPPED, next((x for x in output.splitlines() if x.startswith("=========") and "COMPUTE-SANITIZER" not in x), f"the tool told nothing (exit code {rc})")
    if rc == 77:
        return SKIPPED, next((x.strip() for x in output.splitlines() if x.startswith("  skipped: ")), "skipped")
    result, why = judge_test(rc, output, 0)
    return (result, why) if result != FAILED else (FAILED, "under the tool: " + why)


# --- which steps there are ---
def made_of(path, parts=None):
    """A number made from the sources of a program: what its objects' .d files name (the Makefile writes the objects down beside it). The program's
    own bytes differ from build to build."""
    parts = set() if parts is None else parts
    with open(path + ".from", encoding="utf-8") as f:
        for name in f.read().split():
            if name.endswith(".a"):
                made_of(name, parts)
            elif os.path.exists(name[:-2] + ".d"):
                with open(name[:-2] + ".d", encoding="utf-8") as d:
                    parts.update(w for w in d.read().replace("\\\n", " ").replace(":", " ").split() if not os.path.isabs(w))
            elif not name.endswith(".o"):
                parts.add(name)
            elif os.path.exists(name[:-2] + ".s"):
                parts.add(name[:-2] + ".s")
    h = hashlib.sha256()
    for name in sorted(parts):
        if not name.endswith(".o") and os.path.isfile(name):
            with open(name, "rb") as f:
                h.update(name.encode() + b"\0" + hashlib.sha256(f.read()).digest())
    return h.hexdigest()


def number(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:24]


def file_number(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def sanitizer():
    return shutil.which("compute-sanitizer") or next(iter(sorted(glob.glob("/usr/local/cuda*/bin/compute-sanitizer"))), None)


def peer_step(rule, o, device, models):
    here = os.path.dirname(os.path.abspath(__file__))
    what = rule.peer[0]
    if what == "ceilings":
        program = os.path.join(o.build, "gpu", "ceilings")
        return Step(rule, "ceilings", [program], number(made_of(program), device), judge_ceilings, "out")
    script = os.path.join(here, "peer_torch.py" if what == "torch" else "peer_serving.py")
    argv = [o.python, script] + (rule.peer[1:] if what == "torch" else [what, models])
    return Step(rule, rule.title, argv, number(file_number(script), shutil.which(o.python), device, *rule.peer), judge_peer, "out")


def steps_of(o, device, models):
    """In order; and what cannot be begun: (rule, result, why)."""
    steps, out, lists, taken, keys, tool = [], [], {}, set(), {}, sanitizer()
    for rule in RULES:
        if not set(rule.part.split()) & set(o.only.split(",")):
            continue
        if rule.peer:
            steps.append(peer_step(rule, o, device, models))
            continue
        program = os.path.join(o.build, "gpu", rule.program)
        if not os.access(program, os.X_OK):
            out.append((rule, SKIPPED if o.lack else FAILED, f"{rule.program} was not built{': ' + '; '.join(o.lack) if o.lack else ''}"))
            continue
        if rule.tool and not tool:
            out.append((rule, SKIPPED, "there is no compute-sanitizer"))
            continue
        if program not in lists:
            lists[program] = subprocess.run([program, "--list"], capture_output=True, text=True, timeout=60).stdout.splitlines()
            keys[program] = made_of(program)
        for test in lists[program]:
            if not rule.tests.search(test) or (not rule.tool and (program, test) in taken):
                continue
            name = test.split()[1]
            run = [program, "=" + name]
            if rule.tool:
                more = ["--report-api-errors", "no"] if rule.tool == "memcheck" else []      # a test that asks for too much memory is no error
                steps.append(Step(rule, f"{rule.tool} {name}", [tool, "--tool", rule.tool, *more, program, "--inside", run[1]], number(keys[program], device, rule.tool, name), judge_tool))
            else:
                taken.add((program, test))
                steps.append(Step(rule, name, run, number(keys[program], device, name), judge_test))
    return steps, out


# --- doing them ---
class Kept:
    """What earlier calls did: a line of JSON a step, the last one counts."""
    def __init__(self, path):
        self.path, self.by, self.lock = path, {}, threading.Lock()
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                for r in lines_of(f.read()):
                    self.by[r["step"], r["key"]] = r

    def get(self, step):
        return self.by.get((step.name, step.key))

    def put(self, record):
        with self.lock, open(self.path, "a", encoding="utf-8") as f:
            f.write(json.dumps(record) + "\n")


def end_group(p):
    for s in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(p.pid, s)
            p.wait(3)
            return
        except (ProcessLookupError, PermissionError):
            break
        except subprocess.TimeoutExpired:
            continue
    p.wait()


def do(step, limit, env):
    """(result, why, figures, seconds, output) of a step that has `limit` seconds."""
    began = time.monotonic()
    late = False
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as told:
        own = os.path.join(folder, "figures")
        try:
            p = subprocess.Popen(step.argv, stdout=told, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=dict(env, GPU_FIGURES=own), start_new_session=True)
        except OSError as e:
            return FAILED if step.judge is not judge_peer else SKIPPED, str(e), [], 0.0, ""
        try:
            p.wait(limit)
        except subprocess.TimeoutExpired:
            late = True
            end_group(p)
        told.seek(0)
        output = told.read().decode("utf-8", "replace")
        figures = []
        if step.figures == "out":
            figures = [f for f in lines_of(output) if f.get("work") != "device"]
        elif os.path.exists(own):
            with open(own, encoding="utf-8") as f:
                figures = lines_of(f.read())
    took = time.monotonic() - began
    if late and limit < step.rule.most:
        return CUT, f"after {took:.0f} s", figures, took, output
    result, why = step.judge(p.returncode, output, step.rule.most if late else 0)
    return result, why, figures, took, output


class Run:
    def __init__(self, kept, until, env, log, say, gone=lambda: False, tidy=lambda: None):
        """gone(): the device is, asked after a failure; tidy(): called behind what runs alone"""
        self.kept, self.until, self.env, self.log, self.say, self.gone, self.tidy = kept, until, env, log, say, gone, tidy
        self.records, self.lock, self.lost = [], threading.Lock(), False

    def one(self, step):
        old, left = self.kept.get(step), self.until - time.monotonic()
        if old and old["result"] != CUT and not (old["result"] == SKIPPED and old["s"] < QUICK):
            return self.note(step, dict(old, kept=True))
        needs = max(step.rule.needs, min(old["s"] + 1, step.rule.most) if old else 0)
        if self.lost or left < needs:
            why = "the device is gone" if self.lost else f"{max(left, 0):.0f} s are left"
            return self.note(step, dict(step=step.name, key=step.key, result=CUT, why=why, s=0, figures=old["figures"] if old else []))
        result, why, figures, took, output = do(step, min(step.rule.most, left), self.env)
        record = dict(step=step.name, key=step.key, result=result, why=why, s=round(took, 1), figures=figures)
        self.kept.put(record)
        with self.lock:
            self.log.write(f"== {step.name}: {result} {why} ({took:.1f} s)\n{output}\n")
            self.log.flush()
        if result == FAILED and self.gone():
            self.lost = True
        if step.rule.jobs == 1:
            self.tidy()
        return self.note(step, record)

    def note(self, step, record):
        with self.lock:
            self.records.append((step.rule, record))
            if record["result"] != PASSED:
                self.say(f"{record['result']} {step.name}: {record['why']}")

    def all(self, steps):
        for rule, some in itertools.groupby(steps, lambda s: s.rule):
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(max(1, min(rule.jobs, os.cpu_count() or 1))) as pool:
                list(pool.map(self.one, some))
            mine = [r for who, r in self.records if who is rule]
            self.say(f"== {rule.title}: {tally(mine)}; {sum(1 for r in mine if r.get('kept'))} of them by earlier calls ({time.monotonic() - began:.0f} s)")


def count(records, result):
    return sum(1 for r in records if r["result"] == result)


def tally(records):
    return ", ".join(f"{count(records, r)} {r}" for r in (PASSED, FAILED, SKIPPED, CUT))


def figures_of(run):
    """What the report is made of."""
    lines = [f for _, r in run.records for f in r["figures"]]
    for rule in RULES:
        mine = [r for who, r in run.records if who is rule]
        if mine:
            lines.append(dict(work="suite", name=rule.title, s=round(sum(r["s"] for r in mine), 1), passed=count(mine, PASSED), failed=count(mine, FAILED),
                              skipped=count(mine, SKIPPED), cut=count(mine, CUT)))
    lines += [dict(work="fault", name=r["step"], why=r["why"].splitlines()[0] if r["why"] else "") for _, r in run.records if r["result"] == FAILED]
    lines += [dict(work="missing", peer=r["step"], why=r["why"]) for rule, r in run.records if rule.peer and r["result"] == SKIPPED and not any(f.get("work") == "missing" for f in r["figures"])]
    return lines


def ended(run):
    records = [r for _, r in run.records]
    if count(records, FAILED) or not count(records, PASSED):
        return 1
    return 4 if count(records, CUT) else 0


# --- the machine ---
def device_of(build):
    """(rc, what `ceilings device` tells)"""
    p = subprocess.run([os.path.join(build, "gpu", "ceilings"), "device"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return p.returncode, p.stdout.strip()


def room(path):
    try:
        s = os.statvfs(path)
        return s.f_bavail * s.f_frsize
    except OSError:
        return 0


def models_folder(build):
    """A folder for random models, which are kept from check to measurement: in memory where that has room for them and as much again."""
    try:
        memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        memory = 0
    here = "/dev/shm" if room("/dev/shm") >= MODELS_BYTES and memory >= 2 * MODELS_BYTES else os.path.join(build, "gpu")
    return tempfile.mkdtemp(prefix="models.", dir=here)


def tidy(models):
    """Random models are made again where they are wanted again; the largest wants so much room."""
    if room(models) < LARGEST_BYTES:
        for path in glob.glob(os.path.join(models, "*")):
            os.remove(path)


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next((x.split(":", 1)[1].strip() for x in f if x.startswith("model name")), "?")
    except OSError:
        return "?"


def stopped(*_):
    raise SystemExit(1)


def write_all(o, run, notes):
    lines = notes + figures_of(run)
    folder = os.path.join(o.build, "gpu")
    figures = os.path.join(folder, "gpu.jsonl")
    with open(figures, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(x) + "\n" for x in lines)
    gpu_report.write(lines, os.path.join(folder, "gpu.json"), os.path.join(o.build, "GPU.md"))
    out = os.environ.get("OUT")
    if out:
        os.makedirs(out, exist_ok=True)
        for path in (figures, os.path.join(folder, "gpu.json"), os.path.join(o.build, "GPU.md"), os.path.join(folder, "done.jsonl"), os.path.join(folder, "log")):
            if os.path.exists(path):
                shutil.copy(path, out)
    return lines


def arguments(argv=None):
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--build", required=True)
    a.add_argument("--seconds", type=float, required=True)
    a.add_argument("--only", default=",".join(PARTS))
    a.add_argument("--python", default="python3")
    a.add_argument("--pack")
    a.add_argument("--nvcc", default="?")
    a.add_argument("--fault", action="append", default=[], help="what failed before: a step that failed")
    a.add_argument("--lack", action="append", default=[], help="what the machine lacks, for which something was not built")
    o = a.parse_args(argv)
    wrong = set(o.only.split(",")) - set(PARTS)
    if wrong:
        sys.exit(f"gpu-check: ONLY={','.join(sorted(wrong))}: parts are {', '.join(PARTS)}")
    return o


def main():
    o = arguments()
    until = time.monotonic() + o.seconds - RESERVE
    rc, told = device_of(o.build)
    if rc == 3:
        print(f"gpu-check: {told}; {'not everything (above)' if o.fault else 'everything'} was built, nothing was run")
        return 3
    device = next(iter(lines_of(told)), None)
    if rc or not device:
        print(f"FAIL device: {told}\n0 passed, 1 failed, 0 skipped, 0 cut off")
        return 1
    print(told, flush=True)
    models = models_folder(o.build)
    signal.signal(signal.SIGTERM, stopped)
    env = dict(os.environ, GPU_MODELS=models, **({"GPU_PACK": o.pack} if o.pack and os.path.exists(os.path.join(o.pack, "models.json")) else {}))
    notes = [device, dict(work="run", began=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), only=o.only, cpu=cpu_name(), cores=os.cpu_count(), nvcc=o.nvcc)]

    def say(text):
        print(text, flush=True)
    try:
        with open(os.path.join(o.build, "gpu", "log"), "w", encoding="utf-8") as log:
            run = Run(Kept(os.path.join(o.build, "gpu", "done.jsonl")), until, env, log, say, lambda: device_of(o.build)[0] != 0, lambda: tidy(models))
            whole = Rule("", "build", 0, 0)
            run.records += [(whole, dict(step="build", result=FAILED, why=x, s=0, figures=[])) for x in o.fault]
            identity = number(device["name"], device["driver"], o.nvcc)
            steps, out = steps_of(o, identity, models)
            for rule, result, why in out:
                say(f"{result} {rule.title}: {why}")
                run.records.append((rule, dict(step=rule.title, result=result, why=why, s=0, figures=[])))
            run.all(steps)
        lines = write_all(o, run, notes)
    finally:
        shutil.rmtree(models, ignore_errors=True)
    gpu_report.tell(lines)
    records = [r for _, r in run.records]
    if count(records, CUT):
        print("cut off: " + ", ".join(r["step"] for r in records if r["result"] == CUT) + "\nThe same command goes on there: what is done is kept in "
              + os.path.join(o.build, "gpu", "done.jsonl") + ".")
    print(f"The report is {os.path.join(o.build, 'GPU.md')}.")
    print(tally(records))
    return ended(run)


if __name__ == "__main__":
    sys.exit(main())
