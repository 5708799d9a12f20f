"""The data of the reader model, from the packed sets to rows that train.py reads.

Usage: prepare.py --train DIR --eval DIR --out DIR [--fold 0|1]
  --train  holds span.jsonl.xz, rank.jsonl.xz and support.jsonl.xz
  --eval   holds squad2_all_questions.jsonl and squad2/articles
Writes span, rank and support .train.jsonl and .held.jsonl, and stats.json. The same bytes from the same input.

What is held out, and why:
  squad2   Whole articles. Those with questions that have no answer, and those without, each in the order of their names;
           every second of each is held out (--fold 0: the first, third ...). All that is reported on squad2, squad2_cut
           and xquad counts questions on these articles alone. Their questions that are not in_sample choose settings
           (`held`, split "choose"), those that are give figures (split "report").
  other    A twentieth, by the hash of what rows could share: an article's title, a passage, a query, an evidence.
English alone: the vocabulary has few signs of other scripts.

Rows:
  span     {question, title, text, from, to (code points; -1: no answer), texts: [answers], kind, weight, source}
           kind: answer | other (another passage) | trick (written to have no answer) | made (by the rules below)
  rank     {query, title, positives: [text], negatives: [text], source}
  support  {claim, evidence, label (0 supported, 1 not said, 2 contradicted), weight, source}
"""
import argparse
import collections
import hashlib
import json
import lzma
import os
import random
import re

LABELS = {"supported": 0, "not_supported": 1, "contradicted": 2}
OPPOSITES = """first last|before after|largest smallest|biggest smallest|highest lowest|north south|northern southern|east west
eastern western|increase decrease|increased decreased|more fewer|most least|oldest youngest|older younger|begin end|began ended
start stop|started stopped|won lost|win lose|always never|majority minority|male female|men women|husband wife|father mother
son daughter|brother sister|king queen|above below|early late|earliest latest|long short|longest shortest|good bad|best worst
allowed forbidden|accepted rejected|accept reject|include exclude|support oppose|supported opposed|import export|rich poor|left right
inside outside|old new|public private|strong weak|positive negative|major minor|maximum minimum|same different|enter leave
join leave|joined left|buy sell|bought sold|created destroyed|built destroyed|born killed|rise fall|rose fell|gained lost|open closed
internal external|ancient modern|common rare|popular unpopular|successful unsuccessful|possible impossible|legal illegal
attack defend|attacked defended|ally enemy|friend enemy|summer winter|day night|urban rural|upper lower|top bottom|hot cold""".replace("\n", "|")
PAIRS = [p.split() for p in OPPOSITES.split("|")]
OPPOSITE = {**{b: a for a, b in PAIRS}, **dict(PAIRS)}
AUX = re.compile(r"\b(is|are|was|were|did|does|do|has|have|had|can|could|will|would)\b", re.I)
NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
NAME = re.compile(r"(?<=[a-z,] )(?:[A-Z][a-z]+(?: (?:of|the|de|von) (?=[A-Z]))?(?: ?(?=[A-Z]))?)+")


def held(key):
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 20 == 0


def seeded(key):
    return random.Random(hashlib.sha256(key.encode()).digest())


def lines(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def squash(text):
    return re.sub(r"\s+", " ", text).strip()


def swapped(question, text, names, r):
    """A question near this one that the passage should not answer; None: no rule fits. The rules are those by which people
    wrote such questions for SQuAD 2.0 (Rajpurkar et al. 2018, table 1): negation, antonym, entity and number swap."""
    ways = []
    words = [m for m in re.finditer(r"[A-Za-z]+", question) if m.group().lower() in OPPOSITE]
    numbers = [m for m in NUMBER.finditer(question) if m.group() in text]
    named = [m for m in NAME.finditer(question) if m.group() in text]
    others = [n for n in names if n not in text and n not in question]
    here = [m.group() for m in NAME.finditer(text) if m.group() not in question]
    if words:
        m = r.choice(words)
        ways.append((3, m.span(), OPPOSITE[m.group().lower()]))
    if numbers:
        m = r.choice(numbers)
        near = [n for n in NUMBER.findall(text) if n != m.group() and len(n) == len(m.group())]
        digits = list(m.group())
        at = r.choice([i for i, c in enumerate(digits) if c.isdigit()])
        digits[at] = r.choice([d for d in "123456789" if d != digits[at]])
        ways.append((3, m.span(), r.choice(near) if near and r.random() < 0.3 else "".join(digits)))
    if named and (others or here):
        m = r.choice(named)
        ways.append((3, m.span(), r.choice(others if others and (not here or r.random() < 0.7) else here)))
    m = AUX.search(question)
    if m and "not" not in question and "n't" not in question:
        ways.append((1, m.span(), {"can": "can't", "will": "won't"}.get(m.group().lower(), m.group() + "n't")))
    if not ways:
        return None
    _, (a, b), new = r.choices(ways, [w[0] for w in ways])[0]
    return question[:a] + new + question[b:]


def span_row(question, title, text, answers, kind, source, weight=1.0):
    """The answer that most people gave, the shortest of equals; None: it stands nowhere."""
    row = {"question": squash(question), "title": title, "text": text, "from": -1, "to": -1, "texts": [], "kind": kind,
           "weight": weight, "source": source}
    if kind != "answer":
        return row
    count = collections.Counter(a["text"] for a in answers)
    best = min(answers, key=lambda a: (-count[a["text"]], len(a["text"]), a["start"]))
    at, text_ = best["start"], best["text"]
    if text[at:at + len(text_)] != text_:
        at = text.find(text_)
        if at < 0:
            return None
    row.update({"from": at, "to": at + len(text_), "texts": list(dict.fromkeys(a["text"] for a in answers))})
    return row


def made_rows(rows, names_of):
    """Questions by the rules, for half of those that have an answer."""
    for row in rows:
        r = seeded("made " + row["question"] + row["text"][:80])
        if row["kind"] != "answer" or r.random() < 0.5:
            continue
        question = swapped(row["question"], row["text"], names_of.get(row["title"], []), r)
        if question:
            yield {**row, "question": question, "from": -1, "to": -1, "texts": [], "kind": "made", "weight": 0.5}


def names_by_title(rows):
    names = collections.defaultdict(set)
    for row in rows:
        if row["title"]:
            names[row["title"]].update(m.group() for m in NAME.finditer(row["text"]))
    return {t: sorted(n) for t, n in names.items()}


def bare(word):
    return word.lower().rstrip("s")


def nearest(question, texts, at, answers):
    """The passage other than `at` that shares most words with the question and holds no answer; None: there is none."""
    words = {bare(w) for w in re.findall(r"\w{3,}", question)}
    best, which = 0, None
    for i, text in enumerate(texts):
        if i == at or any(a.lower() in text.lower() for a in answers):
            continue
        n = len(words & {bare(w) for w in re.findall(r"\w{3,}", text)})
        if n > best:
            best, which = n, text
    return which


def squad2(eval_dir, fold):
    """Rows of the articles that may be learned from, and of those that may not."""
    questions = lines(os.path.join(eval_dir, "squad2_all_questions.jsonl"))
    tricky = {q["doc"] for q in questions if not q["answerable"]}
    docs = sorted({q["doc"] for q in questions})
    out = {d for kind in (True, False) for d in [d for d in docs if (d in tricky) == kind][fold::2]}
    texts, train, test = {}, [], []
    for doc in docs:
        with open(os.path.join(eval_dir, "squad2", "articles", doc), encoding="utf-8") as f:
            title, *texts[doc] = f.read().rstrip("\n").split("\n\n")
        title = title.replace("_", " ")
        for q in [q for q in questions if q["doc"] == doc]:
            text = texts[doc][q["paragraph_index"]]
            answers = [{"text": a, "start": text.find(a)} for a in q["answers"] if a in text]
            row = span_row(q["question"], title, text, answers, "answer" if answers else "trick", "squad2")
            if q["answerable"] and not answers:
                continue
            row["id"] = q["id"]
            other = nearest(q["question"], texts[doc], q["paragraph_index"], q["answers"]) if q["answerable"] else None
            rows = [row]
            if other and (doc in out or seeded(q["id"]).random() < 0.4):
                rows.append(span_row(q["question"], title, other, [], "other", "squad2"))
            for row in rows:
                row["split"] = "report" if q["in_sample"] else "choose"
            (test if doc in out else train).extend(rows)
    return train, test, sorted(out)


def spans(train_dir):
    train, test = [], []
    for x in lines(os.path.join(train_dir, "span.jsonl.xz")):
        if x["lang"] != "en":
            continue
        title = x.get("title", "").replace("_", " ")
        kind = "answer" if x["answerable"] else "other"
        row = span_row(x["question"], title, x["context"], x["answers"], kind, x["source"])
        if row:
            (test if held(title or x["context"]) else train).append(row)
    return train, test


def ranks(train_dir, out):
    banned = {os.path.splitext(d)[0].replace("_", " ").lower() for d in out}
    train, test = [], []
    for x in lines(os.path.join(train_dir, "rank.jsonl.xz")):
        title = x.get("title", "").replace("_", " ")
        if not x["negatives"] or not x["positives"] or title.lower() in banned:
            continue
        query = squash(x["query"] + " " + x["body"][:300] if x.get("body") and seeded(x["id"]).random() < 0.5 else x["query"])
        row = {"query": query, "title": title if x["source"] not in ("boolq",) else "", "positives": x["positives"],
               "negatives": x["negatives"], "source": x["source"]}
        (test if held(title or x["query"]) else train).append(row)
    return train, test


def supports(train_dir):
    light = {"conjnli_auto": 0.4, "fever_swap": 0.7}
    train, test = [], []
    for x in lines(os.path.join(train_dir, "support.jsonl.xz")):
        row = {"claim": x["claim"], "evidence": x["evidence"], "label": LABELS[x["label"]], "weight": light.get(x["source"], 1.0),
               "source": x["source"]}
        (test if held(x["evidence"]) else train).append(row)
    return train, test


def tell(name, rows, out, stats):
    with open(os.path.join(out, name + ".jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    key = "kind" if name.startswith("span") else "label" if name.startswith("support") else None
    stats[name] = {"rows": len(rows), **{f"{s} {k}".strip(): n for (s, k), n in
                   sorted(collections.Counter((r["source"], str(r[key]) if key else "") for r in rows).items())}}


def main():
    a = argparse.ArgumentParser()
    for name in ("train", "eval", "out"):
        a.add_argument("--" + name, required=True)
    a.add_argument("--fold", type=int, default=0, choices=(0, 1))
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    train, test, out = squad2(a.eval, a.fold)
    more, more_test = spans(a.train)
    train += more
    train += list(made_rows(train, names_by_title(train)))
    stats = {"articles held out": out}
    rank_train, rank_test = ranks(a.train, out)
    support_train, support_test = supports(a.train)
    for name, rows in (("span.train", train), ("span.held", test + more_test), ("rank.train", rank_train),
                       ("rank.held", rank_test), ("support.train", support_train), ("support.held", support_test)):
        tell(name, rows, a.out, stats)
    with open(os.path.join(a.out, "stats.json"), "w") as f:
        json.dump(stats, f, indent=1)
        f.write("\n")
    print(json.dumps(stats, indent=1))


if __name__ == "__main__":
    main()
