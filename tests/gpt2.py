"""GPT-2's forward pass once more, from its tensors by name, one text at a time, in numpy and double precision."""

import numpy as np
from scipy.special import erf


def by_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + np.exp(-x))


ACTIVATIONS = {
    "gelu_new": by_tanh,
    "gelu_pytorch_tanh": by_tanh,
    "gelu_fast": by_tanh,
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": silu,
    "swish": silu,
}


def gpt2(tensors, tokens, layers, heads, activation="gelu_new", epsilon=1e-5):
    """Logits [B, T, V]. Without `lm_head.weight` among the tensors they are products with `wte.weight`."""
    w = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}

    def norm(name, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt(x.var(-1, keepdims=True) + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(name, x):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    out = []
    for text in np.asarray(tokens):
        x = w["wte.weight"][text] + w["wpe.weight"][: len(text)]
        for block in (f"h.{layer}" for layer in range(layers)):
            q, k, v = np.split(linear(f"{block}.attn.c_attn", norm(f"{block}.ln_1", x)), 3, -1)
            mixed = []
            for q_h, k_h, v_h in zip(*(np.split(part, heads, -1) for part in (q, k, v)), strict=True):
                scores = q_h @ k_h.T / np.sqrt(q_h.shape[-1])
                scores[np.triu_indices(len(text), 1)] = -np.inf
                share = np.exp(scores - scores.max(-1, keepdims=True))
                mixed.append(share / share.sum(-1, keepdims=True) @ v_h)
            x = x + linear(f"{block}.attn.c_proj", np.concatenate(mixed, -1))
            within = ACTIVATIONS[activation](linear(f"{block}.mlp.c_fc", norm(f"{block}.ln_2", x)))
            x = x + linear(f"{block}.mlp.c_proj", within)
        out.append(norm("ln_f", x) @ w.get("lm_head.weight", w["wte.weight"]).T)
    return np.array(out)
