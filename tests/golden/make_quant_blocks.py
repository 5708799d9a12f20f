"""Blocks of every weight type that Footnote reads, and what ggml's own numpy code makes of them: quant_blocks.bin.

Needs: pip install gguf numpy.   Usage: make_quant_blocks.py OUT_DIR
A part per type, little-endian: its number in GGUF files, the bytes of its blocks, the floats they come to (three uint32), the blocks,
the floats. The first blocks of a type are quantised from normal numbers where the package can do so; the others are random bytes
with chosen 16-bit scales: ordinary, zero, smallest subnormal, largest, and negative ones.
"""
import struct, sys
import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

rng = np.random.default_rng(7)
# byte offsets of the 16-bit scales in a block
SCALES = {T.F32: [], T.F16: [0], T.BF16: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2],
          T.Q5_K: [0, 2], T.Q6_K: [208]}
CHOSEN = [0x3c00, 0x0000, 0x0001, 0x7bff, 0x8001, 0xfbff, 0xa3d7, 0x2e66]

with open(f"{sys.argv[1]}/quant_blocks.bin", "wb") as f:
    for t, places in SCALES.items():
        weights, size = GGML_QUANT_SIZES[t]
        blocks = []
        try:
            normal = rng.standard_normal((2, max(weights, 32))).astype(np.float32)
            blocks.append(quantize(normal, t).view(np.uint8).reshape(-1, size))
        except NotImplementedError:
            pass
        if places:
            made = rng.integers(0, 256, (len(CHOSEN), size), dtype=np.uint8)
            for i, row in enumerate(made):
                for p, at in enumerate(places):
                    row[at:at + 2] = np.frombuffer(struct.pack("<H", CHOSEN[(i + 3 * p) % len(CHOSEN)]), np.uint8)
            blocks.append(made)
        data = np.concatenate(blocks).reshape(-1)
        floats = dequantize(data.view(np.float32) if t == T.F32 else data.view(np.float16) if t == T.F16 else data, t)
        floats = np.ascontiguousarray(floats, dtype="<f4").reshape(-1)
        f.write(struct.pack("<III", int(t), data.size, floats.size) + data.tobytes() + floats.tobytes())
