#!/usr/bin/env python3
"""PyTorch at the same work, on the same GPU: models of random bfloat16 weights at the sizes of tests/gpu/measure.c, decoding greedily with
64 and 1 sequences, eagerly and as one CUDA graph; a prompt of 2048 tokens; an encoder of MiniLM's sizes; an exact scan.
Usage: peer_torch.py [--only WORK,WORK] [--models MODEL,MODEL] [--small]. Prints lines of JSON, the first tells the versions.

The decoder is written as one would who wants PyTorch to be fast: q, k and v in one product, gate and up in one, keys and values in
caches of fixed size, its own attention over grouped heads. --small: small sizes on the CPU, to see that it runs."""
import argparse, json, sys, time

MODELS = {
    "1.5b": dict(layers=28, dim=1536, ff=8960, heads=12, kv=2, head=128, vocab=151936, bias=True, tied=True),
    "8b": dict(layers=32, dim=4096, ff=14336, heads=32, kv=8, head=128, vocab=128256, bias=False, tied=False),
}
SMALL = dict(layers=2, dim=64, ff=128, heads=4, kv=2, head=16, vocab=100, bias=True, tied=True)
BEFORE, WRITTEN = 256, 64          # tokens of each sequence before the first that is timed, and timed (time_models.c)
PROMPT, EPS = 2048, 1e-6


def say(**line):
    print(json.dumps(line), flush=True)


class Decoder:
    def __init__(self, torch, name, size, device, dtype, slots, room):
        self.t, self.name, self.s, self.device, self.slots, self.room = torch, name, size, device, slots, room
        g = torch.Generator(device=device).manual_seed(1)

        def matrix(rows, k):
            return torch.randn(rows, k, device=device, dtype=dtype, generator=g) / k ** 0.5
        s = size
        q, kv = s["heads"] * s["head"], s["kv"] * s["head"]
        self.embed = matrix(s["vocab"], s["dim"])
        self.out = self.embed if s["tied"] else matrix(s["vocab"], s["dim"])
        one = torch.ones(s["dim"], device=device, dtype=dtype)
        self.layers = [dict(qkv=matrix(q + 2 * kv, s["dim"]), bias=torch.randn(q + 2 * kv, device=device, dtype=dtype, generator=g) * 0.2 if s["bias"] else None,
                            o=matrix(s["dim"], q), up=matrix(2 * s["ff"], s["dim"]), down=matrix(s["dim"], s["ff"]), n1=one, n2=one,
                            k=torch.zeros(slots, s["kv"], room, s["head"], device=device, dtype=dtype),
                            v=torch.zeros(slots, s["kv"], room, s["head"], device=device, dtype=dtype)) for _ in range(s["layers"])]
        half = s["head"] // 2
        angle = torch.arange(room, device=device)[:, None] * (1e6 ** (-torch.arange(half, device=device) / half))
        self.cos, self.sin = angle.cos().to(dtype), angle.sin().to(dtype)
        self.places = torch.arange(room, device=device)

    def turn(self, x, pos):                       # x: (slots, heads, n, head)
        a, b = x.chunk(2, -1)
        c, s = self.cos[pos], self.sin[pos]
        return self.t.cat((a * c - b * s, b * c + a * s), -1)

    def run(self, ids, pos, mask):
        """ids: (slots, n), pos: (n): one token at a place that the mask tells, or a whole prompt from 0 (mask None). Logits of the last."""
        F, s = self.t.nn.functional, self.s
        slots, n = ids.shape
        x = F.embedding(ids, self.embed)
        for w in self.layers:
            h = F.rms_norm(x, (s["dim"],), w["n1"], EPS)
            q, k, v = F.linear(h, w["qkv"], w["bias"]).view(slots, n, -1, s["head"]).transpose(1, 2).split([s["heads"], s["kv"], s["kv"]], 1)
            q, k = self.turn(q, pos), self.turn(k, pos)
            w["k"].index_copy_(2, pos, k)
            w["v"].index_copy_(2, pos, v)
            if mask is None:
                a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)
            else:                                 # heads that share keys as one head's queries: no key is read twice or repeated
                a = F.scaled_dot_product_attention(q.view(slots, s["kv"], -1, s["head"]), w["k"], w["v"], attn_mask=mask)
            x = x + F.linear(a.reshape(slots, n, -1), w["o"])
            g, u = F.linear(F.rms_norm(x, (s["dim"],), w["n2"], EPS), w["up"]).chunk(2, -1)
            x = x + F.linear(F.silu(g) * u, w["down"])
        return F.linear(F.rms_norm(x[:, -1], (s["dim"],), w["n1"], EPS), self.out)

    def step(self):                               # on tensors of fixed places, so that it can be recorded
        mask = (self.places <= self.pos)[None, None, None, :]
        self.ids.copy_(self.run(self.ids, self.pos, mask).argmax(-1, keepdim=True))
        self.pos.add_(1)

    def begin(self):
        t = self.t
        self.ids = t.zeros(self.slots, 1, device=self.device, dtype=t.long)
        self.pos = t.full((1,), BEFORE, device=self.device, dtype=t.long)

    def weight_bytes(self):
        return 2 * (sum(w[m].numel() for w in self.layers for m in ("qkv", "o", "up", "down")) + self.out.numel())


def sync(torch, device):
    if device != "cpu":
        torch.cuda.synchronize()


def timed(torch, device, fn, times):
    sync(torch, device)
    start = time.perf_counter()
    for _ in range(times):
        fn()
    sync(torch, device)
    return (time.perf_counter() - start) / times


def decode(torch, device, sizes, tokens):
    for name, size in sizes.items():
        for slots in (64, 1):
            try:
                d = Decoder(torch, name, size, device, torch.bfloat16, slots, BEFORE + 2 * WRITTEN + 8)
                d.begin()
                for _ in range(3):
                    d.step()
                d.begin()
                s = timed(torch, device, d.step, tokens)
                say(work="decode", peer="torch", model=name, how="eager", n=slots, tokens_per_s=slots / s, bytes=d.weight_bytes())
                if device == "cpu":
                    continue
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                d.begin()
                with torch.cuda.stream(side):
                    d.step()
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    d.step()
                best = 1e30
                for _ in range(4):                # the first warms up
                    d.ids.zero_()
                    d.pos.fill_(BEFORE)
                    best = min(best, timed(torch, device, graph.replay, tokens))
                say(work="decode", peer="torch", model=name, how="graph", n=slots, tokens_per_s=slots / best, bytes=d.weight_bytes())
                del graph
            except torch.cuda.OutOfMemoryError as e:
                say(work="missing", peer="torch", why=f"decode {name} with {slots}: {str(e).splitlines()[0]}")
            finally:
                d = None
                if device != "cpu":
                    torch.cuda.empty_cache()


def prompt(torch, device, sizes, tokens):
    for name, size in sizes.items():
        d = Decoder(torch, name, size, device, torch.bfloat16, 1, tokens)
        ids, pos = torch.zeros(1, tokens, device=device, dtype=torch.long), torch.arange(tokens, device=device)

        def once():
            return d.run(ids, pos, None).argmax(-1).item()
        once()
        once()
        s = min(timed(torch, device, once, 1) for _ in range(5))
        say(work="prompt", peer="torch", model=name, how="eager", n=tokens, ms=s * 1000, tokens_per_s=tokens / s)
        d = None


def encoder(torch, device, texts, tokens):
    """MiniLM-L6: 6 layers of 384, 12 heads, feed-forward 1536; all texts of the same length, which suits PyTorch."""
    layer = torch.nn.TransformerEncoderLayer(384, 12, 1536, dropout=0, activation="gelu", batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).to(device=device, dtype=torch.float16 if device != "cpu" else torch.bfloat16).eval()
    words = torch.randn(30522, 384, device=device, dtype=next(model.parameters()).dtype)
    ids = torch.randint(0, 30522, (texts, tokens), device=device)

    def once():
        return torch.nn.functional.normalize(model(words[ids]).mean(1).float(), dim=-1)
    for _ in range(3):
        once()
    s = min(timed(torch, device, once, 1) for _ in range(5))
    say(work="encoder", peer="torch", how="eager fp16", texts=texts, tokens=tokens, tokens_per_s=texts * tokens / s)


def scan(torch, device, rows, dim):
    base = torch.randn(rows, dim, device=device, dtype=torch.float16 if device != "cpu" else torch.float32)
    for n in (1, 256):
        q = base[:n] + 0.1

        def once():
            return torch.topk(q @ base.T, 10)[1]
        for _ in range(3):
            once()
        s = min(timed(torch, device, once, 3) for _ in range(5))
        say(work="scan", peer="torch", how="mm and topk, fp16", rows=rows, dim=dim, n=n, ms=s * 1000, queries_per_s=n / s)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--only", default="decode,prompt,encoder,scan")
    a.add_argument("--models", default=",".join(MODELS), help="of decode and prompt")
    a.add_argument("--small", action="store_true")
    o = a.parse_args()
    try:
        import torch
    except ImportError:
        say(work="missing", peer="torch", why="torch is not installed")
        return
    if not o.small and not torch.cuda.is_available():
        say(work="missing", peer="torch", why=f"torch {torch.__version__} sees no GPU")
        return
    device = "cpu" if o.small else "cuda"
    sizes = {"1.5b": SMALL} if o.small else {m: MODELS[m] for m in o.models.split(",")}
    say(work="peer", peer="torch", version=torch.__version__, device="cpu" if o.small else torch.cuda.get_device_name())
    works = {"decode": lambda: decode(torch, device, sizes, 2 if o.small else WRITTEN), "prompt": lambda: prompt(torch, device, sizes, 8 if o.small else PROMPT),
             "encoder": lambda: encoder(torch, device, *((2, 8) if o.small else (512, 256))), "scan": lambda: scan(torch, device, *((1000, 384) if o.small else (1_000_000, 384)))}
    with torch.inference_mode():
        for name in o.only.split(","):
            try:
                works[name]()
            except Exception as e:                # what one work meets is no reason to leave out the others
                say(work="missing", peer="torch", why=f"{name}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")


if __name__ == "__main__":
    sys.exit(main())
