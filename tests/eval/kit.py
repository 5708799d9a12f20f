"""What the evaluations share: a running service, questions asked many at a time and kept, texts compared as SQuAD does,
and the promises of an answer held against the documents, with nothing of Footnote's own code. Plain Python; HTTP and the
command line only."""
import concurrent.futures, hashlib, json, math, os, re, string, subprocess, sys, time, urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "http"))
import harness

MODELS = {"large": "qwen2.5-coder-1.5b-instruct-q4_k_m", "small": "qwen2.5-coder-0.5b-instruct-q4_k_m"}
VARIANTS = ("large", "small", "extractive")
CALL_S = 7200                        # the longest wait for one reply or command


# ---- the program ----

class Program(harness.Service):
    """`footnote serve` with a data folder and settings; commands reach it through its socket."""

    def __init__(self, program, data=None, variant="extractive", conf=None):
        harness.FOOTNOTE = os.path.abspath(program)
        self.style = "extractive" if variant == "extractive" else "generate"
        self.variant, self.texts = variant, {}
        settings = {"log.level": "warn", "generate.model": MODELS.get(variant, "none"), "answer.deadline_s": 3600, "serve.answer_threads": 16,
                    "answers.cache_bytes": 0}                        # every question is answered anew
        super().__init__({**settings, **(conf or {})}, data=data, wait=False)
        try:
            if not self.wait_ready(600).get("generator") and variant in MODELS:
                raise RuntimeError(f"{MODELS[variant]} is not there: make models, or footnote models fetch")
        except BaseException:
            self.close()
            raise

    def run(self, *args, ok=(0,)):
        r = subprocess.run([harness.FOOTNOTE, "-c", self.top + "/service.conf", "--data", self.data, *args], capture_output=True, text=True, timeout=CALL_S)
        if r.returncode not in ok:
            raise RuntimeError(f"footnote {' '.join(args)}: exit {r.returncode}: {r.stderr.strip()[-500:]}")
        return r

    def call(self, path, body, seconds=CALL_S):
        conn = self.connect(seconds)
        try:
            r = self.ask("POST", path, body, conn=conn)
        finally:
            conn.close()
        if r.status not in (200, 201):
            raise RuntimeError(f"POST {path}: {r.status} {r.error['message']}")
        return r.json

    def ingest(self, folder, collection):
        self.run("-q", "--collection", collection, "ingest", "--prune", folder)

    def answer(self, question, collection, **fields):
        return self.call("/v1/answers", {"question": question, "collection": collection, "style": self.style, **fields})

    def first_sentence(self, question, collection):
        """Milliseconds until the first verified sentence has come through the stream (None: none came), and the answer."""
        conn = self.connect(CALL_S)
        began, first = time.monotonic(), None
        conn.request("POST", "/v1/answers", json.dumps({"question": question, "collection": collection, "style": self.style, "stream": True}),
                     {"Content-Type": "application/json"})
        answer = None
        for name, data in harness.events(conn.getresponse()):
            if name == "delta" and first is None:
                first = (time.monotonic() - began) * 1000
            if name == "done":
                answer = data
        conn.close()
        return first if answer and answer["status"] != "abstained" else None, answer

    def processor_seconds(self):
        """What the service has had of the processors since it began."""
        with open(f"/proc/{self.proc.pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def text_of(self, document):
        if document not in self.texts:
            self.texts[document] = self.get(f"/v1/documents/{urllib.parse.quote(document, safe='')}/text").text
        return self.texts[document]


def settings_of(program):
    """Names of the settings this program has."""
    out = subprocess.run([program, "-c", "/dev/null", "conf"], capture_output=True, text=True, check=True, cwd="/").stdout
    return set(re.findall(r"^([a-z_0-9]+(?:\.[a-z_0-9]+)+) =", out, re.M))


# ---- sets ----

def lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def held_out():
    """Articles that the reader model was not trained on: figures of squad2, squad2_cut and xquad count questions on these alone."""
    with open(os.path.join(ROOT, "corpora", "eval", "held_out.txt"), encoding="utf-8") as f:
        return {line.strip() for line in f if line.strip() and not line.startswith("#")}


def is_held_out(question, names):
    return os.path.splitext(os.path.basename(question["doc"]))[0] in names


def mixed(rows, limit=None):
    """The rows in an order that is always the same and has nothing to do with their contents; the first `limit`."""
    rows = sorted(rows, key=lambda r: hashlib.sha256(r["id"].encode()).digest())
    return rows[:limit] if limit else rows


# ---- texts ----

def normal(s):
    """As SQuAD compares: lower case, no ASCII punctuation, no articles, single blanks."""
    s = "".join(c for c in s.lower() if c not in string.punctuation)
    return " ".join(w for w in s.split() if w not in ("a", "an", "the"))


def holds(text, golds):
    """Is one of the gold texts in the text, as a sequence of words?"""
    plain = f" {normal(text)} "
    return any(normal(g) and f" {normal(g)} " in plain for g in golds)


def holds_signs(text, golds):
    """The same for writing without blanks between words."""
    plain = normal(text).replace(" ", "")
    return any(normal(g) and normal(g).replace(" ", "") in plain for g in golds)


def f1(text, golds):
    best = 0.0
    for g in golds:
        a, b = normal(text).split(), normal(g).split()
        same = sum(min(a.count(w), b.count(w)) for w in set(a))
        if same:
            best = max(best, 2 * same / (len(a) + len(b)))
    return best


def unmarked(answer):
    return re.sub(r"\[\d+\]", "", answer["answer"])


def is_right(question, answer):
    """The answer holds a gold text; one that refuses does not."""
    return answer["status"] != "abstained" and question["answerable"] and holds(unmarked(answer), question["answers"])


def outcome(question, answer):
    if answer["status"] == "abstained":
        return "refused"
    return "right" if is_right(question, answer) else "wrong"


# ---- promises ----

# What ends with a full stop and ends no sentence.
SHORT = re.compile(r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|St|Jr|Sr|No|Nos|vs|etc|ca|cf|Fig|Vol|pp|al|Prof|Gen|Col|Lt|Capt|Sgt|Rev|Hon|Gov|Sen|Rep|Inc|Ltd|Co|Corp|Bros"
                   r"|Mt|Ft|Ave|Blvd|Rd|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|approx|est|e\.g|i\.e|a\.m|p\.m|[A-Z]\.[A-Z]|[A-Z](?:\.[A-Z])+|bzw|Nr|Sra|Srta|EE\.UU))\.$")


def sentences_in(quote):
    """How many sentences a quote seems to hold, read apart from the program's own way: a mark that ends one, then a capital."""
    n = 1
    for m in re.finditer(r"""[.!?]["'”’)\]]*\s+(?=["'“‘(\[]*[A-ZÀ-Þ])""", quote):
        head = quote[:m.end()].rstrip()
        if head.endswith(".") and SHORT.search(head):
            continue
        n += head[-1] in ".!?" or quote[m.start()] in ".!?" and head[-1] in ")]”\""
    return n


def broken(a, text_of):
    """The promises an answer breaks, as sentences; empty when it keeps all of them. text_of: id of a document to its text."""
    bad = []
    marks = [int(m) for m in re.findall(r"\[(\d+)\]", a["answer"])]
    numbers = [c["n"] for c in a["citations"]]
    if numbers != list(range(1, len(numbers) + 1)) or list(dict.fromkeys(marks)) != numbers:
        bad.append(f"marks {marks} against citations {numbers}")
    for c in a["citations"]:
        if text_of(c["document_id"])[c["start"]:c["end"]] != c["quote"]:
            bad.append(f"quote [{c['n']}] is not the text at its offsets")
        if not 0 < len(c["quote"]) <= 400:
            bad.append(f"quote [{c['n']}] has {len(c['quote'])} characters")
    ranges = {(c["document_id"], c["start"], c["end"]) for c in a["citations"]}
    if len(ranges) != len(numbers):
        bad.append("one range has two numbers")
    for s in a["sentences"]:
        inside = [int(m) for m in re.findall(r"\[(\d+)\]", a["answer"][s["start"]:s["end"]])]
        if inside != s["citations"] or len(inside) > 2:
            bad.append(f"sentence {s} holds marks {inside}")
        if a["status"] == "answered" and s["support"] == "verified" and not inside:
            bad.append("a verified sentence without a mark")
    if a["short"] and text_of(a["short"]["document_id"])[a["short"]["start"]:a["short"]["end"]] != a["short"]["text"]:
        bad.append("short is not the text at its offsets")
    if a["status"] == "abstained" and (a["citations"] or marks):
        bad.append("an abstention with citations")
    if a["status"] == "answered" and not a["citations"]:
        bad.append("an answer without citations")
    return bad


# ---- figures ----

def share(part, whole):
    return part / whole if whole else None


def quantile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(math.ceil(p * len(values))) - 1 if p else 0)] if values else None


def auc(positives, negatives):
    """Probability that a positive is above a negative; ties count half."""
    if not positives or not negatives:
        return None
    ranked = sorted([(v, 1) for v in positives] + [(v, 0) for v in negatives])
    at, total = 0, 0.0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        total += sum(label for _, label in ranked[at:end]) * (at + end + 1) / 2
        at = end
    n, m = len(positives), len(negatives)
    return (total - n * (n + 1) / 2) / (n * m)


# ---- asking ----

def file_hash(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            h.update(piece)
    return h.hexdigest()


class Kept:
    """Rows in a file, each there as soon as it is known, so that a run that ends goes on. The file begins with `head`, what
    the rows depend on; one with another head is begun anew. done: by id."""

    def __init__(self, path, head):
        self.path, self.done = path, {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                try:
                    if json.loads(f.readline() or "null") == head:
                        for line in f:
                            r = json.loads(line)
                            self.done[r["id"]] = r
                except ValueError:       # a line that a kill cut off
                    pass
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            for r in [head] + list(self.done.values()):
                f.write(json.dumps(r, ensure_ascii=False) + "\n")

    def put(self, row):
        self.done[row["id"]] = row
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def ask_all(program, rows, path, head, parallel=4, seconds=None, say=None):
    """Asks rows ({"id", "ask": fields of the request, …}) and returns them with "answer" and "seconds", kept at path.
    seconds: none is begun after so long."""
    kept = Kept(path, head)
    done, began, asked = kept.done, time.monotonic(), 0

    def one(row):
        if seconds and time.monotonic() - began > seconds:
            return None
        t = time.monotonic()
        answer = program.answer(**row["ask"])
        for p in answer["passages"]:     # what a hit says of itself is in the store
            p.pop("text", None), p.pop("highlights", None)
        return {**row, "answer": answer, "seconds": round(time.monotonic() - t, 3)}

    todo = [r for r in rows if r["id"] not in done]
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        for r in pool.map(one, todo):
            if r is None:
                continue
            kept.put(r)
            asked += 1
            if say and asked % 50 == 0:
                say(f"{asked} of {len(todo)} asked, {time.monotonic() - began:.0f} s")
    return [{**row, "answer": done[row["id"]]["answer"], "seconds": done[row["id"]]["seconds"]} for row in rows if row["id"] in done]
