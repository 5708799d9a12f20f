"""Tiny cross-encoders with random weights, and what transformers makes of pairs of texts with them.

Needs: pip install torch transformers.   Usage: make_cross.py OUT_DIR
Writes OUT_DIR/reader/cross1/ (one output, float32) and OUT_DIR/reader/cross2/ (two, float16), as save_pretrained writes a
BertForSequenceClassification, and OUT_DIR/reader/cross.json: pairs, and the relevance of each by both: the logit of the one
output, or by how much the second of two is over the first; of a long text the most that any of its windows has (192 tokens,
as embed/reader_train/model.py cuts them). A title stands in front of its text.
"""
import json, os, shutil, sys
import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "embed", "reader_train"))
from model import pair_windows

OUT, LENGTH = os.path.join(sys.argv[1], "reader"), 192
LONG = "The office in the old harbour opens at nine. Employees book travel two weeks ahead; cats sleep all day. " * 14
PAIRS = [
    ("How many days of leave may employees carry over?", None, "Employees may carry over five days of leave."),
    ("How many days of leave may employees carry over?", "Leave", "Employees may carry over five days of leave."),
    ("When does the office open?", None, LONG), ("", None, "a"), ("what", None, ""),
    ("na\u00efve caf\u00e9?", None, "mixed \u4e2d\u6587 and English \u2014 \u201cquotes\u201d \u00bd, don't stop!"),
]
words = os.path.join(HERE, "embedders", "tiny-bge-en", "vocab.txt")
with open(words) as f:
    size = len(f.read().split("\n")) - 1
plain = BertWordPieceTokenizer(words, lowercase=True)._tokenizer
plain.encode_special_tokens = True
result = [{"first": a, "title": t, "text": b} for a, t, b in PAIRS]
for outputs in (1, 2):
    torch.manual_seed(outputs)
    model = BertForSequenceClassification(BertConfig(vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=LENGTH, num_labels=outputs)).eval()
    for name, p in model.named_parameters():
        if "LayerNorm.weight" in name: p.data = 1 + 0.2 * torch.randn_like(p)
        elif "bias" in name: p.data = 0.1 * torch.randn_like(p)
        elif "embeddings" in name: p.data = torch.randn_like(p)
        else: p.data = torch.randn_like(p) * 1.5 / p.shape[1] ** 0.5
    folder = os.path.join(OUT, f"cross{outputs}")
    (model.half() if outputs == 2 else model).save_pretrained(folder)
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    model = model.float()            # of the rounded weights
    shutil.copyfile(words, os.path.join(folder, "vocab.txt"))
    for row, (first, title, text) in zip(result, PAIRS):
        scores = []
        for w in pair_windows(plain, first, "", f"{title} {text}" if title else text, LENGTH):
            types = [int(i >= w.second) for i in range(len(w.ids))]
            x = model(input_ids=torch.tensor([w.ids]), token_type_ids=torch.tensor([types])).logits[0].tolist()
            scores.append(x[0] if outputs == 1 else x[1] - x[0])
        row[f"cross{outputs}"] = round(max(scores), 6)
with open(os.path.join(OUT, "cross.json"), "w") as f:
    f.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('},{', '},\n{') + "\n")
