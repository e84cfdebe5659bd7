"""OneDiffusion's network in float64 numpy, token by token, straight from docs/onediffusion.md.

Slow on purpose and sharing nothing with `onegen.model`: every token carries its own time and modulation, every head is
a loop, rotary positions are looked up in a dense (frame, row, column) table, and padded text tokens are masked.
"""

from dataclasses import dataclass

import numpy as np

Weights = dict[str, np.ndarray]


@dataclass
class Shape:
    """What the weights alone do not tell."""

    num_heads: int
    num_kv_heads: int
    patch: int = 2
    norm_eps: float = 1e-5
    qk_norm: bool = True
    pred_sigma: bool = False
    attn_softcap: float | None = None


def velocity(weights, shape, samples, times, states, mask, scale_factor=1.0, scale_watershed=1.0):
    """Return (B,N,C,h,w) for samples of that shape, times (B,N), text states (B,M,Y) and mask (B,M)."""
    return np.stack(
        [
            sample_velocity(
                weights, shape, list(samples[b]), times[b], states[b], mask[b], scale_factor, scale_watershed
            )
            for b in range(len(samples))
        ]
    )


def sample_velocity(weights, shape, views, times, states, mask, scale_factor=1.0, scale_watershed=1.0):
    """Return the list of velocities (C,h,w) of one sample's views (C,h,w), which may differ in size."""
    p = shape.patch
    tokens, token_times, positions = [], [], []
    for n, view in enumerate(views):
        for row in range(view.shape[1] // p):
            for column in range(view.shape[2] // p):
                patch = view[:, row * p : row * p + p, column * p : column * p + p]
                tokens.append([patch[c, i, j] for i in range(p) for j in range(p) for c in range(view.shape[0])])
                token_times.append(times[n])
                positions.append((n, row, column))
    x = linear(weights, "x_embedder", np.array(tokens, dtype=np.float64))
    real = states[mask.astype(bool)]
    pooled = real.mean(0) if len(real) else np.zeros(states.shape[-1])
    pooled = layer_norm(pooled, weights["y_embedder.0.weight"], weights["y_embedder.0.bias"], 1e-6)
    pooled = linear(weights, "y_embedder.1", pooled)
    condition = np.stack([time_embedding(weights, t) + pooled for t in token_times])
    head_dim = x.shape[1] // shape.num_heads
    factor = {"divisor": 1.0, "base": 10000.0}
    if scale_factor != 1.0 and max(times) < scale_watershed:
        factor["divisor"] = scale_factor
    elif scale_factor != 1.0:
        factor["base"] = 10000.0 * scale_factor
    turns = np.stack([dense_turn(position, head_dim, **factor) for position in positions])
    depth = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    for i in range(depth):
        block = {name.removeprefix(f"layers.{i}."): w for name, w in weights.items() if name.startswith(f"layers.{i}.")}
        x = block_forward(block, shape, x, condition, states, mask, turns)
    scale = linear(weights, "final_layer.adaLN_modulation.1", silu(condition))
    out = linear(weights, "final_layer.linear", layer_norm(x, 1.0, 0.0, 1e-6) * (1 + scale))
    result, k = [], 0
    for view in views:
        channels = view.shape[0] * (2 if shape.pred_sigma else 1)
        image = np.zeros((channels, *view.shape[1:]))
        for row in range(view.shape[1] // p):
            for column in range(view.shape[2] // p):
                image[:, row * p : row * p + p, column * p : column * p + p] = (
                    out[k].reshape(p, p, channels).transpose(2, 0, 1)
                )
                k += 1
        result.append(image[: view.shape[0]])
    return result


def block_forward(w, shape, x, condition, states, mask, turns):
    scale1, gate1, scale2, gate2 = np.split(linear(w, "adaLN_modulation.1", silu(condition)), 4, axis=1)
    eps = shape.norm_eps
    h = rms_norm(x, w["attention_norm1.weight"], eps) * (1 + scale1)
    h = attention(w, shape, h, rms_norm(states, w["attention_y_norm.weight"], eps), mask, turns)
    x = x + np.tanh(gate1) * rms_norm(h, w["attention_norm2.weight"], eps)
    h = rms_norm(x, w["ffn_norm1.weight"], eps) * (1 + scale2)
    h = linear(w, "feed_forward.w2", silu(linear(w, "feed_forward.w1", h)) * linear(w, "feed_forward.w3", h))
    return x + np.tanh(gate2) * rms_norm(h, w["ffn_norm2.weight"], eps)


def attention(w, shape, x, text, mask, turns):
    heads, kv_heads = shape.num_heads, shape.num_kv_heads
    query, key, value = (linear(w, f"attention.{name}", x) for name in ("wq", "wk", "wv"))
    text_key, text_value = linear(w, "attention.wk_y", text), linear(w, "attention.wv_y", text)
    if shape.qk_norm:  # over all heads jointly, before the split
        query = layer_norm(query, w["attention.q_norm.weight"], w["attention.q_norm.bias"], 1e-5)
        key = layer_norm(key, w["attention.k_norm.weight"], w["attention.k_norm.bias"], 1e-5)
        text_key = layer_norm(text_key, w["attention.ky_norm.weight"], w["attention.ky_norm.bias"], 1e-6)
    query, text_key, text_value = (
        np.split(t, n, 1) for t, n in ((query, heads), (text_key, kv_heads), (text_value, kv_heads))
    )
    key, value = np.split(key, kv_heads, 1), np.split(value, kv_heads, 1)
    out = []
    for j in range(heads):
        q = turn(query[j], turns)
        head = softmax_attention(
            q, turn(key[j // (heads // kv_heads)], turns), value[j // (heads // kv_heads)], None, shape.attn_softcap
        )
        if mask.any():
            from_text = softmax_attention(q, text_key[j % kv_heads], text_value[j % kv_heads], mask, None)
            head = head + np.tanh(w["attention.gate"][j]) * from_text
        out.append(head)
    return linear(w, "attention.wo", np.concatenate(out, 1))


def softmax_attention(query, key, value, mask, softcap):
    scores = query @ key.T / np.sqrt(query.shape[1])
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    if mask is not None:
        scores = np.where(mask.astype(bool), scores, -np.inf)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True) @ value


def dense_turn(position, head_dim, divisor, base):
    """Return the complex turns (head_dim/2,) of one token: a third of the pairs per axis."""
    pairs = head_dim // 6
    return np.exp([1j * (index / divisor) * base ** (-i / pairs) for index in position for i in range(pairs)])


def turn(head, turns):
    pairs = (head[:, 0::2] + 1j * head[:, 1::2]) * turns
    out = np.empty_like(head)
    out[:, 0::2], out[:, 1::2] = pairs.real, pairs.imag
    return out


def time_embedding(weights, t):
    t = np.float64(np.float32(t))
    angles = [np.float32(np.float32(t) * np.exp(np.float32(-np.log(10000.0) * k / 128))) for k in range(128)]
    sinusoids = np.concatenate([np.cos(np.float64(angles)), np.sin(np.float64(angles))])
    return linear(weights, "t_embedder.mlp.2", silu(linear(weights, "t_embedder.mlp.0", sinusoids)))


def linear(weights, name, x):
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def rms_norm(x, weight, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def silu(x):
    return x / (1 + np.exp(-x))
