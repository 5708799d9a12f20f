#!/usr/bin/env python3
"""llama.cpp and vLLM at the work of tests/gpu/time_models.c, where a machine has them: 256 tokens before, 64 written, by 1, 16 and 64 sequences;
a prompt of 2048. Weights are random: llama.cpp reads the files that the measurements before it made, vLLM fills the sizes with what it likes.
Usage: peer_serving.py llama|vllm MODELS. Prints lines of JSON."""
import json, os, subprocess, sys, tempfile, time

BEFORE, WRITTEN, PROMPT, TOGETHER = 256, 64, 2048, (1, 16, 64)
FILES = [("1.5b", "BF16"), ("1.5b", "Q4_K"), ("8b", "Q8_0")]
CONFIGS = {
    "1.5b": dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
                 num_key_value_heads=2, vocab_size=151936, max_position_embeddings=8192, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True,
                 hidden_act="silu", torch_dtype="bfloat16", bos_token_id=1, eos_token_id=2),
}


def say(**line):
    print(json.dumps(line), flush=True)


def llama(models):
    for size, kind in FILES:
        path = os.path.join(models, f"{size}-{kind}.gguf")
        if not os.path.exists(path):
            say(work="missing", peer="llama.cpp", why=f"{size} {kind}: its file was not made (ONLY=time,peers makes it)")
            continue
        p = subprocess.run(["llama-bench", "-m", path, "-p", str(PROMPT), "-n", str(WRITTEN), "-ngl", "99", "-o", "json"], capture_output=True, text=True)
        if p.returncode:
            say(work="missing", peer="llama.cpp", why=f"{size} {kind}: {(p.stderr.strip().splitlines() or ['?'])[-1][:160]}")
            continue
        for r in json.loads(p.stdout):
            if r["n_gen"]:
                say(work="decode", peer="llama.cpp", model=size, type=kind, n=1, tokens_per_s=r["avg_ts"], version=str(r.get("build_number", "")))
            else:
                say(work="prompt", peer="llama.cpp", model=size, type=kind, n=PROMPT, ms=r["avg_ns"] / 1e6, tokens_per_s=r["avg_ts"])
        try:
            p = subprocess.run(["llama-batched-bench", "-m", path, "-npp", str(BEFORE), "-ntg", str(WRITTEN), "-npl", ",".join(map(str, TOGETHER)),
                                "-c", str(TOGETHER[-1] * (BEFORE + WRITTEN)), "-ngl", "99", "--output-format", "jsonl"], capture_output=True, text=True)
        except FileNotFoundError:
            say(work="missing", peer="llama.cpp", why="no llama-batched-bench in PATH")
            continue
        for line in p.stdout.splitlines():
            if line.startswith("{"):
                r = json.loads(line)
                say(work="decode", peer="llama.cpp", model=size, type=kind, n=r["pl"], tokens_per_s=r["speed_tg"], how="batched-bench")


def vllm(_):
    os.environ.setdefault("VLLM_USE_MODELSCOPE", "0")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import vllm
    for size, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "config.json"), "w") as f:
                json.dump(config, f)
            m = vllm.LLM(model=folder, load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16", max_model_len=PROMPT + 64, enable_prefix_caching=False,
                         gpu_memory_utilization=0.5)

            def run(n, before, written):
                q = [{"prompt_token_ids": [(i * 7 + s * 13 + 5) % 150000 for i in range(before)]} for s in range(n)]
                start = time.perf_counter()
                m.generate(q, vllm.SamplingParams(temperature=0, max_tokens=written, ignore_eos=True, detokenize=False), use_tqdm=False)
                return time.perf_counter() - start
            for n in TOGETHER:
                run(n, BEFORE, 4)
                first, whole = min(run(n, BEFORE, 1) for _ in range(2)), min(run(n, BEFORE, 1 + WRITTEN) for _ in range(2))
                say(work="decode", peer="vllm", model=size, type="BF16", n=n, tokens_per_s=n * WRITTEN / (whole - first), version=vllm.__version__)
            run(1, PROMPT, 1)
            s = min(run(1, PROMPT, 1) for _ in range(3))
            say(work="prompt", peer="vllm", model=size, type="BF16", n=PROMPT, ms=s * 1000, tokens_per_s=PROMPT / s)


if __name__ == "__main__":
    sys.exit({"llama": llama, "vllm": vllm}[sys.argv[1]](sys.argv[2]))
