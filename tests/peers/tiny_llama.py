# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny Llama or Qwen2 with a tokenizer, and its forward in float64."""
import json

import numpy as np
from safetensors.numpy import save_file


def small_llama(folder, model_type="llama", width=128, layers=2, shared=2):
    """A random model: heads of 32, `shared` query heads a key head, twice the width between, 96 tokens. Folder and weights."""
    random = np.random.default_rng(5)
    folder.mkdir()
    keys, inner = width // shared, 2 * width
    weights = {"model.embed_tokens.weight": (96, width), "lm_head.weight": (96, width), "model.norm.weight": (width,)}
    for i in range(layers):
        p = f"model.layers.{i}."
        weights |= {p + "input_layernorm.weight": (width,), p + "post_attention_layernorm.weight": (width,),
                    p + "self_attn.q_proj.weight": (width, width), p + "self_attn.k_proj.weight": (keys, width),
                    p + "self_attn.v_proj.weight": (keys, width), p + "self_attn.o_proj.weight": (width, width),
                    p + "mlp.gate_proj.weight": (inner, width), p + "mlp.up_proj.weight": (inner, width),
                    p + "mlp.down_proj.weight": (width, inner)}
        if model_type == "qwen2":
            weights |= {p + f"self_attn.{n}_proj.bias": (s,) for n, s in (("q", width), ("k", keys), ("v", keys))}
    scale = 0.1 * (128 / width) ** 0.5
    weights = {name: (random.standard_normal(shape) * (scale if len(shape) == 2 else 0.5) + (0 if len(shape) == 2 else 1)).astype(np.float32)
               for name, shape in weights.items()}
    save_file(weights, folder / "model.safetensors")
    config = {"model_type": model_type, "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
              "num_attention_heads": width // 32, "num_key_value_heads": keys // 32, "max_position_embeddings": 128, "vocab_size": 96,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return folder, weights


def write_tokenizer(folder):
    """Byte-level BPE: 93 letters, AB, ABC and a special token."""
    vocabulary = {chr(33 + i): i for i in range(93)} | {"AB": 93, "ABC": 94}
    tokenizer = {"model": {"type": "BPE", "vocab": vocabulary, "merges": [["A", "B"], ["AB", "C"]]},
                 "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
                 "added_tokens": [{"id": 95, "content": "<|end|>", "special": True}]}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def llama_logits(weights, tokens, neighbours=False):
    """The forward of such a model in float64: rotation of halves as transformers has it, or of neighbours as llama.cpp."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w[name]

    def rotate(x):  # [tokens, heads, 32]
        angle = np.arange(len(tokens))[:, None] * 10000.0 ** (-np.arange(16) / 16)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = (x[..., ::2], x[..., 1::2]) if neighbours else (x[..., :16], x[..., 16:])
        turned = [a * cos - b * sin, b * cos + a * sin]
        return np.stack(turned, -1).reshape(x.shape) if neighbours else np.concatenate(turned, -1)

    x = w["model.embed_tokens.weight"][tokens]
    for i in range(sum(name.endswith("q_proj.weight") for name in w)):
        p = f"model.layers.{i}."
        h = norm(x, p + "input_layernorm.weight")
        q, k, v = ((h @ w[f"{p}self_attn.{n}_proj.weight"].T + w.get(f"{p}self_attn.{n}_proj.bias", 0)).reshape(len(tokens), -1, 32)
                   for n in "qkv")
        shared = q.shape[1] // k.shape[1]
        q, k, v = rotate(q), np.repeat(rotate(k), shared, 1), np.repeat(v, shared, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(32) + np.triu(np.full((len(tokens),) * 2, -np.inf), 1)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", share, v).reshape(len(tokens), -1) @ w[p + "self_attn.o_proj.weight"].T
        h = norm(x, p + "post_attention_layernorm.weight")
        gate = h @ w[p + "mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w[p + "mlp.up_proj.weight"].T)) @ w[p + "mlp.down_proj.weight"].T
    return norm(x, "model.norm.weight") @ w["lm_head.weight"].T


def names_in_gguf(layers=2):
    """What llama.cpp calls the modules, to what the checkpoint does."""
    names = {"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm"}
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    return names | {f"blk.{i}.{k}": f"model.layers.{i}.{v}" for i in range(layers) for k, v in parts.items()}
