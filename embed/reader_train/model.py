"""The reader model in PyTorch: pairs of texts to token ids, the encoder with its heads, and batches of rows.

A pair is  [CLS] question [SEP] title [SEP] passage [SEP]  (without "title [SEP]" where there is none) or
[CLS] claim [SEP] evidence [SEP]; what comes after the first [SEP] is of type 1. At most QUESTION tokens of the first
text, TITLE of the title. embed/reader.c builds the same.
Heads: `span` gives every token a start and an end; those of [CLS] stand for "no answer here". `answerable`,
`relevance` and `support` read the state of [CLS] through a layer of their own: relu(dense), then out.
"""
import json
import os
import random

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

QUESTION, TITLE, LENGTH = 64, 24, 320
SPAN_TOKENS = 40
HEADS = {"answerable": 1, "relevance": 1, "support": 3}


def tokenizer_open(folder):
    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    t.encode_special_tokens = True  # as signs: the program never takes text for a control token
    t.no_truncation()
    t.no_padding()
    return t


class Pair:
    """ids; second: where type 1 begins; first: where the passage's tokens begin; offsets: theirs, in code points."""

    def __init__(self, tok, question, title, text, length=LENGTH, window=0):
        cls, sep = tok.token_to_id("[CLS]"), tok.token_to_id("[SEP]")
        q = tok.encode(question, add_special_tokens=False).ids[:QUESTION]
        t = tok.encode(title, add_special_tokens=False).ids[:TITLE] if title else []
        p = tok.encode(text, add_special_tokens=False)
        head = [cls] + q + [sep] + (t + [sep] if t else [])
        room = length - len(head) - 1
        self.second, self.first = len(q) + 2, len(head)
        self.whole = len(p.ids) <= room
        at = max(0, min(window, len(p.ids) - room))
        self.offsets = p.offsets[at:at + room]
        self.ids = head + p.ids[at:at + room] + [sep]

    def place(self, a, b):
        """Positions of the first and last token of code points a to b of the passage; None: outside the window."""
        inside = [i for i, (s, e) in enumerate(self.offsets) if e > a and s < b]
        cut = not self.whole and inside and (self.offsets[inside[0]][0] > a or self.offsets[inside[-1]][1] < b)
        if not inside or cut:
            return None
        return self.first + inside[0], self.first + inside[-1]


def pair_windows(tok, question, title, text, length=LENGTH, stride=128):
    """Every window of a long passage, as embed/reader.c cuts them."""
    out, at = [], 0
    while True:
        p = Pair(tok, question, title, text, length, at)
        out.append(p)
        if p.whole:
            return out
        room = length - p.first - 1
        n = len(tok.encode(text, add_special_tokens=False).ids)
        if at + room >= n:
            return out
        at = min(at + max(room - stride, room // 2, 1), n - room)


class Head(nn.Module):
    def __init__(self, hidden, outputs):
        super().__init__()
        self.dense, self.out = nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)

    def forward(self, x, drop):
        return self.out(drop(torch.relu(self.dense(x)))).float()


def modules(**named):
    m = nn.Module()
    for name, module in named.items():
        m.add_module(name, module)
    return m


class Layer(nn.Module):
    """One layer of BERT, its parts under the names that Hugging Face gives them. On a CPU the plain products of attention
    and their gradients, all in bfloat16, take half the time of torch's fused ones."""

    def __init__(self, h, heads, wide, eps):
        super().__init__()
        self.heads = heads
        self.attention = modules(self=modules(query=nn.Linear(h, h), key=nn.Linear(h, h), value=nn.Linear(h, h)),
                                 output=modules(dense=nn.Linear(h, h), LayerNorm=nn.LayerNorm(h, eps)))
        self.intermediate = modules(dense=nn.Linear(h, wide))
        self.output = modules(dense=nn.Linear(wide, h), LayerNorm=nn.LayerNorm(h, eps))

    def forward(self, x, mask, drop):
        a, (rows, n, h) = self.attention, x.shape
        q, k, v = (f(x).view(rows, n, self.heads, -1).transpose(1, 2) for f in (a.self.query, a.self.key, a.self.value))
        with torch.autocast("cpu", enabled=False):
            scores = torch.matmul(q * (h // self.heads) ** -0.5, k.transpose(2, 3)) + mask.to(q.dtype)
            y = torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).reshape(rows, n, h)
        x = a.output.LayerNorm(x + a.output.dense(y).float())  # a sum of two types is slow
        return self.output.LayerNorm(x + drop(self.output.dense(F.gelu(self.intermediate.dense(x)))).float())


class Reader(nn.Module):
    def __init__(self, folder=None, config=None):
        super().__init__()
        if config is None:
            with open(os.path.join(folder, "config.json")) as f:
                config = json.load(f)
        h, eps = config["hidden_size"], config["layer_norm_eps"]
        if config["hidden_act"] != "gelu":
            raise SystemExit(f"hidden_act {config['hidden_act']}: only gelu is known")
        self.config = config
        self.bert = modules(
            embeddings=modules(word_embeddings=nn.Embedding(config["vocab_size"], h), LayerNorm=nn.LayerNorm(h, eps),
                               position_embeddings=nn.Embedding(config["max_position_embeddings"], h),
                               token_type_embeddings=nn.Embedding(config["type_vocab_size"], h)),
            encoder=modules(layer=nn.ModuleList(Layer(h, config["num_attention_heads"], config["intermediate_size"], eps)
                                                for _ in range(config["num_hidden_layers"]))))
        self.span = nn.Linear(h, 2)
        for name, outputs in HEADS.items():
            self.add_module(name, Head(h, outputs))
        self.drop = nn.Dropout(0.1)

    def forward(self, batch):
        """States of all tokens, (rows, tokens, hidden), and of [CLS]."""
        e, ids = self.bert.embeddings, batch["ids"]
        x = e.word_embeddings(ids) + e.position_embeddings(torch.arange(ids.shape[1])) + e.token_type_embeddings(batch["types"])
        x = self.drop(e.LayerNorm(x))
        mask = (1.0 - batch["mask"].float())[:, None, None, :] * -1e4
        for layer in self.bert.encoder.layer:
            x = layer(x, mask, self.drop)
        return x, x[:, 0]

    def cls_of(self, pairs, padding=1.15):
        """States of [CLS] of each pair, those of like length run together."""
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].ids))
        groups, tokens = [[]], 0
        for i in order:
            n, tokens = len(pairs[i].ids), tokens + len(pairs[i].ids)
            if groups[-1] and n * (len(groups[-1]) + 1) > padding * tokens and len(groups[-1]) > 3:
                groups.append([])
                tokens = n
            groups[-1].append(i)
        states = torch.cat([self(collate([pairs[i] for i in g]))[1] for g in groups])
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor([i for g in groups for i in g])] = torch.arange(len(order))
        return states[back]

    def spans(self, x, batch):
        """Start and end of every token, -1e4 where no span may begin: (rows, tokens, 2)."""
        return self.span(x).float().masked_fill(~batch["passage"].unsqueeze(2), -1e4)


def collate(pairs):
    n = max(len(p.ids) for p in pairs)
    rows = len(pairs)
    ids, mask = torch.zeros(rows, n, dtype=torch.long), torch.zeros(rows, n, dtype=torch.long)
    types, passage = torch.zeros(rows, n, dtype=torch.long), torch.zeros(rows, n, dtype=torch.bool)
    for i, p in enumerate(pairs):
        k = len(p.ids)
        ids[i, :k] = torch.tensor(p.ids)
        mask[i, :k] = 1
        types[i, p.second:k] = 1
        passage[i, p.first:k - 1] = True
        passage[i, 0] = True
    return {"ids": ids, "mask": mask, "types": types, "passage": passage}


def best_spans(start, end, pair, k=1):
    """The k best spans of one pair: [(logit over "no answer", from, to in code points)]; start, end: (tokens)."""
    a, z = pair.first, len(pair.ids) - 1
    if z <= a:
        return []
    scores = start[a:z].unsqueeze(1) + end[a:z].unsqueeze(0)
    allowed = torch.ones_like(scores, dtype=torch.bool).triu() & ~torch.ones_like(scores, dtype=torch.bool).triu(SPAN_TOKENS)
    scores = scores.masked_fill(~allowed, -1e9).flatten()
    top = torch.topk(scores, min(k, scores.numel()))
    null, n = (start[0] + end[0]).item(), z - a
    return [(v.item() - null, pair.offsets[i // n][0], pair.offsets[i % n][1])
            for v, i in zip(top.values, top.indices.tolist()) if v > -1e8]


def rows_read(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def misspelt(text, r):
    """One letter of one word swapped, lost, doubled or replaced."""
    words = text.split(" ")
    long = [i for i, w in enumerate(words) if len(w) > 3 and w.isalpha()]
    if not long:
        return text
    i = r.choice(long)
    w, at = words[i], r.randrange(1, len(words[i]) - 1)
    words[i] = r.choice([w[:at] + w[at + 1] + w[at] + w[at + 2:], w[:at] + w[at + 1:], w[:at] + w[at] + w[at:],
                         w[:at] + r.choice("abcdefghijklmnopqrstuvwxyz") + w[at + 1:]])
    return " ".join(words)


class Feed:
    """Batches of rows without end: each pass shuffled by the seed and its number, rows of like length together, about
    `letters` letters of text a batch. The n-th batch is the same however often the run was broken off."""

    def __init__(self, rows, size, letters, seed):
        self.rows, self.size, self.letters, self.seed = rows, size, letters, seed
        self.epoch, self.at, self.batches = -1, 0, []

    def _fill(self, epoch):
        r = random.Random(f"{self.seed} {epoch}")
        order = list(range(len(self.rows)))
        r.shuffle(order)
        self.batches, self.epoch, self.at = [], epoch, 0
        for i in range(0, len(order), 2048):
            pool, batch, widest = sorted(order[i:i + 2048], key=lambda j: self.size(self.rows[j])), [], 0
            for j in pool:
                widest = max(widest, self.size(self.rows[j]))
                if batch and widest * (len(batch) + 1) > self.letters:
                    self.batches.append(batch)
                    batch, widest = [], self.size(self.rows[j])
                batch.append(j)
            self.batches.append(batch)
        r.shuffle(self.batches)

    def seek(self, epoch, at):
        self._fill(epoch)
        self.at = at

    def next(self):
        if self.epoch < 0 or self.at == len(self.batches):
            self._fill(self.epoch + 1)
        batch = self.batches[self.at]
        self.at += 1
        return [(self.rows[j], random.Random(f"{self.seed} {self.epoch} {j}")) for j in batch]
