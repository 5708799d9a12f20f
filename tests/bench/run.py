#!/usr/bin/env python3
"""The program beside others that do the same, on this machine, in one go: same files, same threads, in the same minutes.
Usage: run.py [--only WORK,WORK] [--models M,M] [--peers P,P] [--write RESULTS.md] …  (run.py -h)

Peers are installed from PyPI into the cache, once (--setup does only that: some GB, and llama.cpp is built from its source). Each measurement
is a process of its own with a time limit; one that fails is told and left out of the table, the others go on. Rounds take the measurements in
turn, and medians over rounds count, so that what else the machine does falls on all alike. Every figure is a line of BUILD/bench/results-KERNEL.jsonl,
which a later run with --only replaces for the works it measures; the report is made from all there is, kernels after kernels."""
import argparse, datetime, glob, json, os, platform, signal, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WORKS = ["roofline", "prefill", "decode", "together", "quote", "embed"]
MODELS = ["qwen-1.5b", "qwen-0.5b", "smollm2-135m"]
PEERS = ["llama", "openvino", "torch", "onnx"]
PROMPT, WRITTEN, SLOTS, SLOT_PROMPT, DRAFT, ANSWER = 512, 64, 8, 64, 8, 160
TEXTS, TEXT_WORDS = 300, 220
QUOTE_MODELS = ("qwen-1.5b", "qwen-0.5b")     # the third does not quote
OPENVINO_READS_NOT = ("qwen-0.5b",)          # Q5_0
SETUP_S = 3600

# The least that issue 5 asks for: by work and model (None: every other), what is compared with what, and the value for each kernel.
GOALS = [
    # work, model, name, figure of ours, peers (the best of them) or "read", figure of theirs, smaller is better, {kernel: least}
    ("prefill", None, "prefill, against llama.cpp", "prefill_tps", ("llama",), "prefill_tps", {"amx": 8, "vnni": 2.5, "avx2": 1.5}),
    ("prefill", None, "prefill, against the best", "prefill_tps", ("llama", "openvino"), "prefill_tps", {"amx": 2.5}),
    ("decode", "qwen-1.5b", "decode, share of read bandwidth", "bytes_per_s", "read", None, {"amx": 0.75, "vnni": 0.75, "avx2": 0.70}),
    ("decode", "qwen-0.5b", "decode, share of read bandwidth", "bytes_per_s", "read", None, {"amx": 0.60, "vnni": 0.60, "avx2": 0.55}),
    ("decode", None, "decode, share of read bandwidth", "bytes_per_s", "read", None, {}),
    ("decode", None, "decode, against the best", "decode_tps", ("llama", "openvino"), "decode_tps", {}),
    ("together", None, f"{SLOTS} together, against llama.cpp", "decode_tps", ("llama",), "decode_tps", {"amx": 3, "vnni": 2, "avx2": 1.5}),
    ("embed", None, "texts, against torch bf16", "tokens_per_s", ("torch bf16",), "tokens_per_s", {"amx": 2.5}),
    ("embed", None, "texts, against torch fp32", "tokens_per_s", ("torch fp32",), "tokens_per_s", {"vnni": 3, "avx2": 2}),
    ("embed", None, "texts, against onnxruntime int8", "tokens_per_s", ("onnx int8",), "tokens_per_s", {"amx": 12, "vnni": 5, "avx2": 2}),
]
QUERY_MS = {"amx": 1, "vnni": 2, "avx2": 4}
QUOTE_LEAST, PLAIN_LEAST = 1.4, 0.98


class Failed(Exception):
    pass


class Bench:
    def __init__(self, o):
        self.o = o
        self.began = time.time()
        self.dir = os.path.join(ROOT, o.build, "bench")
        os.makedirs(self.dir, exist_ok=True)
        self.rows, self.failures, self.folders = [], [], {}
        self.footnote = os.path.join(ROOT, o.build, "footnote")
        self.roofline = os.path.join(ROOT, o.build, "tests", "roofline")
        self.paths = {}

    # ---- processes ----

    def say(self, text):
        print(f"[{time.time() - self.began:5.0f} s] {text}", flush=True)

    def call(self, command, limit, env=None):
        """A process' output; it is ended, with all its children, when its time is over."""
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
                             env={**os.environ, **(env or {})})
        try:
            out, errors = p.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGTERM)
            try:
                p.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.communicate()
            raise Failed(f"takes more than {limit:.0f} s")
        except KeyboardInterrupt:
            os.killpg(p.pid, signal.SIGTERM)
            raise
        if p.returncode:
            raise Failed((errors.strip() or out.strip() or f"exit code {p.returncode}").splitlines()[-1][:300])
        return out

    def measure(self, work, model, who, command, read=None, env=None):
        """One measurement: a row, or a failure that is told."""
        left = self.o.minutes * 60 - (time.time() - self.began)
        name = f"{work} {model} {who}"
        try:
            if left < 10:
                raise Failed(f"the {self.o.minutes} minutes are over")
            started = time.time()
            out = self.call(command, min(self.o.limit, left), env)
            figures = (read or (lambda text: json.loads(text.strip().splitlines()[-1])))(out)
        except (Failed, ValueError, KeyError, IndexError, OSError) as e:
            self.say(f"{name}: FAILED: {e}")
            self.failures.append(f"{name}: {e}")
            return None
        self.rows.append({"work": work, "model": model, "who": who, "figures": figures, "seconds": round(time.time() - started, 1), "threads": self.o.threads,
                          "at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"), "command": " ".join(self.short(c) for c in command)})
        told = {k: v for k, v in figures.items() if isinstance(v, (int, float)) and k.endswith(("_s", "_ms", "_tps"))} if isinstance(figures, dict) else {}
        self.say(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in told.items()))
        return figures

    def short(self, word):
        """A command's word without where this machine has its folders."""
        for path, name in ((sys.executable, "python3"), (ROOT + "/", ""), (os.path.expanduser("~") + "/", "~/")):
            word = word.replace(path, name)
        return word

    # ---- what is needed ----

    def peer(self, name):
        """The folder of a peer, installed when it is not there; None: it cannot be had."""
        if name not in self.folders:
            asked = time.time()
            command = [f"{HERE}/llama.sh"] + (["avx2"] if self.o.kernel == "avx2" else []) if name == "llama" else [f"{ROOT}/tools/pypi.sh", f"{HERE}/{name}.txt"]
            try:
                self.folders[name] = self.call(command, SETUP_S).strip().splitlines()[-1]
            except (Failed, OSError, IndexError) as e:
                self.folders[name] = None
                self.failures.append(f"{name}: cannot be installed: {e}")
                self.say(self.failures[-1])
            self.began += time.time() - asked   # setting up is not measuring
        return self.folders[name]

    def find_models(self):
        out = self.call([self.footnote, "--json", "models", "list"], 60)
        for line in out.splitlines():
            m = json.loads(line)
            if m["path"] and m["state"] in ("present", "verified"):
                self.paths[m["name"]] = self.paths[m["alias"] or m["name"]] = m["path"]

    def texts(self):
        """Long texts as lines of JSON: the file given, or the articles of corpora/squad_mini cut into pieces, again and again."""
        path = f"{self.dir}/texts.jsonl"
        if self.o.texts:
            rows = [json.loads(x) for x in open(self.o.texts)][:self.o.texts_n]
            texts = [(r.get("title", "") + " " + r["text"]).strip() for r in rows]
        else:
            words = [w for f in sorted(glob.glob(f"{ROOT}/corpora/squad_mini/articles/*")) for w in open(f, encoding="utf-8").read().split()]
            step = TEXT_WORDS // 3
            texts = [" ".join((words + words)[at % len(words):at % len(words) + TEXT_WORDS]) for at in range(0, step * self.o.texts_n, step)]
        with open(path, "w") as f:
            f.writelines(json.dumps({"text": t}) + "\n" for t in texts)
        return path

    def questions(self):
        """Questions over passages of the handbook: those whose answers quote them, and one whose answer does not."""
        def page(name, first, last):
            lines = open(f"{ROOT}/corpora/handbook/{name}", encoding="utf-8").read().split("---", 2)[-1].strip()
            return "\n\n".join(lines.split("\n\n")[first:last])
        asked = [
            ("quote", "leave.md", 1, 8, "How many days of paid leave are there, and what happens to unused days? Answer with sentences copied word for word from the text."),
            ("quote", "travel-expenses.md", 1, 8, "What are the rules? Answer with sentences copied word for word from the text."),
            ("quote", "remote-work.md", 1, 8, "Who may work remotely, and how is it agreed? Answer with sentences copied word for word from the text."),
            ("plain", "faq.md", 1, 4, "Put the text aside. Tell a new fairy tale about a dragon who learns to play chess."),
        ]
        for i, (kind, name, first, last, question) in enumerate(asked):
            path = f"{self.dir}/question{i}.txt"
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"{page(name, first, last)}\n\n{question}\n")
            yield kind, path

    # ---- works ----

    def ours(self, work, model, who, *args):
        extra = ("--kernel", self.o.kernel) if self.o.kernel else ()
        return self.measure(work, model, who, [self.footnote, "--json", "bench", *args, "--threads", str(self.o.threads), *extra])

    def generate(self, work, model, who, *args):
        return self.ours(work, model, who, "generate", "--model", model, "--repeat", str(self.o.repeat), *args)

    def llama_bench(self, work, model, prompt, written):
        def read(out):
            rows = [json.loads(x) for x in out.splitlines() if x.startswith("{")]
            r, = [r for r in rows if (r["n_prompt"], r["n_gen"]) == (prompt, written)]
            return {"prefill_tps" if prompt else "decode_tps": statistics.median(r["samples_ts"])}
        if "llama" in self.o.peers and self.peer("llama"):
            self.measure(work, model, "llama", [f"{self.peer('llama')}/llama-bench", "-m", self.paths[model], "-p", str(prompt), "-n", str(written),
                                                "-t", str(self.o.threads), "-r", str(self.o.repeat), "-o", "jsonl"], read)

    def roofline_work(self, model):
        self.measure("roofline", "", "footnote", [self.roofline, str(self.o.threads)], lambda out: {"lines": [json.loads(x) for x in out.splitlines()]})

    def prefill_work(self, model):
        self.generate("prefill", model, "footnote", "-p", str(PROMPT), "-n", "1")
        self.llama_bench("prefill", model, PROMPT, 0)
        self.openvino(["prefill"] + ["decode"] * ("decode" in self.o.only), model)

    def decode_work(self, model):
        self.generate("decode", model, "footnote", "-p", "16", "-n", str(WRITTEN))
        self.llama_bench("decode", model, 0, WRITTEN)
        if "prefill" not in self.o.only:
            self.openvino(["decode"], model)

    def openvino(self, works, model):
        """One process tells both figures."""
        if "openvino" not in self.o.peers or model in OPENVINO_READS_NOT or not self.peer("openvino"):
            return
        figures = self.python(works[0], model, "openvino", "openvino", "peer_openvino.py", self.paths[model], PROMPT, WRITTEN, self.o.threads, self.o.repeat)
        for work in works[1:] if figures else []:
            self.rows.append({**self.rows[-1], "work": work})

    def together_work(self, model):
        self.generate("together", model, "footnote", "--parallel", str(SLOTS), "-p", str(SLOT_PROMPT), "-n", str(WRITTEN))
        if "llama" in self.o.peers and self.peer("llama"):
            self.python("together", model, "llama", None, "peer_llama.py", f"{self.peer('llama')}/llama-server", self.paths[model], SLOT_PROMPT, WRITTEN,
                        self.o.threads, SLOTS, self.o.repeat)

    def quote_work(self, model):
        if model not in QUOTE_MODELS:
            return
        for i, (kind, path) in enumerate(self.questions()):
            for draft in (0, DRAFT):
                self.generate("quote", model, f"{kind} {i} draft {draft}", "--prompt", path, "-n", str(ANSWER), "--draft", str(draft))

    def embed_work(self, model):
        texts = self.texts()
        folder = self.paths["all-minilm-l6-v2"]
        self.ours("embed", "", "footnote", "embed", "--model", "all-minilm-l6-v2", "--texts", texts, "--repeat", str(self.o.repeat))
        for who, package, kind in (("torch bf16", "torch", "bf16"), ("torch fp32", "torch", "fp32"), ("onnx int8", "onnx", "int8")):
            if package in self.o.peers and self.peer(package):
                self.python("embed", "", who, package, "peer_embed.py", kind, texts, folder, self.o.threads, 1)

    def python(self, work, model, who, package, script, *args):
        limits = {"vnni": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}.get(self.o.kernel, {})
        path = {"PYTHONPATH": self.peer(package)} if package else {}
        return self.measure(work, model, who, [sys.executable, f"{HERE}/{script}", *map(str, args)], env={**path, **limits, "OMP_NUM_THREADS": str(self.o.threads)})

    def run(self):
        if not os.path.exists(self.footnote) or ("roofline" in self.o.only and not os.path.exists(self.roofline)):
            sys.exit(f"run.py: {self.o.build} has no footnote or no tests/roofline: make {self.o.build}/tests/roofline all")
        for name in self.o.peers:
            self.peer(name)
        if self.o.setup:
            return
        self.find_models()
        for number in range(self.o.rounds):
            for work in self.o.only:
                for model in self.o.models if work in ("prefill", "decode", "together", "quote") else [""]:
                    needed = model or ("all-minilm-l6-v2" if work == "embed" else "")
                    if needed and needed not in self.paths:
                        if number == 0:
                            self.failures.append(f"{work} {needed}: not here: footnote models fetch {needed}")
                            self.say(self.failures[-1])
                        continue
                    getattr(self, work + "_work")(model)

    # ---- results ----

    def save(self):
        """All lines there are: those of this run instead of earlier ones of the same work and model."""
        path = f"{self.dir}/results-{self.o.kernel or 'auto'}.jsonl"
        mine = {(r["work"], r["model"]) for r in self.rows}
        old = [json.loads(x) for x in open(path)] if os.path.exists(path) else []
        rows = [r for r in old if (r["work"], r["model"]) not in mine] + self.rows
        with open(path, "w") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows)
        with open(path.replace(".jsonl", ".failed.json"), "w") as f:
            json.dump(self.failures, f)

    def report(self):
        """Of the kernels that the machine chooses, then of others that were measured."""
        parts = []
        for path in sorted(glob.glob(f"{self.dir}/results-*.jsonl")):
            rows = [json.loads(x) for x in open(path)]
            if rows:
                parts.append(Report(rows, self.o, json.load(open(path.replace(".jsonl", ".failed.json")))).make())
        return "\n".join([Report.head(), *parts])


class Report:
    """Tables of Markdown from the lines of results."""

    def __init__(self, rows, o, failures):
        self.rows, self.o, self.failures, self.out = rows, o, failures, []

    def value(self, work, model, who, key):
        """Median over rounds; None: was not measured."""
        v = [r["figures"][key] for r in self.rows if (r["work"], r["model"], r["who"]) == (work, model, who) and key in r["figures"]]
        return statistics.median(v) if v else None

    def roof(self):
        """The lines of the roofline, each at its best over the rounds."""
        best = {}
        for r in self.rows:
            for line in r["figures"].get("lines", []) if r["work"] == "roofline" else []:
                key = tuple((k, v) for k, v in line.items() if not k.endswith("_per_s"))
                for k, v in line.items():
                    if k.endswith("_per_s"):
                        best.setdefault(key, {})[k] = max(v, best.get(key, {}).get(k, 0))
        return [{**dict(k), **v} for k, v in best.items()]

    def read(self):
        return next((x["read_bytes_per_s"] for x in self.roof() if "read_bytes_per_s" in x), None)

    def kernel(self):
        return next((r["figures"]["kernel"] for r in self.rows if "kernel" in r["figures"]), "?")

    def table(self, head, rows):
        self.out += ["", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)] + ["| " + " | ".join(map(str, r)) + " |" for r in rows]

    @staticmethod
    def number(v):
        return "-" if v is None else f"{v:,.0f}" if v >= 100 else f"{v:.3g}"

    def ratios(self):
        """(work, model, what, value, goal or None)."""
        k = {"avx512": "avx2"}.get(self.kernel(), self.kernel())
        for work, of, name, mine, against, theirs, goals in GOALS:
            for model in MODELS if work != "embed" else [""]:
                if of not in (None, model) or (of is None and any(g[0] == work and g[1] == model and g[2] == name for g in GOALS)):
                    continue
                v = self.value(work, model, "footnote", mine)
                other = self.read() if against == "read" else max((x for x in (self.value(work, model, w, theirs) for w in against) if x), default=None)
                if v and other:
                    yield model or "all-minilm-l6-v2", name, v / other, goals.get(k), True
        v = self.value("embed", "", "footnote", "query_ms")
        if v:
            yield "all-minilm-l6-v2", "one short query, ms", v, QUERY_MS.get(k), False
        for model in QUOTE_MODELS:
            kinds = {}
            for who in sorted({r["who"] for r in self.rows if r["work"] == "quote" and r["model"] == model and r["who"].endswith(f"draft {DRAFT}")}):
                plain = self.value("quote", model, who.rsplit(" ", 1)[0] + " 0", "decode_tps")
                if plain:
                    kinds.setdefault(who.split()[0], []).append(self.value("quote", model, who, "decode_tps") / plain)
            if "quote" in kinds:
                yield model, "drafts, answers that quote (median)", statistics.median(kinds["quote"]), QUOTE_LEAST, True
            if kinds:
                yield model, "drafts, worst of all answers", min(x for v in kinds.values() for x in v), PLAIN_LEAST, True

    def same_answers(self):
        answers = {}
        for r in self.rows:
            if r["work"] == "quote":
                answers.setdefault((r["model"], r["who"].split(" draft")[0]), set()).add(r["figures"]["answer"])
        return sum(len(a) == 1 for a in answers.values()), len(answers)

    @staticmethod
    def head():
        cpu = next((x.split(":", 1)[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), platform.machine())
        flags = next((x for x in open("/proc/cpuinfo") if x.startswith("flags")), "").split()
        memory = int(open("/proc/meminfo").readline().split()[1]) / 1e6
        have = [n for n, f in (("AVX2", "avx2"), ("AVX-512", "avx512f"), ("VNNI", "avx512_vnni"), ("AMX", "amx_int8")) if f in flags]
        return "\n".join(["# Measured side by side", "", "Made by `make bench` (tests/bench/run.py), not by hand. Medians of rounds in which the programs took turns; ratios "
                          "are of one run.", "", f"{cpu}, {os.cpu_count()} cores ({', '.join(have)}), {memory:.0f} GB.", ""])

    def make(self):
        times = sorted(r["at"] for r in self.rows)
        threads = sorted({r["threads"] for r in self.rows})
        self.out = [f"## Kernels `{self.kernel()}`", "", f"{' and '.join(map(str, threads))} thread{'s' * (threads != [1])}, {times[0]} to {times[-1]} UTC.", "", "### Against what is asked"]
        rows = [(m, n, f"{v:.2f}", "-" if g is None else f"{'≥' if more else '≤'} {g:g}", "-" if g is None else "yes" if (v >= g if more else v <= g) else "**no**")
                for m, n, v, g, more in self.ratios()]
        self.table(["model", "what", "value", "asked", "reached"], rows)
        same, all_of = self.same_answers()
        if all_of:
            self.out += ["", f"Answers with drafts are the same, letter for letter, as without: {same} of {all_of}."]
        self.out += ["", "### Figures", "", f"Prefill of {PROMPT} tokens; decode of {WRITTEN}; together: {SLOTS} texts, prompts of {SLOT_PROMPT}. Tokens a second. "
                     "OpenVINO does not read the file of qwen-0.5b (Q5_0)."]
        whos = ["footnote", "llama", "openvino"]
        self.table(["model", "work"] + whos, [[m, w] + [self.number(self.value(w, m, who, key)) for who in whos] for m in MODELS
                   for w, key in (("prefill", "prefill_tps"), ("decode", "decode_tps"), ("together", "decode_tps"))])
        whos = ["footnote", "torch bf16", "torch fp32", "onnx int8"]
        self.out += ["", "MiniLM: tokens a second on long texts, and milliseconds of one short query."]
        self.table(["figure"] + whos, [[key] + [self.number(self.value("embed", "", who, key)) for who in whos] for key in ("tokens_per_s", "texts_per_s", "query_ms")])
        quotes = sorted({(r["model"], r["who"].split(" draft")[0]) for r in self.rows if r["work"] == "quote"})
        if quotes:
            self.out += ["", f"Answers to questions over a passage, tokens a second without and with drafts (up to {DRAFT} tokens). `quote`: told to copy; `plain`: a tale of its own."]
            self.table(["model", "answer", "tokens", "without", "with"], [[m, w, self.number(self.value("quote", m, w + " draft 0", "written_tokens"))] +
                       [self.number(self.value("quote", m, f"{w} draft {d}", "decode_tps")) for d in (0, DRAFT)] for m, w in quotes])
        self.roofline_tables()
        if self.failures:
            self.out += ["", "### Not measured", ""] + [f"- {f}" for f in self.failures]
        self.out += ["", "### Commands", "", "```"] + sorted({r["command"] for r in self.rows}) + ["```", ""]
        return "\n".join(line.rstrip() for line in self.out)

    def roofline_tables(self):
        roof, read = self.roof(), self.read()
        if not read:
            return
        peaks = {x["peak"]: x["ops_per_s"] for x in roof if "peak" in x}
        self.out += ["", "### Roofline", "", f"Memory, read by all threads: {read / 1e9:.1f} GB/s. Arithmetic (a product or a sum is an operation):"]
        self.table(["instructions", "10^12 a second"], [[n, f"{v / 1e12:.3g}"] for n, v in peaks.items()])
        bound = {"prompt": {"amx": "AMX bf16", "vnni": "AVX-512 VNNI int8", "avx512": "AVX2 int8", "avx2": "AVX2 int8"},
                 "encoder": {"amx": "AMX int8", "vnni": "AVX-512 VNNI int8", "avx2": "AVX2 int8"}}
        self.out += ["", "What the kernels reach: weights from memory times 1 and 8 tokens, as share of that bandwidth; a prompt's 512 tokens and an encoder's layer, as share of "
                     "the peak of the instructions they use (of AVX2 for `avx512`)."]
        rows = []
        for x in (x for x in roof if "kernel" in x):
            if x["what"] == "written":
                rows.append([x["kernel"], x["type"], f"{x['tokens']} token{'s' * (x['tokens'] > 1)}", f"{x['bytes_per_s'] / 1e9:.1f} GB/s", f"{x['bytes_per_s'] / read:.0%}"])
            else:
                top = peaks.get(bound[x["what"]].get(x["kernel"], ""))
                rows.append([x["kernel"], x["type"], x["what"], f"{x['ops_per_s'] / 1e12:.3g} 10^12/s", f"{x['ops_per_s'] / top:.0%}" if top else "-"])
        self.table(["kernels", "weights", "work", "rate", "share"], rows)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])

    def some(of):
        def parse(text):
            chosen = text.split(",") if text else []
            for c in chosen:
                if c not in of:
                    raise argparse.ArgumentTypeError(f"{c}: must be of {', '.join(of)}")
            return chosen
        return parse
    p.add_argument("--only", type=some(WORKS), default=WORKS, help=f"works: {','.join(WORKS)}")
    p.add_argument("--models", type=some(MODELS), default=MODELS, help=f"generators: {','.join(MODELS)}")
    p.add_argument("--peers", type=some(PEERS), default=PEERS, help=f"whom to measure beside: {','.join(PEERS)}; \"\": nobody")
    p.add_argument("--build", default="build", help="folder of the program")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--kernel", default="", choices=["", "vnni", "avx2"], help="kernels of the program; for vnni and avx2 torch is held to the same, for avx2 llama.cpp is built so")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--repeat", type=int, default=3, help="runs within a measurement")
    p.add_argument("--minutes", type=float, default=19, help="of all measurements; what is left then is skipped, and told")
    p.add_argument("--limit", type=float, default=150, help="seconds of one measurement")
    p.add_argument("--texts", help="lines {\"text\"[,\"title\"]} to embed, instead of corpora/squad_mini")
    p.add_argument("--texts-n", type=int, default=TEXTS)
    p.add_argument("--write", metavar="FILE", help="the report, as Markdown")
    p.add_argument("--setup", action="store_true", help="install the peers, measure nothing")
    p.add_argument("--report", action="store_true", help="make the report from the results there are, measure nothing")
    o = p.parse_args()
    b = Bench(o)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not o.report:
            b.run()
    except KeyboardInterrupt:
        b.failures.append("the run was ended from outside")
    if o.setup:
        sys.exit(1 if b.failures else 0)
    if not o.report:
        b.save()
    text = b.report()
    if o.write:
        with open(o.write, "w", encoding="utf-8") as f:
            f.write(text)
    print("\n" + text)
    sys.exit(1 if b.failures else 0)


main()
