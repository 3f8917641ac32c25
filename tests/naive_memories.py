"""Every memory once more, as its paper writes it: one episode from its first step, a loop or a sum over all of it.

A naive form takes the memory's fields, its weights and inputs [T, I], and returns outputs [T, F]. It knows neither
batches nor carries nor resets nor chunks, and keeps no number small.
"""

import jax
import jax.numpy as jnp


def kernel_of(p):
    return jnp.concatenate([p[name] for name in sorted(p) if name.startswith("kernel")])


def dense(p, x):
    return x @ kernel_of(p) + p.get("bias", 0.0)


def loop(step, start, *inputs):
    """Outputs of `state, output = step(state, *inputs at t)`."""
    return jax.lax.scan(lambda state, at: step(state, *at), start, inputs)[1]


def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return jnp.log(1 + jnp.exp(x))


def gelu(x):
    """The approximation that flax has."""
    return 0.5 * x * (1 + jnp.tanh((2 / jnp.pi) ** 0.5 * (x + 0.044715 * x**3)))


def readout(p, state, x):
    return gelu((dense(p["state"], state) + dense(p["input"], x)) / 2**0.5)


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def rms_norm(p, x):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["scale"]


def heads_of(memory, x):
    return x.reshape(len(x), memory.heads, -1)


def table(memory, p, x):
    return x


def feedforward(memory, p, x):
    return jnp.tanh(dense(p["Dense_0"], jnp.tanh(dense(p["InputDense_0"], x))))


def window(memory, p, x):
    embedded = dense(p["InputDense_0"], x)
    zeros = jnp.zeros((memory.window - 1, memory.width))
    padded = jnp.concatenate([zeros, embedded])
    seen = jnp.stack([padded[t : t + memory.window].reshape(-1) for t in range(len(x))])
    return jnp.tanh(dense(p["Dense_1"], jnp.tanh(dense(p["Dense_0"], seen))))


def gates_of(p, x):
    kernels = jnp.concatenate([p[name] for name in sorted(p) if name.startswith("input_kernel")], 1)
    return [x @ kernel + bias for kernel, bias in zip(kernels, p["input_bias"])]


def seen_by(p, h):
    return [h @ kernel + bias for kernel, bias in zip(p["recurrent_kernel"], p["recurrent_bias"])]


def gru(memory, p, x):
    def step(h, reset_x, update_x, new_x):
        reset_h, update_h, new_h = seen_by(p, h)
        z = sigmoid(update_x + update_h)
        n = jnp.tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
        h = (1 - z) * n + z * h
        return h, h

    return loop(step, jnp.zeros(memory.width), *gates_of(p, x))


def lstm(memory, p, x):
    def step(state, *of_x):
        h, c = state
        i, f, o, g = (a + b for a, b in zip(of_x, seen_by(p, h)))
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return loop(step, (jnp.zeros(memory.width),) * 2, *gates_of(p, x))


def nbrc(memory, p, x):
    def step(h, feedback_x, keep_x, new_x):
        feedback_h, keep_h = seen_by(p, h)
        a, c = 1 + jnp.tanh(feedback_x + feedback_h), sigmoid(keep_x + keep_h)
        h = c * h + (1 - c) * jnp.tanh(new_x + a * h)
        return h, h

    return loop(step, jnp.zeros(memory.width), *gates_of(p, x))


def lru(memory, p, x):
    real, imaginary = jnp.split(dense(p["input"], x), 2, -1)
    eigenvalue = jnp.exp(-jnp.exp(p["log_rate"]) + 1j * p["phase"])
    scale = jnp.sqrt((1 - jnp.abs(eigenvalue) ** 2) / 2)

    def step(h, drive):
        h = eigenvalue * h + scale * drive
        return h, jnp.concatenate([h.real, h.imag])

    return readout(p["readout"], loop(step, jnp.zeros(memory.width, complex), real + 1j * imaginary), x)


def s5(memory, p, x):
    """The conjugate pairs as real systems of two states, discretised by the power series of the matrix exponential."""
    real, imaginary = jnp.split(dense(p["input"], x) / 2**0.5, 2, -1)
    rate, frequency, delta = -jnp.exp(p["log_rate"]), p["frequency"], jnp.exp(p["log_step"])
    matrix = jnp.moveaxis(jnp.array([[rate, -frequency], [frequency, rate]]), -1, 0) * delta[:, None, None]
    power = jnp.broadcast_to(jnp.eye(2), matrix.shape)
    kept, held = power, power * delta[:, None, None]
    for n in range(1, 40):
        power = power @ matrix / n
        kept, held = kept + power, held + power * delta[:, None, None] / (n + 1)

    def step(h, drive):
        h = jnp.einsum("nij,nj->ni", kept, h) + jnp.einsum("nij,nj->ni", held, drive)
        return h, jnp.concatenate([h[:, 0], h[:, 1]])

    states = loop(step, jnp.zeros((memory.width, 2)), jnp.stack([real, imaginary], -1))
    return readout(p["readout"], states, x)


def ffm(memory, p, x):
    gamma = jnp.exp(-jnp.abs(p["rate"][:, None]) + 1j * p["frequency"])
    let_in = dense(p["trace"], x) * sigmoid(dense(p["input_gate"], x))

    def step(state, new):
        state = gamma * state + new[:, None]
        return state, jnp.concatenate([state.real.reshape(-1), state.imag.reshape(-1)])

    z = dense(p["mix"], loop(step, jnp.zeros(gamma.shape, complex), let_in))
    g = sigmoid(dense(p["output_gate"], x))
    return layer_norm(z) * g + dense(p["input"], x) * (1 - g)


def mingru(memory, p, x):
    z, new = sigmoid(dense(p["gate"], x) + p["gate_bias"]), dense(p["new"], x)

    def step(h, z, new):
        h = (1 - z) * h + z * new
        return h, h

    return readout(p["readout"], loop(step, jnp.zeros(memory.width), z, new), x)


def bmru(memory, p, x):
    candidate, threshold = dense(p["candidate"], x), jnp.abs(dense(p["threshold"], x) + p["threshold_bias"])
    straight_through = lambda hard, soft: jax.lax.stop_gradient(hard - soft) + soft
    over = jnp.abs(candidate) - threshold
    z = straight_through((over > 0).astype(over.dtype), sigmoid(over))
    new = straight_through(jnp.sign(candidate), jnp.tanh(candidate))

    def step(h, z, new):
        h = z * new + (1 - z) * h
        return h, h

    return readout(p["readout"], loop(step, jnp.zeros(memory.width), z, new), x)


def sinusoids(length, width):
    rate = 1000.0 ** -(jnp.arange(width // 2) / (width // 2 - 1))
    angle = jnp.arange(length)[:, None] * rate
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def linear_attention(memory, p, x):
    query, key, value = jnp.split(dense(p["projection"], x), 3, -1)
    query_place, key_place = jnp.split(dense(p["position"], sinusoids(len(x), memory.width)), 2, -1)
    phi = lambda x: jnp.where(x > 0, x + 1, jnp.exp(x))
    query, key = heads_of(memory, phi(query + query_place)), heads_of(memory, phi(key + key_place))
    weight = jnp.einsum("thd,shd->tsh", query, key) * jnp.tri(len(x))[..., None]
    weight /= weight.sum(1, keepdims=True) + 1e-6
    read = jnp.einsum("tsh,shd->thd", weight, heads_of(memory, value))
    return readout(p["readout"], read.reshape(len(x), -1), x)


def convolved(p, x):
    size = len(p["kernel"])
    padded = jnp.concatenate([jnp.zeros((size - 1, x.shape[-1])), x])
    return sum(p["kernel"][k] * padded[k : k + len(x)] for k in range(size)) + p["bias"]


def decays(p, x):
    step = softplus(dense(p["step"], x) + p["bias"])
    return jnp.exp(-jnp.exp(p["log_rate"]) * step), step


def mamba2(memory, p, x):
    mixed = silu(convolved(p["convolution"], dense(p["projection"], x)))
    value, key, query = jnp.split(mixed, [memory.width, memory.width + memory.state], -1)
    value = heads_of(memory, value)
    decay, delta = decays(p["decay"], x)

    def step(state, decay, delta, value, key, query):
        state = decay[:, None, None] * state + delta[:, None, None] * value[:, :, None] * key
        return state, state @ query + p["skip"] * value

    start = jnp.zeros((*value.shape[1:], memory.state))
    read = loop(step, start, decay, delta, value, key, query).reshape(len(x), -1)
    return readout(p["readout"], rms_norm(p["norm"], read * silu(dense(p["gate"], x))), x)


def gated_deltanet(memory, p, x):
    mixed = silu(convolved(p["convolution"], dense(p["projection"], x)))
    query, key, value = (heads_of(memory, part) for part in jnp.split(mixed, 3, -1))
    unit = lambda x: x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)
    decay, beta = decays(p["decay"], x)[0], sigmoid(dense(p["share"], x))
    outer = lambda a, b: a[..., :, None] * b[..., None, :]

    def step(state, decay, beta, query, key, value):
        decay, beta = decay[:, None, None], beta[:, None, None]
        erased = jnp.eye(key.shape[-1]) - beta * outer(key, key)
        state = state @ (decay * erased) + beta * outer(value, key)
        return state, jnp.einsum("hvk,hk->hv", state, query)

    start = jnp.zeros((memory.heads, value.shape[-1], key.shape[-1]))
    read = rms_norm(p["norm"], loop(step, start, decay, beta, unit(query), unit(key), value)).reshape(len(x), -1)
    return readout(p["readout"], read * silu(dense(p["gate"], x)), x)


def mlstm(memory, p, x):
    query, key, value, out = jnp.split(dense(p["projection"], x), 4, -1)
    into, forget = jnp.split(dense(p["gates"], x), 2, -1)
    query, key, value = (heads_of(memory, part) for part in (query, key, value))
    key = key / key.shape[-1] ** 0.5

    def step(state, i, f, query, key, value):
        cell, normaliser = state
        cell = f[:, None, None] * cell + i[:, None, None] * value[:, :, None] * key[:, None, :]
        normaliser = f[:, None] * normaliser + i[:, None] * key
        below = jnp.maximum(jnp.abs((normaliser * query).sum(-1)), 1)
        return (cell, normaliser), jnp.einsum("hvk,hk->hv", cell, query) / below[:, None]

    start = jnp.zeros((*value.shape[1:], key.shape[-1])), jnp.zeros(key.shape[1:])
    hidden = loop(step, start, jnp.exp(into), sigmoid(forget + p["gate_bias"]), query, key, value)
    return readout(p["readout"], sigmoid(out) * hidden.reshape(len(x), -1), x)


def attention(memory, p, x, join):
    """Blocks over this step and the `context` before it, each sum of the residual stream being `join`."""
    ago = jnp.arange(len(x))[:, None] - jnp.arange(len(x))
    visible = (ago >= 0) & (ago <= memory.context)
    stream = dense(p["embed"], x) + sinusoids(len(x), memory.width)
    for layer in range(memory.layers):
        b = jax.tree.map(lambda leaf, layer=layer: leaf[layer], p["blocks"])
        query, key, value = (
            heads_of(memory, part) for part in jnp.split(dense(b["attention"], layer_norm(stream)), 3, -1)
        )
        weight = jnp.exp(jnp.einsum("thd,shd->tsh", query, key) / query.shape[-1] ** 0.5) * visible[..., None]
        weight /= weight.sum(1, keepdims=True)
        mixed = jnp.einsum("tsh,shd->thd", weight, value).reshape(stream.shape)
        stream = join(b, "after_mix", stream, dense(b["mix"], mixed))
        hidden = gelu(dense(b["expand"], layer_norm(stream)))
        stream = join(b, "after_contract", stream, dense(b["contract"], hidden))
    return layer_norm(stream)


def transformer(memory, p, x):
    return attention(memory, p, x, lambda b, place, stream, update: stream + update)


def gtrxl(memory, p, x):
    def join(b, place, x, y):
        p = b[place]
        y = jnp.maximum(y, 0)
        w_r, w_z, w_g = jnp.split(p["update"]["kernel"], 3, -1)
        u_r, u_z = jnp.split(p["stream"]["kernel"], 2, -1)
        r = sigmoid(y @ w_r + x @ u_r)
        z = sigmoid(y @ w_z + x @ u_z - p["bias"])
        h = jnp.tanh(y @ w_g + (r * x) @ p["reset_stream"]["kernel"])
        return (1 - z) * x + z * h

    return attention(memory, p, x, join)


def latent(memory, p, x):
    """The mean of a categorical state, read off."""
    logits = dense(p["posterior_law"], gru(memory, p["filter"], x)).reshape(len(x), memory.groups, memory.classes)
    shares = jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True)
    hidden = jnp.tanh(dense(p["readout"]["layers_0"], shares.reshape(len(x), -1)))
    return jnp.tanh(dense(p["readout"]["layers_2"], hidden))


NAIVE = {
    "table": table,
    "none": feedforward,
    "window": window,
    "gru": gru,
    "lstm": lstm,
    "nbrc": nbrc,
    "lru": lru,
    "s5": s5,
    "ffm": ffm,
    "mingru": mingru,
    "bmru": bmru,
    "linear_attention": linear_attention,
    "mamba2": mamba2,
    "gated_deltanet": gated_deltanet,
    "mlstm": mlstm,
    "transformer": transformer,
    "gtrxl": gtrxl,
    "latent": latent,
}
