"""Writes a trained reader model as the folder that the program opens (embed/reader.h).

Usage: PYTHONPATH=$(tools/pypi.sh tests/bench/torch.txt) export.py --start FOLDER --run DIR --out FOLDER
Matrices of the encoder and its word embeddings become int8 with a scale a row (scale = the row's largest value / 127),
the rounding that nn/gemm8.h would make at every start; positions and the heads' matrices become float16; biases and norms
stay. What the program reads from the file is therefore exactly what it would make of the floats.
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import save_file

from model import LENGTH, Reader


def tensors_of(model):
    out = {}
    for name, p in model.state_dict().items():
        p = p.detach().float()
        if p.dim() == 2 and name.startswith("bert.") and "position" not in name and "token_type" not in name:
            scale = (p.abs().amax(dim=1) / 127).clamp(min=1e-30)
            out[name] = torch.round(p / scale[:, None]).clamp(-127, 127).to(torch.int8).contiguous()
            out[name + ".scale"] = scale.contiguous()
        elif p.dim() == 2:
            out[name] = p.half().contiguous()
        elif "position_ids" not in name:
            out[name] = p.contiguous()
    return out


def folder_write(model, vocabulary, out, length, about):
    """The folder; `vocabulary`: a vocab.txt."""
    os.makedirs(out, exist_ok=True)
    c = model.config
    keep = ("hidden_act", "hidden_size", "intermediate_size", "layer_norm_eps", "max_position_embeddings", "num_attention_heads",
            "num_hidden_layers", "pad_token_id", "type_vocab_size", "vocab_size")
    config = {"architectures": ["Reader"], "model_type": "bert", **{k: c[k] for k in keep}}
    words = {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None, "tokenizer_class": "BertTokenizer",
             "model_max_length": length, **{k + "_token": f"[{k.upper()}]" for k in ("unk", "cls", "sep", "pad", "mask")}}
    for name, value in (("config.json", config), ("tokenizer_config.json", words)):
        with open(os.path.join(out, name), "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")
    shutil.copyfile(vocabulary, os.path.join(out, "vocab.txt"))
    path = os.path.join(out, "model.safetensors")
    save_file(tensors_of(model), path, metadata={k: str(v) for k, v in about.items()})
    os.chmod(path, 0o644)


def folder_read(folder):
    """A model with the floats that the folder's weights stand for."""
    from safetensors.torch import load_file
    model, t = Reader(folder), load_file(os.path.join(folder, "model.safetensors"))
    state = {n: v.float() * (t[n + ".scale"][:, None] if v.dtype == torch.int8 else 1) for n, v in t.items() if not n.endswith(".scale")}
    model.load_state_dict(state)
    return model.eval()


def main():
    p = argparse.ArgumentParser()
    for name in ("start", "run", "out"):
        p.add_argument("--" + name, required=True)
    a = p.parse_args()
    state = torch.load(os.path.join(a.run, "checkpoint.pt"), weights_only=False)
    model = Reader(a.start)
    model.load_state_dict(state["model"])
    how = state["arguments"]
    folder_write(model, os.path.join(a.start, "vocab.txt"), a.out, LENGTH,
                 {"step": state["step"], "steps": how["steps"], "seed": how["seed"], "rate": how["rate"]})
    size = os.path.getsize(os.path.join(a.out, "model.safetensors"))
    print(f"{a.out}: step {state['step']}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
