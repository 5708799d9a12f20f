"""Trains the reader model on what prepare.py wrote.

Usage: PYTHONPATH=$(tools/pypi.sh tests/bench/torch.txt) train.py --start FOLDER --data DIR --run DIR [--steps N] [--stop N]
  --start  the folder of all-MiniLM-L6-v2: the encoder's first weights, the vocabulary
  --run    where checkpoint.pt and log.jsonl go; a run that finds a checkpoint goes on from it
  --steps  of the whole schedule: the rate rises, stays, and falls in the last 30 %. A run that goes on may be given
           another number, so long as the old one's fall had not begun
  --stop   leave after that many (a checkpoint is written)
  --again  a warm restart (Loshchilov and Hutter 2017): the schedule of --steps begins anew behind the checkpoint's step,
           each kind of rows at its next pass
  --every  rank and support take part in every n-th step, in turn; span in all
  --tricks how often a pass shows each question written to mislead

A step takes one batch of each kind (span, rank, support), adds their losses and moves once. Word embeddings stay as they
are: the data has too few words to move all of them the same way. Losses:
  span     the start's and the end's cross-entropy over the passage's tokens and [CLS]; whether there is an answer; and,
           but for questions made to mislead, whether the passage is the right one
  rank     cross-entropy over a query's one right and three wrong passages, and of each alone
  support  cross-entropy over supported, not said, contradicted
Questions are misspelt now and then; titles are left out now and then; what technicians write is stripped of signs
now and then. All chances come from the seed, so a run that was broken off learns what an unbroken one would, but for
roundings of bfloat16. Every few minutes a checkpoint, and figures on a few hundred held-out rows.
"""
import argparse
import json
import os
import re
import time

import torch
import torch.nn.functional as F

from model import LENGTH, Feed, Pair, Reader, best_spans, collate, misspelt, rows_read, tokenizer_open

PLAIN = re.compile(r"[^\w\s]")
WARM, DOWN = 150, 0.3  # steps until the full rate; the last part of a run, in which it falls to 0


def pair_of(tok, question, title, text, r, plain=0.0):
    if r.random() < 0.12:
        question = misspelt(question, r)
    if r.random() < 0.4:
        title = ""
    if r.random() < plain:
        question, text = PLAIN.sub(" ", question), PLAIN.sub(" ", text)
    return Pair(tok, question, title, text)


def span_loss(model, tok, batch, a):
    pairs, start, end = [], [], []
    for row, r in batch:
        p = pair_of(tok, row["question"], row["title"], row["text"], r)
        at = (0, 0)
        if row["from"] >= 0:
            at = p.place(row["from"], row["to"])
            if at is None:  # behind the end of the window: one that holds it
                skip = len(tok.encode(row["text"][:row["from"]], add_special_tokens=False).ids)
                p = Pair(tok, row["question"], "", row["text"], LENGTH, max(0, skip - r.randrange(100)))
                at = p.place(row["from"], row["to"]) or (0, 0)
        pairs.append(p)
        start.append(at[0])
        end.append(at[1])
    b = collate(pairs)
    x, cls = model(b)
    s = model.spans(x, b)
    w = torch.tensor([row["weight"] for row, _ in batch])
    t0, t1 = torch.tensor(start), torch.tensor(end)
    loss = (w * (F.cross_entropy(s[:, :, 0], t0, reduction="none") + F.cross_entropy(s[:, :, 1], t1, reduction="none"))).mean() / 2
    there = (t0 > 0).float()
    loss = loss + a.answerable * F.binary_cross_entropy_with_logits(model.answerable(cls, model.drop)[:, 0], there, w)
    sure = torch.tensor([float(row["kind"] in ("answer", "other")) for row, _ in batch])
    right = torch.tensor([float(row["kind"] == "answer") for row, _ in batch])
    return loss + a.topic * F.binary_cross_entropy_with_logits(model.relevance(cls, model.drop)[:, 0], right, sure)


def rank_loss(model, tok, batch, a):
    pairs, sizes = [], []
    for row, r in batch:
        texts = [r.choice(row["positives"])] + r.sample(row["negatives"], min(a.wrong, len(row["negatives"])))
        plain, state = 0.4 if row["source"].startswith("stackexchange") else 0.0, r.getstate()
        for text in texts:
            r.setstate(state)
            pairs.append(pair_of(tok, row["query"], row["title"], text, r, plain))
        sizes.append(len(texts))
    cls = model.cls_of(pairs)
    scores = model.relevance(cls, model.drop)[:, 0]
    groups = scores.split(sizes)
    loss = sum(F.cross_entropy(g.unsqueeze(0), torch.tensor([0])) for g in groups) / len(groups)
    right = torch.cat([torch.tensor([1.0] + [0.0] * (n - 1)) for n in sizes])
    return loss + 0.5 * F.binary_cross_entropy_with_logits(scores, right)


def support_loss(model, tok, batch, a):
    pairs = [pair_of(tok, row["claim"], "", row["evidence"], r) for row, r in batch]
    cls = model.cls_of(pairs)
    w = torch.tensor([row["weight"] for row, _ in batch])
    labels = torch.tensor([row["label"] for row, _ in batch])
    return (w * F.cross_entropy(model.support(cls, model.drop), labels, reduction="none")).mean()


def auc(scores, labels):
    """The share of pairs (one of each kind) in the right order."""
    order = sorted(zip(scores, labels))
    seen = right = 0
    for _, y in order:
        right += seen if y else 0
        seen += not y
    n = sum(labels)
    return right / max(1, n * (len(labels) - n))


@torch.no_grad()
def glance(model, tok, data, n):
    """Figures on n held-out rows of each kind; evaluate.py makes the real ones."""
    model.eval()
    out = {}
    rows = [r for r in data["span.held"] if r.get("split", "choose") == "choose"]
    rows = rows[::max(1, len(rows) // n)]
    hit, asked, scores, kinds = 0, 0, [], []
    for i in range(0, len(rows), 16):
        some = rows[i:i + 16]
        pairs = [Pair(tok, r["question"], r["title"], r["text"]) for r in some]
        b = collate(pairs)
        x, cls = model(b)
        s = model.spans(x, b)
        scores += model.answerable(cls, model.drop)[:, 0].tolist()
        kinds += [r["kind"] for r in some]
        for j, r in enumerate(some):
            if r["kind"] != "answer":
                continue
            best = best_spans(s[j, :, 0], s[j, :, 1], pairs[j])
            asked += 1
            hit += bool(best) and r["text"][best[0][1]:best[0][2]].lower() in [t.lower() for t in r["texts"]]
    out["span_exact"] = hit / max(1, asked)
    for kind in ("other", "trick"):
        both = [(s, k == "answer") for s, k in zip(scores, kinds) if k in ("answer", kind)]
        out["auc_" + kind] = auc([s for s, _ in both], [k for _, k in both])
    rows = data["support.held"][::max(1, len(data["support.held"]) // n)]
    logits = torch.cat([model.support(model(collate([Pair(tok, r["claim"], "", r["evidence"]) for r in rows[i:i + 32]]))[1], model.drop)
                        for i in range(0, len(rows), 32)])
    out["support_right"] = (logits.argmax(1) == torch.tensor([r["label"] for r in rows])).float().mean().item()
    rows = data["rank.held"][::max(1, len(data["rank.held"]) // (n // 2))]
    ranks = 0.0
    for r in rows:
        texts = [r["positives"][0]] + r["negatives"][:6]
        s = model.relevance(model(collate([Pair(tok, r["query"], r["title"], t) for t in texts]))[1], model.drop)[:, 0]
        ranks += 1 / (1 + (s[1:] >= s[0]).sum().item())
    out["rank_mrr"] = ranks / max(1, len(rows))
    model.train()
    return {k: round(v, 4) for k, v in out.items()}


def start_weights(model, folder):
    from safetensors.torch import load_file
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    missing, _ = model.bert.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("pooler")}, strict=False)
    if [m for m in missing if "position_ids" not in m]:
        raise SystemExit(f"{folder}: lacks {missing}")


def optimiser(model, a):
    body, heads = [], []
    for name, p in model.named_parameters():
        if "word_embeddings" in name:
            p.requires_grad = False
        else:
            (body if name.startswith("bert.") else heads).append(p)
    return torch.optim.AdamW([{"params": body, "rate": a.rate}, {"params": heads, "rate": 10 * a.rate}], lr=a.rate,
                             weight_decay=0.01, betas=(0.9, 0.98))


def save(path, state):
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)


def arguments():
    p = argparse.ArgumentParser()
    for name in ("start", "data", "run"):
        p.add_argument("--" + name, required=True)
    for name, value in (("steps", 3600), ("stop", 0), ("threads", 1), ("seed", 1), ("wrong", 3), ("glance", 240), ("minutes", 5),
                        ("every", 1), ("tricks", 1)):
        p.add_argument("--" + name, type=int, default=value)
    for name, value in (("rate", 8e-5), ("answerable", 0.7), ("topic", 0.3), ("rank", 1.0), ("support", 1.0)):
        p.add_argument("--" + name, type=float, default=value)
    p.add_argument("--again", action="store_true")
    p.add_argument("--letters", type=int, default=18000, help="of text in a batch of one kind")
    return p.parse_args()


def main():
    a = arguments()
    os.makedirs(a.run, exist_ok=True)
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    tok, model = tokenizer_open(a.start), Reader(a.start)
    start_weights(model, a.start)
    data = {n: rows_read(os.path.join(a.data, n + ".jsonl")) for n in
            ("span.train", "span.held", "rank.train", "rank.held", "support.train", "support.held")}
    data["span.train"] += (a.tricks - 1) * [r for r in data["span.train"] if r["kind"] == "trick"]
    feeds = {
        "span": Feed(data["span.train"], lambda r: len(r["text"]) + 100, a.letters, a.seed),
        "rank": Feed(data["rank.train"], lambda r: sum(len(t) + 90 for t in r["positives"][:1] + r["negatives"][:a.wrong]), a.letters, a.seed),
        "support": Feed(data["support.train"], lambda r: len(r["evidence"]) + len(r["claim"]), a.letters // 2, a.seed),
    }
    losses = {"span": (span_loss, 1.0, 1), "rank": (rank_loss, a.rank, a.every), "support": (support_loss, a.support, a.every)}
    opt, step, begun, path = optimiser(model, a), 0, 0, os.path.join(a.run, "checkpoint.pt")
    if os.path.exists(path):
        state = torch.load(path, weights_only=False)
        model.load_state_dict(state["model"])
        opt.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["chance"])
        step = state["step"]
        begun = step if a.again else state.get("begun", 0)
        for name, (epoch, at) in state["feeds"].items():
            if a.again or epoch >= 0:
                feeds[name].seek(*((epoch + 1, 0) if a.again else (epoch, at)))
    log = open(os.path.join(a.run, "log.jsonl"), "a", buffering=1)
    model.train()
    saved, means = time.time(), {}
    end = begun + a.steps
    while step < end:
        rate = min((step - begun + 1) / WARM, 1.0, (end - step) / (DOWN * a.steps))
        for g in opt.param_groups:
            g["lr"] = g["rate"] * rate
        opt.zero_grad(set_to_none=True)
        for turn, (name, (loss_of, weight, every)) in enumerate(losses.items()):
            if (step + turn) % every:
                continue
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = weight * loss_of(model, tok, feeds[name].next(), a)
            loss.backward()
            means[name] = 0.95 * means.get(name, loss.item()) + 0.05 * loss.item()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        opt.step()
        step += 1
        last = step == end or step == a.stop
        if last or time.time() - saved > 60 * a.minutes:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                figures = glance(model, tok, data, a.glance)
            line = {"step": step, "cpu_seconds": round(time.process_time()), "epoch": {n: round(f.epoch + f.at / max(1, len(f.batches)), 2)
                    for n, f in feeds.items()}, "loss": {k: round(v, 4) for k, v in means.items()}, **figures}
            log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
            save(path, {"model": model.state_dict(), "optimiser": opt.state_dict(), "chance": torch.get_rng_state(), "step": step, "begun": begun,
                        "feeds": {n: (f.epoch, f.at) for n, f in feeds.items()}, "arguments": vars(a)})
            saved = time.time()
        if last:
            break


if __name__ == "__main__":
    main()
