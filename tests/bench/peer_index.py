#!/usr/bin/env python3
"""Search by vector beside hnswlib, usearch and FAISS's wheel, on the same vectors, one thread each, in one run.

  footnote bench index --texts T.jsonl --queries Q.jsonl --folder D      # leaves D/base.fvecs and D/queries.fvecs
  python3 -m venv V && V/bin/pip install -r tests/bench/index.txt
  V/bin/python tests/bench/peer_index.py --folder D [--only hnswlib,usearch,faiss] [--footnote build/footnote] [--keep F]

The truth is the product with every vector in fp32. For every effort: recall of the 10 best, queries a second of
processor time (the better of two rounds, a call a query, as a service asks), then what each reaches at recall 0.95 and
0.99, between its two nearest efforts. With --footnote the same vectors go through `bench index` first, in a new folder or,
with --keep, in D's own store, so that all is measured in one run. --keep: the peers' indexes stay in folder F and are read
from there another time (building them takes hours for a million vectors). Memory: what the process grew by, a vector."""
import argparse, gc, json, os, subprocess, sys, tempfile, time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np

K, M, CONSTRUCTION = 10, 16, 200
EFFORTS = (10, 16, 24, 32, 48, 64, 100, 200, 400, 800)


def fvecs(path, limit=None):
    raw = np.fromfile(path, dtype=np.int32)
    rows = raw.reshape(-1, raw[0] + 1)[:limit, 1:]
    return np.ascontiguousarray(rows.view(np.float32))


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def truth_of(base, queries):
    out = []
    for first in range(0, len(queries), 32):
        for s in np.ascontiguousarray((base @ queries[first:first + 32].T).T):
            out.append(set(np.argpartition(-s, K)[:K].tolist()))
    return out


class Kept:
    """Built indexes in a folder, each with the seconds it took; without a folder nothing is kept."""

    def __init__(self, folder):
        self.folder, self.start, self.took = folder, time.process_time(), None

    def path(self, name):
        return f"{self.folder}/{name}"

    def there(self, name):
        if not self.folder or not os.path.exists(self.path(name) + ".json"):
            return False
        with open(self.path(name) + ".json") as f:
            self.took = json.load(f)
        return True

    def keep(self, name, save):
        self.took = round(time.process_time() - self.start, 1)
        if self.folder:
            save(self.path(name))
            with open(self.path(name) + ".json", "w") as f:
                json.dump(self.took, f)


class Hnswlib:
    name = "hnswlib"

    def __init__(self, base, kept):
        import hnswlib
        self.p = hnswlib.Index(space="ip", dim=base.shape[1])
        if kept.there("hnswlib"):
            self.p.load_index(kept.path("hnswlib"), max_elements=len(base))
        else:
            self.p.init_index(max_elements=len(base), M=M, ef_construction=CONSTRUCTION)
            self.p.set_num_threads(1)
            self.p.add_items(base)
            kept.keep("hnswlib", self.p.save_index)

    def effort(self, ef):
        self.p.set_ef(ef)

    def ask(self, q):
        return self.p.knn_query(q, K)[0][0]


class Usearch:
    name = "usearch"

    def __init__(self, base, kept, dtype="f16"):
        from usearch.index import Index
        self.name = "usearch " + dtype
        self.p = Index(ndim=base.shape[1], metric="ip", dtype=dtype, connectivity=M, expansion_add=CONSTRUCTION)
        if kept.there("usearch"):
            self.p.load(kept.path("usearch"))
        else:
            self.p.add(np.arange(len(base)), base, threads=1)
            kept.keep("usearch", self.p.save)

    def effort(self, ef):
        self.p.expansion_search = ef

    def ask(self, q):
        return self.p.search(q, K, threads=1).keys


class Faiss:
    name = "faiss"

    def __init__(self, base, kept, kind="HNSW32"):
        import faiss
        faiss.omp_set_num_threads(1)
        self.name = "faiss " + kind
        if kept.there("faiss"):
            self.p = faiss.read_index(kept.path("faiss"))
        else:
            self.p = faiss.index_factory(base.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
            self.p.hnsw.efConstruction = CONSTRUCTION
            self.p.train(base)
            self.p.add(base)
            kept.keep("faiss", lambda path: faiss.write_index(self.p, path))

    def effort(self, ef):
        self.p.hnsw.efSearch = ef

    def ask(self, q):
        return self.p.search(q[None, :], K)[1][0]


def measure(make, base, queries, truth, folder):
    gc.collect()
    before, kept = resident(), Kept(folder)
    peer = make(base, kept)
    out = {"name": peer.name, "build_s": kept.took,
           "bytes_per_vector": round((resident() - before) / len(base)), "efforts": []}
    for ef in EFFORTS:
        peer.effort(ef)
        found, took = 0, []
        for turn in range(2):
            start = time.process_time()
            got = [peer.ask(q) for q in queries]
            took.append(time.process_time() - start)
        found = sum(len(t & set(int(x) for x in g)) for t, g in zip(truth, got))
        out["efforts"].append({"ef": ef, "recall": round(found / (K * len(queries)), 4), "per_s": round(len(queries) / min(took))})
    return out


def footnote(program, folder, again):
    with tempfile.TemporaryDirectory() as top:
        where = ["--folder", folder] if again else ["--texts", f"{folder}/base.fvecs", "--queries", f"{folder}/queries.fvecs",
                                                    "--folder", f"{top}/d"]
        run = subprocess.run([program, "-c", os.devnull, "--json", "bench", "index", *where], capture_output=True, text=True)
    if run.returncode:
        sys.exit("footnote bench index: " + run.stderr.strip()[-300:])
    f = json.loads(run.stdout)
    return {"name": "footnote", "build_s": None if again else f["build_s"], "bytes_per_vector": f["bytes_per_vector"],
            "efforts": [{"ef": int(k[2:-7]), "recall": f[k], "per_s": f[k[:-7] + "_per_s"]}
                        for k in f if k.startswith("ef") and k.endswith("_recall")], "all": f}


def reaches(efforts, recall):
    """Queries a second at that recall, between the two efforts around it; None beyond what was measured."""
    for a, b in zip(efforts, efforts[1:]):
        if a["recall"] < recall <= b["recall"]:
            part = (recall - a["recall"]) / (b["recall"] - a["recall"])
            return round(1 / ((1 - part) / a["per_s"] + part / b["per_s"]))
    return efforts[0]["per_s"] if efforts[0]["recall"] >= recall else None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--folder", required=True)
    p.add_argument("--only", default="hnswlib,usearch,faiss")
    p.add_argument("--footnote")
    p.add_argument("--limit", type=int)
    p.add_argument("--keep")
    a = p.parse_args()
    if a.keep:
        os.makedirs(a.keep, exist_ok=True)
    base, queries = fvecs(f"{a.folder}/base.fvecs", a.limit), fvecs(f"{a.folder}/queries.fvecs")
    truth = truth_of(base, queries)
    makes = {"hnswlib": [Hnswlib], "usearch": [Usearch], "faiss": [Faiss]}
    rows = [footnote(os.path.abspath(a.footnote), a.folder, a.keep)] if a.footnote else []
    for name in a.only.split(","):
        rows += [measure(make, base, queries, truth, a.keep) for make in makes[name]]
    for r in rows:
        r["at_0.95"], r["at_0.99"] = (reaches(r["efforts"], x) for x in (0.95, 0.99))
        print(json.dumps(r), flush=True)


main()
