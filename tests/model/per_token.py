"""The network as one would write it down without thinking of cost: vectorised torch, any dtype.

Written from docs/onediffusion.md; the arm `benchmarks/network.py` measures against, checked against the numpy reference
like the network itself. What it does plainly: time and modulation per token; a dense rotary table over (frame, row,
column), made once, sliced at each call; keys and values repeated to all heads before the rotation; text padded, with a
dense mask, its keys and values made anew in each call. What it does not do: loops, copies to float64, a mask in
self-attention, or anything else to look slow.
"""

import torch
from torch.nn import functional


class PerTokenNetwork:
    """Runs on the state dict of a `NextDiT` of plain sizes (qk_norm, no pred_sigma); weights are shared, not copied."""

    def __init__(self, weights, num_heads, num_kv_heads, extent, norm_eps=1e-5, attn_softcap=None):
        self.weights, self.heads, self.kv_heads = weights, num_heads, num_kv_heads
        self.eps, self.softcap = norm_eps, attn_softcap
        self.depth = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
        head_dim = weights["x_embedder.weight"].shape[0] // num_heads
        self.table = dense_table(extent, head_dim)

    def __call__(self, samples, times, states, mask):
        """Return (B,N,C,h,w) for samples of that shape, times (B,N), states (B,M,Y) and mask (B,M)."""
        batch, views, channels, height, width = samples.shape
        rows, columns = height // 2, width // 2
        w = self.weights
        times = times[:, :, None, None, None].expand_as(samples)
        x = self.linear("x_embedder", to_patches(samples))
        token_times = to_patches(times).mean(-1)
        half = torch.arange(128, device=x.device, dtype=torch.float32)
        angles = token_times.float()[..., None] * torch.exp(-torch.log(torch.tensor(10000.0)) * half / 128)
        sinusoids = torch.cat([angles.cos(), angles.sin()], -1).to(x.dtype)
        embedded = self.linear("t_embedder.mlp.2", functional.silu(self.linear("t_embedder.mlp.0", sinusoids)))
        real = mask.to(x.dtype)[..., None]
        pooled = (states * real).sum(1) / real.sum(1)
        pooled = functional.layer_norm(
            pooled, pooled.shape[-1:], w["y_embedder.0.weight"], w["y_embedder.0.bias"], 1e-6
        )
        condition = embedded + self.linear("y_embedder.1", pooled)[:, None]
        turns = self.table[:views, :rows, :columns].reshape(-1, self.table.shape[-1])
        for i in range(self.depth):
            x = self.block(f"layers.{i}.", x, condition, states, mask.bool(), turns)
        scale = self.linear("final_layer.adaLN_modulation.1", functional.silu(condition))
        out = self.linear("final_layer.linear", functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale))
        out = out.reshape(batch, views, rows, columns, 2, 2, channels)
        return out.permute(0, 1, 6, 2, 4, 3, 5).reshape(samples.shape)

    def block(self, name, x, condition, states, mask, turns):
        modulation = self.linear(name + "adaLN_modulation.1", functional.silu(condition))
        scale1, gate1, scale2, gate2 = modulation.chunk(4, -1)
        text = self.rms_norm(name + "attention_y_norm", states)
        h = self.rms_norm(name + "attention_norm1", x) * (1 + scale1)
        h = self.attention(name + "attention.", h, text, mask, turns)
        x = x + gate1.tanh() * self.rms_norm(name + "attention_norm2", h)
        h = self.rms_norm(name + "ffn_norm1", x) * (1 + scale2)
        h = functional.silu(self.linear(name + "feed_forward.w1", h)) * self.linear(name + "feed_forward.w3", h)
        return x + gate2.tanh() * self.rms_norm(name + "ffn_norm2", self.linear(name + "feed_forward.w2", h))

    def attention(self, name, x, text, mask, turns):
        groups = self.heads // self.kv_heads
        query = self.split(self.layer_norm(name + "q_norm", self.linear(name + "wq", x), 1e-5), self.heads)
        key = self.split(self.layer_norm(name + "k_norm", self.linear(name + "wk", x), 1e-5), self.kv_heads)
        value = self.split(self.linear(name + "wv", x), self.kv_heads).repeat_interleave(groups, 1)
        query, key = rotate(query, turns), rotate(key.repeat_interleave(groups, 1), turns)
        if self.softcap is None:
            out = functional.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            out = (self.softcap * torch.tanh(scores / self.softcap)).softmax(-1) @ value
        text_key = self.split(self.layer_norm(name + "ky_norm", self.linear(name + "wk_y", text), 1e-6), self.kv_heads)
        text_value = self.split(self.linear(name + "wv_y", text), self.kv_heads)
        text_key, text_value = text_key.repeat(1, groups, 1, 1), text_value.repeat(1, groups, 1, 1)
        attend = functional.scaled_dot_product_attention
        from_text = attend(query, text_key, text_value, attn_mask=mask[:, None, None])
        out = out + self.weights[name + "gate"].tanh()[:, None, None] * from_text
        return self.linear(name + "wo", out.transpose(1, 2).flatten(2))

    def linear(self, name, x):
        return functional.linear(x, self.weights[name + ".weight"], self.weights.get(name + ".bias"))

    def rms_norm(self, name, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weights[name + ".weight"]

    def layer_norm(self, name, x, eps):
        return functional.layer_norm(x, x.shape[-1:], self.weights[name + ".weight"], self.weights[name + ".bias"], eps)

    @staticmethod
    def split(x, heads):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def to_patches(views):
    batch, num_views, channels, height, width = views.shape
    patches = views.reshape(batch, num_views, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 1, 3, 5, 4, 6, 2).reshape(batch, -1, 4 * channels)


def rotate(heads, turns):
    return torch.view_as_real(torch.view_as_complex(heads.unflatten(-1, (-1, 2))) * turns).flatten(-2)


def dense_table(extent, head_dim):
    """Return the turns of every (frame, row, column), complex (frames, rows, columns, head_dim/2)."""
    frequency = 10000.0 ** (-torch.arange(head_dim // 6, dtype=torch.float64) / (head_dim // 6))
    angles = [torch.arange(length, dtype=torch.float64)[:, None] * frequency for length in extent]
    frame, row, column = (torch.polar(torch.ones_like(angle), angle) for angle in angles)
    shape = (*extent, head_dim // 6)
    table = [frame[:, None, None].expand(shape), row[None, :, None].expand(shape), column[None, None].expand(shape)]
    return torch.cat(table, -1).to(torch.complex64)
