"""A tiny reader model with random weights, and what PyTorch makes of pairs of texts with it.

Needs: pip install torch tokenizers safetensors.   Usage: make_reader.py OUT_DIR
Writes OUT_DIR/reader/tiny/ (as embed/reader_train/export.py writes a trained one: int8 with scales, float16) and
OUT_DIR/reader/expected.json: pairs, and per pair the ids and types of its first window, the relevance and answerable logits,
the spans in bytes, and the three support logits. Windows have 192 tokens, so that the long texts take several.
"""
import json, os, sys, unicodedata
import torch
from tokenizers import BertWordPieceTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "embed", "reader_train"))
from export import folder_read, folder_write
from model import HEADS, Reader, best_spans, collate, pair_windows

OUT, LENGTH, SPANS = os.path.join(sys.argv[1], "reader"), 192, 3
LONG = "The office in the old harbour opens at nine. Employees book travel two weeks ahead; cats sleep all day. " * 14
PAIRS = [
    ("How many days of leave may employees carry over?", "Leave", "Employees may carry over five days of leave."),
    ("When does the office open?", None, LONG),
    ("When does the office open?", "Hours of the old harbour", LONG + "It's closed on (some) days, e.g. 3.14. " + LONG),
    ("na\u00efve caf\u00e9?", "Stra\u00dfe \u0130stanbul", "mixed \u4e2d\u6587 and English \u2014 \u201cquotes\u201d \u00bd \u20ac5, don't stop! \u00c9t\u00e9 a\u0301b"),
    ("", None, "a"), ("what", None, ""), ("what", "", "  \n "), ("[SEP] what is [MASK]", None, "[CLS] text [SEP]"),
    ("long " * 90, "title " * 40, "one two, three; four."), ("tab\tnew\nline", None, "tab\tnew\nline\u200bx supercalifragilisticexpialidocious"),
]
with open(os.path.join(HERE, "embedders", "tiny-bge-en", "vocab.txt")) as f:
    vocab = f.read().split("\n")[:-1]

torch.manual_seed(4)
config = {"vocab_size": len(vocab), "type_vocab_size": 2, "num_hidden_layers": 2, "hidden_size": 36, "num_attention_heads": 3,
    "intermediate_size": 50, "max_position_embeddings": 256, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0}
model = Reader(config=config).eval()
for name, p in model.named_parameters():
    if "LayerNorm.weight" in name: p.data = 1 + 0.2 * torch.randn_like(p)
    elif "bias" in name: p.data = 0.1 * torch.randn_like(p)
    elif "embeddings" in name: p.data = torch.randn_like(p)
    else: p.data = torch.randn_like(p) * 1.5 / p.shape[1] ** 0.5
os.makedirs(OUT, exist_ok=True)
folder_write(model, os.path.join(HERE, "embedders", "tiny-bge-en", "vocab.txt"), os.path.join(OUT, "tiny"), LENGTH, {"about": "random"})
model = folder_read(os.path.join(OUT, "tiny"))
plain = BertWordPieceTokenizer(os.path.join(OUT, "tiny", "vocab.txt"), lowercase=True)._tokenizer
plain.encode_special_tokens = True

def apart(c):
    """0: of a word; 1: white space; 2: a word of its own. As nn/wordpiece.h says."""
    if c in " \t\n\r": return 1
    if (33 <= ord(c) <= 126 and not c.isalnum()) or unicodedata.category(c)[0] == "P": return 2
    if ord(c) < 128 or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co"): return 0
    if c.isspace(): return 1
    return 2 if 0x4e00 <= ord(c) <= 0x9fff else 0

def words(text, a, b):
    """Code points a to b widened to whole words, in bytes."""
    while a > 0 and apart(text[a]) == 0 and apart(text[a - 1]) == 0: a -= 1
    while b < len(text) and apart(text[b - 1]) == 0 and apart(text[b]) == 0: b += 1
    return len(text[:a].encode()), len(text[:b].encode())

def apart_of(spans):
    """The best, then the best of those that leave it alone ..."""
    kept = []
    for s in sorted(spans, key=lambda s: -s[2]):
        if len(kept) < SPANS and not any(s[0] < k[1] and k[0] < s[1] for k in kept): kept.append(s)
    return kept

result = []
with torch.no_grad():
    for first, title, text in PAIRS:
        windows, kept, figures = pair_windows(plain, first, title, text, LENGTH), [], []
        for w in windows:
            b = collate([w])
            x, cls = model(b)
            s = model.spans(x, b)[0]
            figures.append({h: getattr(model, h)(cls, model.drop)[0].tolist() for h in HEADS})
            kept = apart_of(kept + apart_of([[*words(text, a, z), round(v, 5)] for v, a, z in best_spans(s[:, 0], s[:, 1], w, 100000)]))
        best = max(figures, key=lambda f: f["support"][0] - max(f["support"][1:]))
        result.append({"first": first, "title": title, "text": text, "ids": windows[0].ids, "second": windows[0].second, "windows": len(windows),
            "relevance": round(max(f["relevance"][0] for f in figures), 6), "answerable": round(max(f["answerable"][0] for f in figures), 6),
            "spans": kept, "support": [round(v, 6) for v in best["support"]]})
with open(os.path.join(OUT, "expected.json"), "w") as f:
    f.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('},{', '},\n{') + "\n")
