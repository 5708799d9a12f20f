"""OpenVINO GenAI on a GGUF file: prefill and decode. Usage: peer_openvino.py MODEL.gguf PROMPT_TOKENS WRITTEN THREADS REPEAT. One JSON line."""
import json, statistics, sys, time
import openvino_genai as g

path, prompt, written, threads, repeat = sys.argv[1], *map(int, sys.argv[2:])
began = time.time()
pipe = g.LLMPipeline(path, "CPU", {"INFERENCE_NUM_THREADS": threads})
opened = time.time() - began
config = g.GenerationConfig()
config.max_new_tokens, config.ignore_eos, config.do_sample, config.apply_chat_template = written, True, False, False
prefill, decode, tokens = [], [], 0
# Other words each time: a repeated prompt would be served from the cache of beginnings. The first run warms up.
for run in range(repeat + 1):
    word = ("dog", "cat", "cow", "hen", "fox", "owl", "pig", "bee")[run % 8]
    metrics = pipe.generate([f"{word} The quick brown {word} jumps over the lazy dog near the old river bank. " * (prompt // 16)], config).perf_metrics
    tokens = metrics.get_num_input_tokens()
    if run:
        prefill.append(tokens / metrics.get_ttft().mean * 1000)
        decode.append(1000 / metrics.get_tpot().mean)
print(json.dumps({"prompt_tokens": tokens, "prefill_tps": statistics.median(prefill), "decode_tps": statistics.median(decode), "open_ms": opened * 1000}))
