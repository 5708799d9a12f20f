#!/usr/bin/env python3
"""Models cut to what travels: a few layers and the first tokens of real GGUF files, weights as they are, with the logits of the
specification's kernels (nn/ops_ref.c) beside them. `make gpu-pack` makes them; they never enter git, a machine with a GPU may have them
carried there (build/gpu_pack, some 24 MiB), and `make gpu-check` compares its logits with these.
Usage: pack_model.py --models FOLDER --logits PROGRAM OUT

Cut: layers taken by number and numbered anew; the first VOCAB rows of the tables of tokens; no tokenizer. gemma3's window is made 16, and every
second layer has none, so that few layers and tokens meet both. models.json tells what came from where, with checksums. A model that is not
in the folder is left out and said."""
import argparse, hashlib, json, os, struct, subprocess, sys

VOCAB, CONTEXT = 1024, 512
# file, layers (chosen so that every type of weights the file has is met), name
PACKS = [("smollm2-135m-instruct-q4_1.gguf", [0, 29], "smollm2"), ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", [2], "qwen"),
         ("gemma-3-270m-q4_k_m.gguf", [0, 2], "gemma")]
KEYS = {"gemma": {"gemma3.attention.sliding_window": 16, "gemma3.attention.sliding_window_pattern": 2}}
U32, I32, F32, BOOL, STR, ARRAY = 4, 5, 6, 7, 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2)}
NAMES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 30: "BF16"}


class Reader:
    def __init__(self, f):
        self.f = f

    def get(self, fmt):
        return struct.unpack("<" + fmt, self.f.read(struct.calcsize("<" + fmt)))[0]

    def text(self):
        return self.f.read(self.get("Q")).decode()

    def value(self, kind):
        if kind == STR:
            return self.text()
        if kind == ARRAY:
            inner, n = self.get("I"), self.get("Q")
            return [self.value(inner) for _ in range(n)]
        return self.get(SCALARS[kind])


def read(path):
    """(keys {name: (type, value)}, tensors {name: (type, dims, offset in the file)}, open file)"""
    f = open(path, "rb")
    r = Reader(f)
    if f.read(4) != b"GGUF" or r.get("I") not in (2, 3):
        sys.exit(f"{path}: no GGUF of version 2 or 3")
    tensor_n, key_n = r.get("Q"), r.get("Q")
    keys = {}
    for _ in range(key_n):
        name, kind = r.text(), r.get("I")
        keys[name] = (kind, r.value(kind))
    tensors = {}
    for _ in range(tensor_n):
        name, dims = r.text(), [r.get("Q") for _ in range(r.get("I"))]
        tensors[name] = [r.get("I"), dims, r.get("Q")]
    align = keys.get("general.alignment", (U32, 32))[1]
    start = (f.tell() + align - 1) // align * align
    for t in tensors.values():
        t[2] += start
    return keys, tensors, f


def row_bytes(kind, k):
    weights, size = BLOCKS[kind]
    return k // weights * size


def cut(name, path, layers, out):
    keys, tensors, f = read(path)
    arch = keys["general.architecture"][1]
    kept = {k: v for k, v in keys.items() if k == "general.architecture" or (k.startswith(arch + ".") and v[0] != ARRAY)}
    kept[arch + ".block_count"] = (U32, len(layers))
    kept[arch + ".context_length"] = (U32, CONTEXT)
    for k, v in KEYS.get(name, {}).items():
        kept[k] = (U32, v)
    parts, types = [], set()
    for tensor, (kind, dims, at) in tensors.items():
        new = tensor
        if tensor.startswith("blk."):
            layer, rest = tensor[4:].split(".", 1)
            if int(layer) not in layers:
                continue
            new = f"blk.{layers.index(int(layer))}.{rest}"
        rows = dims[1] if len(dims) > 1 else 1
        if tensor in ("token_embd.weight", "output.weight"):
            rows = min(rows, VOCAB)
        dims = [dims[0], rows] if len(dims) > 1 else dims
        f.seek(at)
        parts.append((new, kind, dims, f.read(row_bytes(kind, dims[0]) * rows)))
        types.add(NAMES[kind])
    write(out, kept, parts)
    return arch, sorted(types)


def write(out, keys, parts):
    def text(s):
        return struct.pack("<Q", len(s.encode())) + s.encode()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(parts), len(keys))
    for name, (kind, value) in keys.items():
        head += text(name) + struct.pack("<I", kind) + (text(value) if kind == STR else struct.pack("<" + SCALARS[kind], value))
    at = 0
    for name, kind, dims, data in parts:
        head += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, at)
        at += (len(data) + 31) // 32 * 32
    with open(out, "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        for _, _, _, data in parts:
            f.write(data + bytes(-len(data) % 32))


def checksum(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--models", required=True)
    a.add_argument("--logits", required=True)
    a.add_argument("out")
    o = a.parse_args()
    os.makedirs(o.out, exist_ok=True)
    told = []
    for file, layers, name in PACKS:
        path, to = os.path.join(o.models, file), os.path.join(o.out, name + ".gguf")
        if not os.path.exists(path):
            print(f"{file} is not in {o.models}: left out")
            continue
        arch, types = cut(name, path, layers, to)
        subprocess.run([o.logits, to, os.path.join(o.out, name + ".logits")], check=True)
        told.append(dict(name=name, arch=arch, source=file, source_sha256=checksum(path), layers=layers, tokens=VOCAB, types=types, keys=KEYS.get(name, {}),
                         bytes=os.path.getsize(to), sha256=checksum(to), logits_sha256=checksum(os.path.join(o.out, name + ".logits"))))
        print(f"{name}: {os.path.getsize(to) / 2**20:.1f} MiB, {', '.join(types)}")
    with open(os.path.join(o.out, "models.json"), "w") as f:
        json.dump(dict(made_by="make gpu-pack (tests/gpu/pack_model.py, tests/gpu/ref_logits.c)", models=told), f, indent=1)
    if not told:
        sys.exit("no model is there: make models fetches some")


if __name__ == "__main__":
    main()
