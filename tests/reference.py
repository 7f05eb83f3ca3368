"""The formulas of the design in float64 NumPy: what the library is compared with.

An optimizer's step is `step(p, g, *slots) -> (p, *slots)`, and its slots start at their defaults.
Losses and metrics give one value a sample. Schedules take an array of steps.
Layers go through their windows, groups and heads one at a time.
"""

import numpy as np


def sgd(p, g, *, learning_rate=0.01):
    return (p - learning_rate * g,)


def momentum(p, g, v=0.0, *, learning_rate=0.01, beta=0.9):
    v = beta * v + g
    return p - learning_rate * v, v


def nesterov(p, g, v=0.0, *, learning_rate=0.01, beta=0.9):
    v = beta * v + g
    return p - learning_rate * (g + beta * v), v


def rmsprop(p, g, v=0.0, *, learning_rate=1e-3, rho=0.9, epsilon=1e-7):
    v = rho * v + (1 - rho) * g**2
    return p - learning_rate * g / np.sqrt(v + epsilon), v


def adagrad(p, g, a=None, *, learning_rate=1e-3, initial_accumulator_value=0.1, epsilon=1e-7):
    a = (initial_accumulator_value if a is None else a) + g**2
    return p - learning_rate * g / np.sqrt(a + epsilon), a


def adam(p, g, m=0.0, v=0.0, t=0, *, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
    t = t + 1
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return p - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), m, v, t


def adamw(p, g, *slots, learning_rate=1e-3, weight_decay=1e-4, **betas_and_epsilon):
    moved, *slots = adam(p, g, *slots, learning_rate=learning_rate, **betas_and_epsilon)
    return moved - learning_rate * weight_decay * p, *slots


def adamax(p, g, m=0.0, u=0.0, t=0, *, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
    t = t + 1
    m = beta1 * m + (1 - beta1) * g
    u = np.maximum(beta2 * u, abs(g) + epsilon)
    return p - learning_rate / (1 - beta1**t) * m / u, m, u, t


def nadam(p, g, m=0.0, v=0.0, t=0, *, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
    t = t + 1
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = beta1 / (1 - beta1 ** (t + 1)) * m + (1 - beta1) / (1 - beta1**t) * g
    return p - learning_rate * m_hat / (np.sqrt(v / (1 - beta2**t)) + epsilon), m, v, t


def amsgrad(
    p, g, m=0.0, v=0.0, w=0.0, t=0, *, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8
):
    t = t + 1
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    w = np.maximum(w, v / (1 - beta2**t))
    return p - learning_rate * m / (1 - beta1**t) / (np.sqrt(w) + epsilon), m, v, w, t


def lamb(p, g, *slots, learning_rate=1e-3, weight_decay=0.0, epsilon=1e-6, **betas):
    moved, *slots = adam(p, g, *slots, learning_rate=1.0, epsilon=epsilon, **betas)
    u = p - moved + weight_decay * p
    own, its = np.sqrt((p**2).sum()), np.sqrt((u**2).sum())
    return p - learning_rate * (own / its if own and its else 1.0) * u, *slots


def adafactor(p, g, r=0.0, c=0.0, t=0, **numbers):
    defaults = {"learning_rate": 1e-3, "decay": 0.8, "threshold": 1.0}
    defaults |= {"epsilon1": 1e-30, "epsilon2": 1e-3}
    rate, decay, threshold, epsilon1, epsilon2 = (defaults | numbers).values()
    t = t + 1
    b = 1 - t**-decay
    squared = g**2 + epsilon1
    if p.ndim == 2:
        r = b * r + (1 - b) * squared.mean(1)
        c = b * c + (1 - b) * squared.mean(0)
        v = np.outer(r, c) / r.mean()
    else:
        v = r = b * r + (1 - b) * squared
    u = g / np.sqrt(v)
    u = u / max(1.0, np.sqrt((u**2).mean()) / threshold)
    return p - rate * max(epsilon2, np.sqrt((p**2).mean())) * u, r, c, t


def lion(p, g, m=0.0, *, learning_rate=1e-4, beta1=0.9, beta2=0.99, weight_decay=0.0):
    c = beta1 * m + (1 - beta1) * g
    m = beta2 * m + (1 - beta2) * g
    return p - learning_rate * (np.sign(c) + weight_decay * p), m


def muon(p, g, *slots, nesterov=True, **numbers):
    defaults = {"learning_rate": 0.02, "beta": 0.95, "adam_share": 0.015}
    defaults |= {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-10}
    rate, beta, share, *adams = (defaults | numbers).values()
    if p.ndim != 2:
        names = ("beta1", "beta2", "epsilon")
        return adam(
            p, g, *slots, learning_rate=share * rate, **dict(zip(names, adams, strict=True))
        )
    b = beta * (slots[0] if slots else 0.0) + g
    step = orthogonalized(g + beta * b if nesterov else b)
    return p - rate * np.sqrt(max(p.shape[1] / p.shape[0], 1)) * step, b


def orthogonalized(g):
    """Newton-Schulz seen from the singular values, each of which goes its own way."""
    u, s, v = np.linalg.svd(g, full_matrices=False)
    s = s / (np.sqrt((g**2).sum()) + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ v


def per_sample(values):
    return values.reshape(len(values), -1).mean(1)


def mean_squared_error(y_true, y_pred):
    return per_sample((y_true - y_pred) ** 2)


def mean_absolute_error(y_true, y_pred):
    return per_sample(abs(y_true - y_pred))


def huber(y_true, y_pred, delta=1.0):
    e = abs(y_true - y_pred)
    return per_sample(np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2))


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def log_softmax(x):
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0):
    y_true = (1 - label_smoothing) * y_true + label_smoothing / 2
    if from_logits:
        yes, no = log_sigmoid(y_pred), log_sigmoid(-y_pred)
    else:
        yes, no = np.log(np.maximum(y_pred, 1e-7)), np.log(np.maximum(1 - y_pred, 1e-7))
    return per_sample(-y_true * yes - (1 - y_true) * no)


def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0):
    y_true = (1 - label_smoothing) * y_true + label_smoothing / y_pred.shape[-1]
    log_p = log_softmax(y_pred) if from_logits else np.log(np.maximum(y_pred, 1e-7))
    return per_sample(-np.sum(y_true * log_p, axis=-1))


def sparse_categorical_crossentropy(y_true, y_pred, *options, ignore_class=None, **keywords):
    if ignore_class is None:
        rows = one_hot(y_true, y_pred.shape[-1])
        return categorical_crossentropy(rows, y_pred, *options, **keywords)
    ignored = (y_true == ignore_class).ravel()
    labels, rows = y_true.ravel(), y_pred.reshape(-1, y_pred.shape[-1])
    costs = sparse_categorical_crossentropy(
        np.where(ignored, 0, labels), rows, *options, **keywords
    )
    costs = np.where(ignored, 0, costs) * ignored.size / max(1, (~ignored).sum())
    return per_sample(costs.reshape(y_true.shape))


def kl_divergence(y_true, y_pred, from_logits=False):
    y_true = np.float64(y_true)
    entropy = -np.sum(y_true * np.log(np.where(y_true > 0, y_true, 1)), axis=-1)
    return categorical_crossentropy(y_true, y_pred, from_logits) - per_sample(entropy)


def cosine_similarity(y_true, y_pred):
    lengths = np.linalg.norm(y_true, axis=-1) * np.linalg.norm(y_pred, axis=-1)
    return per_sample(-(y_true * y_pred).sum(-1) / lengths)


def hinge(y_true, y_pred):
    return per_sample(np.maximum(0, 1 - np.where(y_true > 0, 1, -1) * y_pred))


def poisson(y_true, y_pred):
    return per_sample(y_pred - y_true * np.log(y_pred + 1e-7))


def log_cosh(y_true, y_pred):
    return per_sample(np.log(np.cosh(y_pred - y_true)))


def binary_focal_crossentropy(y_true, y_pred, from_logits=False, gamma=2.0, alpha=None):
    p = 1 / (1 + np.exp(-y_pred)) if from_logits else y_pred
    q, w = (p, 1 - p), (1, 1) if alpha is None else (alpha, 1 - alpha)
    right = y_true * q[0] + (1 - y_true) * q[1]
    weight = y_true * w[0] + (1 - y_true) * w[1]
    cost = -y_true * np.log(q[0]) - (1 - y_true) * np.log(q[1])
    return per_sample(weight * (1 - right) ** gamma * cost)


def categorical_focal_crossentropy(y_true, y_pred, from_logits=False, gamma=2.0, alpha=0.25):
    p = np.exp(log_softmax(y_pred)) if from_logits else y_pred
    return per_sample(-(np.asarray(alpha) * (1 - p) ** gamma * y_true * np.log(p)).sum(-1))


def dice(y_true, y_pred):
    y_true, y_pred = (a.reshape(len(a), -1) for a in (y_true, y_pred))
    return 1 - 2 * (y_true * y_pred).sum(1) / (y_true.sum(1) + y_pred.sum(1) + 1e-7)


def one_hot(labels, num_classes):
    return np.eye(num_classes)[labels]


def labels_of(y_true, y_pred):
    return y_true.argmax(-1) if y_true.shape == y_pred.shape else y_true


def accuracy(y_true, y_pred):
    return per_sample(y_pred.argmax(-1) == labels_of(y_true, y_pred))


def top_k_accuracy(y_true, y_pred, k):
    best = np.argsort(-y_pred, axis=-1, kind="stable")[..., :k]
    return per_sample((best == labels_of(y_true, y_pred)[..., None]).any(-1))


def binary_accuracy(y_true, y_pred, threshold=0.5):
    return per_sample((y_pred > threshold) == (y_true == 1))


def cosine(step, learning_rate, decay_steps, alpha=0.0):
    progress = np.minimum(step, decay_steps) / decay_steps
    last = alpha * learning_rate
    return last + (learning_rate - last) * np.cos(np.pi / 2 * progress) ** 2


def exponential(step, learning_rate, decay_steps, decay_rate, staircase=False):
    exponent = step // decay_steps if staircase else step / decay_steps
    return learning_rate * decay_rate**exponent


def piecewise(step, boundaries, values):
    return np.asarray(values)[np.searchsorted(boundaries, step, side="right")]


def warmup_cosine(step, learning_rate, warmup_steps, decay_steps, alpha=0.0):
    fall = cosine(step - warmup_steps, learning_rate, decay_steps - warmup_steps, alpha)
    return np.where(step < warmup_steps, learning_rate * step / warmup_steps, fall)


def inverse_time(step, learning_rate, decay_steps, decay_rate, staircase=False):
    time = step // decay_steps if staircase else step / decay_steps
    return learning_rate / (1 + decay_rate * time)


def polynomial(step, learning_rate, decay_steps, end_learning_rate=1e-4, power=1.0):
    left = (decay_steps - np.minimum(step, decay_steps)) / decay_steps
    return left**power * learning_rate + (1 - left**power) * end_learning_rate


@np.vectorize
def cosine_restarts(step, learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0):
    """Period after period."""
    length, height = first_decay_steps, 1.0
    while step >= length:
        step, length, height = step - length, length * t_mul, height * m_mul
    share = np.cos(np.pi / 2 * step / length) ** 2
    return learning_rate * (alpha + (1 - alpha) * height * share)


def one_cycle(
    step, learning_rate, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4
):
    first, top = learning_rate / div_factor, pct_start * total_steps
    last = first / final_div_factor
    rise = first + (learning_rate - first) * np.sin(np.pi / 2 * step / top) ** 2
    left = (total_steps - np.minimum(step, total_steps)) / (total_steps - top)
    fall = last + (learning_rate - last) * np.sin(np.pi / 2 * left) ** 2
    return np.where(step < top, rise, fall)


def joined(step, schedules, boundaries):
    """Of schedules as functions of the step."""
    number = np.searchsorted(boundaries, step, side="right")
    starts = np.array([0, *boundaries])
    rates = [s(step - start) for s, start in zip(schedules, starts, strict=True)]
    return np.choose(number, np.broadcast_arrays(*rates))


def windowed(function, x, size, strides, padding, dilation=None, beyond=0.0):
    """`function` of every window of `(batch, *spatial, channels)`; `beyond` lies around `x`."""
    spatial, dilation = x.shape[1:-1], dilation or (1,) * len(size)
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    if padding == "same":
        out = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
        more = [
            max((o - 1) * s + r - n, 0)
            for o, s, r, n in zip(out, strides, reach, spatial, strict=True)
        ]
        around = [(0, 0), *((m // 2, m - m // 2) for m in more), (0, 0)]
        x = np.pad(x, around, constant_values=beyond)
    else:
        out = [(n - r) // s + 1 for n, r, s in zip(spatial, reach, strides, strict=True)]
    ys = []
    for index in np.ndindex(*out):
        place = zip(index, strides, reach, dilation, strict=True)
        ys.append(function(x[:, *(slice(i * s, i * s + r, d) for i, s, r, d in place), :]))
    return np.moveaxis(ys, 0, 1).reshape(len(x), *out, -1)


def conv(x, kernel, bias, strides, padding="valid", dilation=None, groups=1):
    def dot(window):
        pairs = zip(
            np.split(window, groups, axis=-1), np.split(kernel, groups, axis=-1), strict=True
        )
        parts = [np.tensordot(w, k, axes=kernel.ndim - 1) for w, k in pairs]
        return np.concatenate(parts, axis=-1) + bias

    return windowed(dot, x, kernel.shape[:-2], strides, padding, dilation)


def conv_transpose(x, kernel, bias, strides, padding, dilation):
    """Each input adds its kernel to the outputs at its place."""
    size, reach = kernel.shape[:-2], []
    for k, d in zip(size, dilation, strict=True):
        reach.append(d * (k - 1) + 1)
    whole = [(n - 1) * s + r for n, s, r in zip(x.shape[1:-1], strides, reach, strict=True)]
    y = np.zeros((len(x), *np.add(whole, strides), kernel.shape[-2]))
    for i in np.ndindex(x.shape[1:-1]):
        for k in np.ndindex(size):
            place = tuple(np.multiply(i, strides) + np.multiply(k, dilation))
            y[:, *place] += x[:, *i] @ kernel[k].T
    cut = []
    for n, s, r in zip(x.shape[1:-1], strides, reach, strict=True):
        start = max(r - s, 0) // 2 if padding == "same" else 0
        cut.append(slice(start, start + n * s + (max(r - s, 0) if padding == "valid" else 0)))
    return y[:, *cut] + bias


def depthwise_conv(x, kernel, bias, strides, padding):
    """Each channel is a convolution of its own."""
    channels = [
        conv(x[..., [c]], kernel[..., [c], :], 0.0, strides, padding) for c in range(x.shape[-1])
    ]
    return np.concatenate(channels, axis=-1) + bias


def max_pool(x, size, strides, padding):
    over = tuple(range(1, x.ndim - 1))
    return windowed(lambda window: window.max(over), x, size, strides, padding, beyond=-np.inf)


def avg_pool(x, size, strides, padding):
    over = tuple(range(1, x.ndim - 1))
    return windowed(
        lambda window: np.nanmean(window, over), x, size, strides, padding, beyond=np.nan
    )


def group_norm(x, scale, bias, groups, epsilon=1e-3):
    y = np.empty_like(x)
    size = x.shape[-1] // groups
    for sample in range(len(x)):
        for start in range(0, x.shape[-1], size):
            part = x[sample, ..., start : start + size]
            y[sample, ..., start : start + size] = (part - part.mean()) / np.sqrt(
                part.var() + epsilon
            )
    return scale * y + bias


def attention(
    x, params, num_heads, causal=False, *, memory=None, mask=None, groups=None, rotary=False
):
    memory, groups = x if memory is None else memory, groups or num_heads
    q, k, v = (
        each @ params[name]["kernel"] + params[name].get("bias", 0.0)
        for name, each in (("query", x), ("key", memory), ("value", memory))
    )
    size, y = q.shape[-1] // num_heads, np.zeros_like(q)
    if mask is None:
        mask = np.ones((len(x), memory.shape[1]))
    for b, head, t in np.ndindex(len(x), num_heads, x.shape[1]):
        own, group = slice(head * size, (head + 1) * size), head // (num_heads // groups)
        shared = slice(group * size, (group + 1) * size)
        own_mask = mask[b] if mask.ndim == 2 else mask[b, t]
        seen = [s for s, one in enumerate(own_mask) if one and (s <= t or not causal)]
        if not seen:
            continue
        query, keys = q[b, t, own], k[b, seen, shared]
        if rotary:
            query = turned(query, t)
            keys = np.array([turned(key, s) for key, s in zip(keys, seen, strict=True)])
        weights = np.exp(keys @ query / np.sqrt(size))
        y[b, t, own] = weights / weights.sum() @ v[b, seen, shared]
    return y @ params["output"]["kernel"] + params["output"].get("bias", 0.0)


def turned(pairs, t):
    """Each pair of numbers is a complex one, turned by an angle of its own times `t`."""
    z = pairs[::2] + 1j * pairs[1::2]
    z = z * np.exp(1j * t * 10_000.0 ** (-np.arange(len(z)) / len(z)))
    return np.stack([z.real, z.imag], axis=-1).reshape(pairs.shape)


def sinusoidal_positions(time, features):
    waves = np.empty((time, features))
    for t, i in np.ndindex(time, features):
        turn = t / 10_000 ** ((i - i % 2) / features)
        waves[t, i] = np.cos(turn) if i % 2 else np.sin(turn)
    return waves


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn(x, kernel, recurrent_kernel, bias, h):
    h = np.tanh(x @ kernel + h @ recurrent_kernel + bias)
    return h, h


def lstm(x, kernel, recurrent_kernel, bias, h, c=0.0):
    units = len(h)
    i, f, g, o = (
        x @ kernel[:, own] + h @ recurrent_kernel[:, own] + bias[own]
        for own in (slice(gate * units, (gate + 1) * units) for gate in range(4))
    )
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, h, c


def gru(x, kernel, recurrent_kernel, bias, h):
    units = len(h)
    z, r, n = (slice(gate * units, (gate + 1) * units) for gate in range(3))
    inside = x @ kernel + bias[0]
    before = h @ recurrent_kernel + bias[1]
    update, reset = sigmoid(inside[z] + before[z]), sigmoid(inside[r] + before[r])
    h = update * h + (1 - update) * np.tanh(inside[n] + reset * before[n])
    return h, h


def recurrent(cell, x, params, mask=None, reverse=False):
    """The outputs of all time steps; a step where the mask is 0 does not happen."""
    units = len(params["recurrent_kernel"])
    y = np.zeros((*x.shape[:2], units))
    for b in range(len(x)):
        carry, last = [np.zeros(units)], np.zeros(units)
        for t in range(x.shape[1])[:: -1 if reverse else 1]:
            if mask is None or mask[b, t]:
                last, *carry = cell(x[b, t], **params, **dict(zip("hc", carry, strict=False)))
            y[b, t] = last
    return y
