"""HypeNet for transformers (arXiv 2601.22156): some layers are attention without RoPE, the others recurrent.

`hypenet export DIR --transformers OUT` puts this file beside the weights. Needs transformers 4.57 or later.
"""
import math
from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

CHUNK, SHORT_CHUNK = 64, 16  # tokens that a recurrence computes side by side; fewer where each channel has a decay

# The published keys of config.json and their defaults; None: as the key of attention that says the same.
DEFAULTS = dict(
    vocab_size=151936, hidden_size=2048, intermediate_size=6144, num_hidden_layers=28, max_position_embeddings=1048576,
    num_attention_heads=16, num_key_value_heads=8, head_dim=128, rms_norm_eps=1e-6, hidden_act="silu", mixer_types=None,
    attention_bias=False, attention_output_bias=False, initializer_range=0.02, use_cache=True,
    attn_use_rope=False, attn_use_qk_norm=True, attn_use_output_gate=True, attn_logits_scaling=None,
    lightning_nh=None, lightning_nkv=None, lightning_head_dim=None, lightning_scale="1/sqrt(d)",
    lightning_use_rope=True, lightning_use_qk_norm=True, lightning_use_output_norm=True, lightning_use_output_gate=True,
    gdn_nh=None, gdn_nkv=None, gdn_head_dim=None, gdn_use_gate=False, gdn_use_qk_norm=False, gdn_use_rope=False,
    gdn_activation=None, gdn_allow_neg_eigval=True, kda_num_heads=None, kda_head_dim=None, kda_use_qk_norm=True,
    kda_use_rope=False, kda_allow_neg_eigval=False, kda_lower_bound=None, kda_use_gate_bias=False)

# What RoPE turns: the key that turns it on, and the size of a head.
ROTATED = {"attn": ("attn_use_rope", "head_dim"), "lightning-attn": ("lightning_use_rope", "lightning_head_dim"),
           "gdn": ("gdn_use_rope", "gdn_head_dim"), "kda": ("kda_use_rope", "kda_head_dim")}


class HypeNetConfig(PretrainedConfig):
    model_type = "hypenet"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, rope_theta=1e6, rope_scaling=None, rope_parameters=None, tie_word_embeddings=False, **kwargs):
        for key, default in DEFAULTS.items():
            setattr(self, key, kwargs.pop(key, default))
        # What transformers 5 makes of the two older keys; in 4 it is a key like any other.
        self.rope_parameters = {"rope_type": "default", "rope_theta": rope_theta, **(rope_scaling or {}),
                                **(rope_parameters or {})}
        self.mixer_types = self.mixer_types or ["lightning-attn"] * self.num_hidden_layers
        for key in ("lightning_nh", "gdn_nh", "kda_num_heads"):
            setattr(self, key, getattr(self, key) or self.num_attention_heads)
        for key in ("lightning_head_dim", "gdn_head_dim", "kda_head_dim"):
            setattr(self, key, getattr(self, key) or self.head_dim)
        self.lightning_nkv = self.lightning_nkv or self.lightning_nh
        self.gdn_nkv = self.gdn_nkv or self.num_key_value_heads
        self.check()
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    def check(self):
        for mixer in self.mixer_types:
            if mixer not in MIXERS:
                raise ValueError(f"mixer_types: expected {', '.join(MIXERS)}, found {mixer}")
        if len(self.mixer_types) != self.num_hidden_layers:
            raise ValueError(f"mixer_types: expected {self.num_hidden_layers} entries (num_hidden_layers), "
                             f"found {len(self.mixer_types)}")
        for key, found, known in (("rope_type", self.rope_parameters["rope_type"], ("default", "llama3")),
                                  ("hidden_act", self.hidden_act, ("silu",))):
            if found not in known:
                raise ValueError(f"{key}: expected {' or '.join(known)}, found {found}")


class Rows(NamedTuple):
    """What all layers of a forward over rows [B, T] share. The first size is 1 where all rows are alike."""

    cos: Tensor  # [B, T, 1, d / 2] float32
    sin: Tensor
    query_scale: Optional[Tensor]  # [B, T, 1, 1] float32: s_t of HyPE
    visible: Optional[Tensor]  # [B, 1, T, S] bool: which keys a query sees; None: all before it
    valid: Optional[Tensor]  # [B, T, 1, 1] bool: what is no padding; None: all
    count: Tensor  # [B, T] float32: how many tokens have come since the first of this forward


def rope_frequencies(config, device, dtype):
    """[d / 2] in rad a token; Llama 3's scaling stretches the long wavelengths and blends those between."""
    sizes = [getattr(config, size) for mixer, (is_on, size) in ROTATED.items()
             if mixer in config.mixer_types and getattr(config, is_on)]
    d = max(sizes, default=config.head_dim)
    rope = config.rope_parameters
    frequencies = rope["rope_theta"] ** (-torch.arange(0, d, 2, device=device, dtype=dtype) / d)
    if rope["rope_type"] == "default":
        return frequencies
    turns = frequencies * rope["original_max_position_embeddings"] / (2 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return kept * frequencies + (1 - kept) * frequencies / rope["factor"]


def query_scale(scaling, positions):
    """attn_logits_scaling at positions [B, T]: null, a constant, or "hype a": log(t + a) / log(a)."""
    if scaling is None:
        return None
    if not isinstance(scaling, str):
        return torch.full((1, 1, 1, 1), float(scaling), device=positions.device)
    word, _, base = scaling.partition(" ")
    if word != "hype":
        raise ValueError(f'attn_logits_scaling: expected null, a number or "hype a", found {scaling}')
    base = float(base or 362)
    return ((positions + base).log() / math.log(base)).float()[..., None, None]


def make_rows(config, positions, mask, past, is_training):
    """The Rows of positions [1 or B, T] after `past` tokens. mask [B, past + T] bool, False at padding, or None."""
    device, T = positions.device, positions.shape[1]
    wide = positions.to(torch.float32 if device.type == "mps" else torch.float64)  # a million times a frequency
    angles = wide[..., None, None] * rope_frequencies(config, device, wide.dtype)
    visible, valid = None, None
    count = torch.arange(1, T + 1, device=device, dtype=torch.float32)[None]
    if mask is not None or (past > 0 and T > 1):
        key, query = torch.arange(past + T, device=device), torch.arange(past, past + T, device=device)[:, None]
        visible = (key <= query)[None, None]  # [1, 1, T, past + T]
    if mask is not None:
        visible = visible & mask[:, None, None] | (key == query)  # padding sees itself: no row is without a key
        valid = mask[:, past:, None, None]
        count = mask[:, past:].cumsum(1).float()
    # Training goes without s_t, as hypenet's own does.
    scale = None if is_training else query_scale(config.attn_logits_scaling, wide)
    return Rows(angles.cos().float(), angles.sin().float(), scale, visible, valid, count)


def rotate(x, rows):
    """RoPE on x [B, T, H, d], whose pairs are i and i + d / 2."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * rows.cos - b * rows.sin, b * rows.cos + a * rows.sin), dim=-1).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return wide.to(x.dtype) * self.weight.to(x.dtype)


class StateLayer(DynamicLayer):
    """A recurrent layer's part of the cache. The state [B, H, d, d] stands in the place of the keys, so that what the
    library does with these (beams, offloading, resets) is done with it."""

    is_croppable = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.tokens = 0

    def update(self, state, tokens):
        self.keys, self.values = state, state.new_empty(state.shape[0], 0)
        self.dtype, self.device, self.is_initialized = state.dtype, state.device, True
        self.tokens += tokens

    def get_seq_length(self, *args):
        return self.tokens

    def reset(self):
        self.keys, self.values, self.is_initialized, self.tokens = None, None, False, 0

    def crop(self, *args):
        raise ValueError("cache: a recurrent layer cannot forget its last tokens: expected a cache that only grows")


def prepare_cache(cache, config):
    """Gives each recurrent layer a StateLayer in place of what the library, which knows of none, has put there."""
    for i, mixer in enumerate(config.mixer_types):
        if i == len(cache.layers):
            cache.layers.append(DynamicLayer())
        if not isinstance(cache.layers[i], DynamicLayer):
            raise ValueError(f"past_key_values: expected a DynamicCache, found {type(cache).__name__} "
                             f"of {type(cache.layers[i]).__name__}")
        if mixer != "attn" and not isinstance(cache.layers[i], StateLayer):
            cache.layers[i] = StateLayer()
    return cache


class HypeNetMixer(nn.Module):
    """What all mixers have: projections to H heads of queries and G of keys and values, norms and RoPE of both."""

    def __init__(self, config, layer, H, G, d, use_rope, use_qk_norm):
        super().__init__()
        self.layer, self.H, self.G, self.d, self.use_rope = layer, H, G, d, use_rope
        self.activation = nn.Identity()
        self.q_proj = nn.Linear(config.hidden_size, H * d, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, G * d, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, G * d, bias=config.attention_bias)
        self.o_proj = nn.Linear(H * d, config.hidden_size, bias=config.attention_output_bias)
        self.q_norm = RMSNorm(d, config.rms_norm_eps) if use_qk_norm else None
        self.k_norm = RMSNorm(d, config.rms_norm_eps) if use_qk_norm else None

    def heads(self, x, rows):
        """q [B, T, H, d], k and v [B, T, G, d] of x [B, T, D]."""
        q, k, v = (self.activation(project(x)).unflatten(-1, (-1, self.d))
                   for project in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.use_rope:
            q, k = rotate(q, rows), rotate(k, rows)
        return q, k, v


class HypeNetAttention(HypeNetMixer):
    """Softmax attention; without RoPE, queries are scaled with their position, and a gate precedes o_proj."""

    def __init__(self, config, layer):
        H, d = config.num_attention_heads, config.head_dim
        super().__init__(config, layer, H, config.num_key_value_heads, d, config.attn_use_rope, config.attn_use_qk_norm)
        self.o_gate = nn.Linear(config.hidden_size, H * d, bias=False) if config.attn_use_output_gate else None

    def forward(self, x, rows, cache):
        q, k, v = self.heads(x, rows)
        if rows.query_scale is not None:
            q = (q * rows.query_scale).to(x.dtype)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # [B, heads, T, d]
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        is_causal = rows.visible is None and q.shape[2] > 1
        y = F.scaled_dot_product_attention(q, k, v, rows.visible, is_causal=is_causal, enable_gqa=self.G < self.H)
        y = y.transpose(1, 2).flatten(2)
        return self.o_proj(y if self.o_gate is None else y * torch.sigmoid(self.o_gate(x)))


class HypeNetRecurrence(HypeNetMixer):
    """A mixer with a state [B, H, d, d] float32. Its kinds say what a token does to it, and how the output is gated."""

    def forward(self, x, rows, cache):
        q, k, v = self.heads(x, rows)
        k, gates = k if rows.valid is None else k * rows.valid, self.gates(x, rows)
        q, k, v = (y.float().transpose(1, 2).repeat_interleave(self.H // y.shape[2], 1) for y in (q, k, v))
        state = None if cache is None else cache.layers[self.layer].keys
        with torch.autocast(x.device.type, enabled=False):  # sums over all tokens stay float32
            y, state = self.recur(q, k, v, *gates, state)
        if cache is not None:
            cache.layers[self.layer].update(state, x.shape[1])
        return self.o_proj(self.gated(y.transpose(1, 2).to(x.dtype), x))  # of y [B, T, H, d]


def alibi_slopes(heads, device):
    """[H] m_h: 2^(-8 (h + 1) / H) for a power of two, else those of the power below and every second of the next."""
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * (h + 1) / power) for h in range(power)]
    slopes += [2.0 ** (-8 * (2 * h + 1) / (2 * power)) for h in range(heads - power)]
    return torch.tensor(slopes, device=device)


def lightning_attention(q, k, v, count, slopes, state):
    """S_t = exp(-m_h) S_{t-1} + k_t^T v_t and o_t = q_t S_t, where padding has k = 0 and S does not fade.

    q, k, v [B, H, T, d] float32; count [1 or B, T] as in Rows; slopes [H] m_h; state [B, H, d, d], or None for zero.
    Returns o [B, H, T, d] and the last state. Tokens of a chunk meet in one product, chunks through the state.
    """
    B, H, T, d = q.shape
    size = min(CHUNK, T)
    chunks = -(-T // size)
    q, k, v = (F.pad(x, (0, 0, 0, chunks * size - T)).unflatten(2, (chunks, size)) for x in (q, k, v))
    count = torch.cat((count, count[:, -1:].expand(-1, chunks * size - T)), 1).unflatten(1, (chunks, size))
    before = F.pad(count[:, :-1, -1], (1, 0))[..., None]  # [B, chunks, 1]: the count where the chunk begins
    m = slopes.view(1, H, 1, 1)
    since_begin = torch.exp(-m * (count - before)[:, None])[..., None]  # [B, H, chunks, size, 1]
    until_end = torch.exp(-m * (count[..., -1:] - count)[:, None])[..., None]
    gap = (count[..., :, None] - count[..., None, :]).clamp(min=0)[:, None]  # [B, 1, chunks, size, size]
    weight = torch.exp(-m[..., None] * gap).tril()
    inside = (q @ k.transpose(-1, -2) * weight) @ v
    added = (k * until_end).transpose(-1, -2) @ v  # [B, H, chunks, d, d]
    kept = since_begin[..., -1:, :]  # [B, H, chunks, 1, 1]
    state = q.new_zeros(B, H, d, d) if state is None else state
    states = []
    for i in range(chunks):
        states.append(state)
        state = kept[:, :, i] * state + added[:, :, i]
    across = (q * since_begin) @ torch.stack(states, 2)
    return (inside + across).flatten(2, 3)[:, :, :T], state


class HypeNetLightning(HypeNetRecurrence):
    """Lightning attention: a state that fades by a constant factor, norm and gate of all heads together."""

    def __init__(self, config, layer):
        H, d = config.lightning_nh, config.lightning_head_dim
        super().__init__(config, layer, H, config.lightning_nkv, d, config.lightning_use_rope,
                         config.lightning_use_qk_norm)
        self.scale = {"1/sqrt(d)": d**-0.5, "1/d": 1 / d}.get(config.lightning_scale, 1)
        self.o_norm = RMSNorm(H * d, config.rms_norm_eps) if config.lightning_use_output_norm else None
        self.z_proj = nn.Linear(config.hidden_size, H * d, bias=False) if config.lightning_use_output_gate else None

    def gates(self, x, rows):
        return rows.count, alibi_slopes(self.H, x.device)

    def recur(self, q, *others):
        return lightning_attention(q * self.scale, *others)

    def gated(self, y, x):
        y = y.flatten(2) if self.o_norm is None else self.o_norm(y.flatten(2))
        return y if self.z_proj is None else y * torch.sigmoid(self.z_proj(x))


def delta_rule(q, k, v, decay, beta, state):
    """S' = Diag(exp(-decay_t)) S_{t-1}, u_t = beta_t (v_t - k_t S'), S_t = S' + k_t^T u_t and o_t = q_t S_t.

    q, k, v [B, H, T, d] float32; decay [B, H, T, 1 or d], never negative; beta [B, H, T, 1]; state as above.
    Within a chunk all u come from one triangular system: (1 + L) U = beta (V - K S), L_ij = beta_i k_i . k_j, faded.
    """
    B, H, T, d = q.shape
    size = min(CHUNK if decay.shape[-1] == 1 else SHORT_CHUNK, T)
    chunks = -(-T // size)
    q, k, v, decay, beta = (F.pad(x, (0, 0, 0, chunks * size - T)).unflatten(2, (chunks, size))
                            for x in (q, k, v, decay, beta))
    total = -decay.cumsum(3)  # [B, H, chunks, size, 1 or d]: no exponent below is positive
    weight = (total[..., :, None, :] - total[..., None, :, :]).clamp(max=0).exp()  # [..., size, size, 1 or d]

    def pairs(a, b):
        if weight.shape[-1] == 1:
            return a @ b.transpose(-1, -2) * weight[..., 0]
        return (a[..., :, None, :] * b[..., None, :, :] * weight).sum(-1)

    known, scores = (beta * pairs(k, k)).tril(-1), pairs(q, k).tril()
    right = beta * torch.cat((v, k * total.exp()), -1)
    u, of_state = torch.linalg.solve_triangular(known, right, upper=False, unitriangular=True).split(d, -1)
    q, k, kept = q * total.exp(), k * (total[..., -1:, :] - total).exp(), total[..., -1, :].exp()[..., None]
    state = q.new_zeros(B, H, d, d) if state is None else state
    outputs = []
    for i in range(chunks):
        written = u[:, :, i] - of_state[:, :, i] @ state
        outputs.append(q[:, :, i] @ state + scores[:, :, i] @ written)
        state = kept[:, :, i] * state + k[:, :, i].transpose(-1, -2) @ written
    return torch.cat(outputs, 2)[:, :, :T], state


class HypeNetDelta(HypeNetRecurrence):
    """Gated DeltaNet and Kimi Delta Attention: queries and keys of length 1, and the delta rule."""

    def recur(self, q, k, *others):
        q, k = (y * torch.rsqrt(y.square().sum(-1, keepdim=True) + 1e-6) for y in (q, k))
        return delta_rule(q * self.d**-0.5, k, *others)

    def gates(self, x, rows):
        decay, beta = self.decay(x), self.most_beta * torch.sigmoid(self.b_proj(x).float())[..., None]
        decay = decay if rows.valid is None else decay * rows.valid  # padding fades nothing
        return decay.transpose(1, 2), beta.transpose(1, 2)

    def rates(self):
        return self.A_log.float().exp().view(-1, 1)  # [H, 1]


class HypeNetGdn(HypeNetDelta):
    def __init__(self, config, layer):
        D, H, d = config.hidden_size, config.gdn_nh, config.gdn_head_dim
        super().__init__(config, layer, H, config.gdn_nkv, d, config.gdn_use_rope, config.gdn_use_qk_norm)
        self.activation = nn.SiLU() if config.gdn_activation == "silu" else nn.Identity()
        self.most_beta = 2 if config.gdn_allow_neg_eigval else 1
        self.a_proj, self.b_proj = nn.Linear(D, H, bias=False), nn.Linear(D, H, bias=False)
        self.g_proj = nn.Linear(D, H * d, bias=False) if config.gdn_use_gate else None
        self.o_norm = RMSNorm(d, config.rms_norm_eps)
        self.A_log, self.dt_bias = nn.Parameter(torch.zeros(H)), nn.Parameter(torch.zeros(H))

    def decay(self, x):
        return F.softplus(self.a_proj(x).float() + self.dt_bias)[..., None] * self.rates()  # [B, T, H, 1]

    def gated(self, y, x):
        y = self.o_norm(y).flatten(2)
        return y if self.g_proj is None else y * F.silu(self.g_proj(x))


class HypeNetKda(HypeNetDelta):
    def __init__(self, config, layer):
        D, H, d = config.hidden_size, config.kda_num_heads, config.kda_head_dim
        super().__init__(config, layer, H, H, d, config.kda_use_rope, config.kda_use_qk_norm)
        self.most_beta, self.bound = 2 if config.kda_allow_neg_eigval else 1, config.kda_lower_bound
        self.b_proj = nn.Linear(D, H, bias=False)
        self.f_a_proj, self.f_b_proj = nn.Linear(D, d, bias=False), nn.Linear(d, H * d, bias=False)
        self.g_a_proj, self.g_b_proj = nn.Linear(D, d, bias=False), nn.Linear(d, H * d, bias=config.kda_use_gate_bias)
        self.o_norm = RMSNorm(d, config.rms_norm_eps)
        self.A_log, self.dt_bias = nn.Parameter(torch.zeros(1, 1, H, 1)), nn.Parameter(torch.zeros(H * d))

    def decay(self, x):
        z = (self.f_b_proj(self.f_a_proj(x)).float() + self.dt_bias).unflatten(-1, (self.H, self.d))  # [B, T, H, d]
        return F.softplus(z) * self.rates() if self.bound is None else -self.bound * torch.sigmoid(self.rates() * z)

    def gated(self, y, x):
        return self.o_norm(y).flatten(2) * torch.sigmoid(self.g_b_proj(self.g_a_proj(x)))


MIXERS = {"attn": HypeNetAttention, "lightning-attn": HypeNetLightning, "gdn": HypeNetGdn, "kda": HypeNetKda}


class HypeNetMlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        D, wide = config.hidden_size, config.intermediate_size
        self.gate_proj, self.up_proj = nn.Linear(D, wide, bias=False), nn.Linear(D, wide, bias=False)
        self.down_proj = nn.Linear(wide, D, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class HypeNetBlock(GradientCheckpointingLayer):
    def __init__(self, config, layer):
        super().__init__()
        self.self_attn = MIXERS[config.mixer_types[layer]](config, layer)
        self.mlp = HypeNetMlp(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, rows, past_key_values=None):
        x = x + self.self_attn(self.input_layernorm(x), rows, past_key_values)
        return x + self.mlp(self.post_attention_layernorm(x))


class HypeNetPreTrainedModel(PreTrainedModel):
    config_class = HypeNetConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["HypeNetBlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _is_stateful = True  # no going back by a few tokens: no assisted generation

    def __init__(self, config):
        super().__init__(config)
        if "gdn" in config.mixer_types or "kda" in config.mixer_types:
            self._keep_in_fp32_modules_strict = {"A_log", "dt_bias"}


class HypeNetModel(HypeNetPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(HypeNetBlock(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                use_cache=None, output_hidden_states=None, **kwargs):
        """input_ids [B, T] (or inputs_embeds [B, T, D]) after the tokens of past_key_values; attention_mask
        [B, past + T], 0 at padding, on whichever side; position_ids [B, T] follow from it."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("forward: expected input_ids or inputs_embeds, found "
                             + ("neither" if input_ids is None else "both"))
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.gradient_checkpointing and self.training:
            use_cache, past_key_values = False, None
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache()
        cache = None if past_key_values is None else prepare_cache(past_key_values, self.config)
        rows = self.rows(x, attention_mask, position_ids, 0 if cache is None else cache.get_seq_length())
        hidden_states = [x]
        for layer in self.layers:
            x = layer(x, rows, past_key_values=cache)
            hidden_states.append(x)
        x = hidden_states[-1] = self.norm(x)
        keeps_all = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPast(last_hidden_state=x, past_key_values=cache,
                                       hidden_states=tuple(hidden_states) if keeps_all else None)

    def rows(self, x, mask, positions, past):
        T = x.shape[1]
        if mask is not None and tuple(mask.shape) != (x.shape[0], past + T):
            raise ValueError(f"attention_mask: expected {[x.shape[0], past + T]}, found {list(mask.shape)}")
        if positions is None:
            positions = (torch.arange(past, past + T, device=x.device)[None] if mask is None
                         else (mask.long().cumsum(1) - 1).clamp(min=0)[:, past:])
        mask = None if mask is None or mask.bool().all() else mask.bool()
        return make_rows(self.config, positions, mask, past, self.training)


class HypeNetForCausalLM(HypeNetPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    @classmethod
    def _supports_default_dynamic_cache(cls):
        return True  # transformers 4 has none for what is stateful

    def __init__(self, config):
        super().__init__(config)
        self.model = HypeNetModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                labels=None, use_cache=None, output_hidden_states=None, logits_to_keep=0, return_dict=None,
                token_type_ids=None, **kwargs):
        """As HypeNetModel, with logits [B, T, V] and, with labels [B, T] (-100: not counted), the mean loss.
        logits_to_keep: of the last tokens alone, or of the positions in a tensor. token_type_ids are not read."""
        outputs = self.model(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache,
                             output_hidden_states)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        found = CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values,
                                       hidden_states=outputs.hidden_states)
        return found.to_tuple() if return_dict is False else found
