"""Tiny embedders with random weights in the folder layouts of real ones, and what sentence-transformers makes of texts with them.

Needs: pip install torch transformers sentence-transformers.   Usage: make_embedders.py OUT_DIR
Writes OUT_DIR/embedders/NAME/ and OUT_DIR/embedders/expected.json: per model the prefixes, and per text the ids and vectors of
it as a query and as a passage.
  tiny-bge-en  layout of the BAAI/bge-*-en-v1.5 folders: CLS, normalised, vocab.txt, float32; prompts in config_sentence_transformers.json
  tiny-e5      as the library saves today: mean, normalised, only tokenizer.json, float16, tensor names behind "bert."; sizes that
               are no multiple of a vector
  tiny-gte     layout of the thenlper/gte-* folders: mean, normalised, bfloat16, relu, 128 positions; no prefixes
"""
import json, os, re, sys
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

OUT = os.path.join(sys.argv[1], "embedders")
HERE = os.path.dirname(os.path.abspath(__file__))
BGE = "Represent this sentence for searching relevant passages: "
TEXTS = ["Hello world", "", "a", "How many days of leave may employees carry over?", "Don't stop! It's 3.14, isn't it?",
    "na\u00efve caf\u00e9 \u2014 \u201cquotes\u201d \u00bd \u20ac5", "Stra\u00dfe \u0130stanbul \u0141\u00d3D\u0179", "mixed \u4e2d\u6587 and English",
    "query: passage: text", "tab\tnew\nline", "supercalifragilisticexpialidocious", "Employees book travel at least two weeks ahead. " * 60]

words = re.findall("[a-z]+", " ".join(open(os.path.join(HERE, "..", "..", f)).read().lower() for f in ["ARCHITECTURE.md", "CONTRIBUTING.md"]))
common = sorted({w for w in words if len(w) > 2 and words.count(w) > 2}, key=lambda w: (-words.count(w), w))[:180]
signs = [chr(c) for c in range(33, 127) if not 65 <= c <= 90]
pieces = ["##" + chr(c) for c in range(97, 123)] + ["##" + d for d in "0123456789"] + ["##s", "##ing", "##ed", "##er", "##ly", "##ion"]
named = ["employees", "query", "passage", "represent", "sentence", "searching", "relevant", "days", "leave", "\u4e2d", "\u6587", "\u20ac", "\u00df", "\u2014"]
vocab = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + signs + pieces + common + named))

def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(value if isinstance(value, str) else json.dumps(value, indent=2) + "\n")

def model_make(seed, **sizes):
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(vocab), type_vocab_size=2, num_hidden_layers=2, **sizes)
    model = BertModel(config, add_pooling_layer=True).eval()
    for name, p in model.named_parameters():
        if "LayerNorm.weight" in name: p.data = 1 + 0.2 * torch.randn_like(p)
        elif "bias" in name: p.data = 0.1 * torch.randn_like(p)
        elif "embeddings" in name: p.data = torch.randn_like(p)
        else: p.data = torch.randn_like(p) * 1.5 / p.shape[1] ** 0.5
    return model

def old_layout(name, model, pooling, dtype, positions, prompts):
    d = os.path.join(OUT, name)
    c = model.config.to_dict()
    keep = ["attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size", "initializer_range", "intermediate_size",
        "layer_norm_eps", "max_position_embeddings", "num_attention_heads", "num_hidden_layers", "pad_token_id", "type_vocab_size", "vocab_size"]
    write(f"{d}/config.json", {"architectures": ["BertModel"], "model_type": "bert", "position_embedding_type": "absolute", **{k: c[k] for k in keep}})
    write(f"{d}/vocab.txt", "\n".join(vocab) + "\n")
    write(f"{d}/tokenizer_config.json", {"do_lower_case": True, "do_basic_tokenize": True, "strip_accents": None, "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer", "model_max_length": positions, "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
        "pad_token": "[PAD]", "mask_token": "[MASK]"})
    write(f"{d}/special_tokens_map.json", {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"})
    write(f"{d}/sentence_bert_config.json", {"max_seq_length": positions, "do_lower_case": True})
    write(f"{d}/modules.json", [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{t}"}
        for i, (p, t) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])])
    write(f"{d}/1_Pooling/config.json", {"word_embedding_dimension": c["hidden_size"], "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})
    if prompts:
        write(f"{d}/config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    tensors = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}
    tensors["embeddings.position_ids"] = torch.arange(positions).unsqueeze(0)
    save_file(tensors, f"{d}/model.safetensors", metadata={"format": "pt"})

def new_layout(name, model, positions):
    d = os.path.join(OUT, name)
    start = os.path.join(OUT, "start")
    write(f"{start}/vocab.txt", "\n".join(vocab) + "\n")
    BertTokenizerFast(vocab=f"{start}/vocab.txt", do_lower_case=True, model_max_length=positions).save_pretrained(start)
    model.save_pretrained(start)
    body = Transformer(start, max_seq_length=positions)
    SentenceTransformer(modules=[body, Pooling(model.config.hidden_size, "mean"), Normalize()], device="cpu").save(d, create_model_card=False)
    for root, _, files in os.walk(start, topdown=False):
        for f in files: os.unlink(os.path.join(root, f))
        os.rmdir(root)
    tensors = {"bert." + k: v.half() for k, v in load_file(f"{d}/model.safetensors").items()}
    save_file(tensors, f"{d}/model.safetensors", metadata={"format": "pt"})
    if os.path.exists(f"{d}/vocab.txt"): os.unlink(f"{d}/vocab.txt")

def float_model(name):
    """The saved folder in float32, with the names that the library wants."""
    d = os.path.join(OUT, name)
    m = SentenceTransformer(d, device="cpu", model_kwargs={"dtype": torch.float32})
    tensors = {re.sub("^bert[.]", "", k): v for k, v in load_file(f"{d}/model.safetensors").items() if "position_ids" not in k}
    body = m[0].auto_model
    body.load_state_dict({k: v.float() for k, v in tensors.items() if k in body.state_dict()})
    return m.eval()

old_layout("tiny-bge-en", model_make(1, hidden_size=32, num_attention_heads=4, intermediate_size=64, max_position_embeddings=512), "cls",
    torch.float32, 512, {"query": BGE, "passage": ""})
new_layout("tiny-e5", model_make(2, hidden_size=36, num_attention_heads=3, intermediate_size=50, max_position_embeddings=512), 512)
old_layout("tiny-gte", model_make(3, hidden_size=48, num_attention_heads=4, intermediate_size=96, max_position_embeddings=128, hidden_act="relu"),
    "mean", torch.bfloat16, 128, None)
result = {"texts": TEXTS, "models": {}}
for name, query, passage in [("tiny-bge-en", BGE, ""), ("tiny-e5", "query: ", "passage: "), ("tiny-gte", "", "")]:
    m = float_model(name)
    one = {"query_prefix": query, "passage_prefix": passage, "max_tokens": m.max_seq_length}
    for kind, prefix in [("query", query), ("passage", passage)]:
        one[kind + "_ids"] = [m.tokenizer(prefix + t, truncation=True, max_length=m.max_seq_length)["input_ids"] for t in TEXTS]
        v = m.encode([prefix + t for t in TEXTS], batch_size=1, convert_to_numpy=True)
        one[kind + "_vectors"] = [[round(float(x), 8) for x in row] for row in v]
    result["models"][name] = one
with open(os.path.join(OUT, "expected.json"), "w") as f:
    f.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('],"', '],\n"') + "\n")
