"""HypeNet for transformers (arXiv 2601.22156): softmax attention without RoPE in some layers, a recurrence in the others.

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

CHUNK = 64  # tokens of a recurrence that are computed side by side


class HypeNetConfig(PretrainedConfig):
    """The published keys of config.json. D hidden_size, H heads, G heads of keys and values, d head_dim, L layers."""

    model_type = "hypenet"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self, vocab_size=151936, hidden_size=2048, intermediate_size=6144, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, max_position_embeddings=1048576, rms_norm_eps=1e-6, hidden_act="silu",
        rope_theta=1000000.0, rope_scaling=None, rope_parameters=None, tie_word_embeddings=False, attention_bias=False,
        attention_output_bias=False, attn_use_rope=False, attn_use_qk_norm=True, attn_use_output_gate=True,
        attn_logits_scaling=None, mixer_types=None, lightning_nh=None, lightning_nkv=None, lightning_head_dim=None,
        lightning_scale="1/sqrt(d)", lightning_use_rope=True, lightning_use_qk_norm=True,
        lightning_use_output_norm=True, lightning_use_output_gate=True, use_cache=True, initializer_range=0.02,
        **kwargs,
    ):
        self.vocab_size, self.hidden_size, self.intermediate_size = vocab_size, hidden_size, intermediate_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.num_key_value_heads, self.head_dim = num_key_value_heads, head_dim
        self.max_position_embeddings, self.rms_norm_eps = max_position_embeddings, rms_norm_eps
        self.hidden_act, self.use_cache, self.initializer_range = hidden_act, use_cache, initializer_range
        # What transformers 5 makes of the two older keys; in 4 it is a key like any other.
        self.rope_parameters = {"rope_type": "default", "rope_theta": rope_theta, **(rope_scaling or {}),
                                **(rope_parameters or {})}
        self.attention_bias, self.attention_output_bias = attention_bias, attention_output_bias
        self.attn_use_rope, self.attn_use_qk_norm = attn_use_rope, attn_use_qk_norm
        self.attn_use_output_gate, self.attn_logits_scaling = attn_use_output_gate, attn_logits_scaling
        self.mixer_types = mixer_types or ["lightning-attn"] * num_hidden_layers
        self.lightning_nh = lightning_nh or num_attention_heads
        self.lightning_nkv = lightning_nkv or self.lightning_nh
        self.lightning_head_dim = lightning_head_dim or head_dim
        self.lightning_scale, self.lightning_use_rope = lightning_scale, lightning_use_rope
        self.lightning_use_qk_norm, self.lightning_use_output_norm = lightning_use_qk_norm, lightning_use_output_norm
        self.lightning_use_output_gate = lightning_use_output_gate
        self.check()
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    def check(self):
        for mixer in self.mixer_types:
            if mixer not in MIXERS:
                raise ValueError(f"mixer_types: expected {' or '.join(MIXERS)}, found {mixer}")
        if len(self.mixer_types) != self.num_hidden_layers:
            raise ValueError(f"mixer_types: expected {self.num_hidden_layers} entries (num_hidden_layers), "
                             f"found {len(self.mixer_types)}")
        if self.rope_parameters["rope_type"] not in ("default", "llama3"):
            raise ValueError(f"rope_type: expected default or llama3, found {self.rope_parameters['rope_type']}")
        if self.hidden_act != "silu":
            raise ValueError(f"hidden_act: expected silu, found {self.hidden_act}")


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
    d = config.lightning_head_dim if "lightning-attn" in config.mixer_types else config.head_dim
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
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


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


class HypeNetAttention(nn.Module):
    """Softmax attention; without RoPE, queries are scaled with their position, and a gate precedes o_proj."""

    def __init__(self, config, layer):
        super().__init__()
        D, H, G, d = config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.layer, self.d, self.is_grouped, self.use_rope = layer, d, G < H, config.attn_use_rope
        self.q_proj = nn.Linear(D, H * d, bias=config.attention_bias)
        self.k_proj = nn.Linear(D, G * d, bias=config.attention_bias)
        self.v_proj = nn.Linear(D, G * d, bias=config.attention_bias)
        self.o_proj = nn.Linear(H * d, D, bias=config.attention_output_bias)
        self.q_norm = RMSNorm(d, config.rms_norm_eps) if config.attn_use_qk_norm else None
        self.k_norm = RMSNorm(d, config.rms_norm_eps) if config.attn_use_qk_norm else None
        self.o_gate = nn.Linear(D, H * d, bias=False) if config.attn_use_output_gate else None

    def forward(self, x, rows, cache):
        q, k, v = (project(x).unflatten(-1, (-1, self.d)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.use_rope:
            q, k = rotate(q, rows), rotate(k, rows)
        if rows.query_scale is not None:
            q = (q * rows.query_scale).to(x.dtype)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # [B, heads, T, d]
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        is_causal = rows.visible is None and q.shape[2] > 1
        y = F.scaled_dot_product_attention(q, k, v, rows.visible, is_causal=is_causal, enable_gqa=self.is_grouped)
        y = y.transpose(1, 2).flatten(2)
        if self.o_gate is not None:
            y = y * torch.sigmoid(self.o_gate(x))
        return self.o_proj(y)


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


class HypeNetLightning(nn.Module):
    """Lightning attention: RoPE and norms on q and k, a state that fades by a constant factor, norm and gate of o."""

    def __init__(self, config, layer):
        super().__init__()
        D, H, G, d = config.hidden_size, config.lightning_nh, config.lightning_nkv, config.lightning_head_dim
        self.layer, self.d, self.H, self.group, self.use_rope = layer, d, H, H // G, config.lightning_use_rope
        self.scale = {"1/sqrt(d)": d**-0.5, "1/d": 1 / d}.get(config.lightning_scale, 1)
        self.q_proj = nn.Linear(D, H * d, bias=config.attention_bias)
        self.k_proj = nn.Linear(D, G * d, bias=config.attention_bias)
        self.v_proj = nn.Linear(D, G * d, bias=config.attention_bias)
        self.o_proj = nn.Linear(H * d, D, bias=config.attention_output_bias)
        self.q_norm = RMSNorm(d, config.rms_norm_eps) if config.lightning_use_qk_norm else None
        self.k_norm = RMSNorm(d, config.rms_norm_eps) if config.lightning_use_qk_norm else None
        self.o_norm = RMSNorm(H * d, config.rms_norm_eps) if config.lightning_use_output_norm else None
        self.z_proj = nn.Linear(D, H * d, bias=False) if config.lightning_use_output_gate else None

    def forward(self, x, rows, cache):
        q, k, v = (project(x).unflatten(-1, (-1, self.d)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.use_rope:
            q, k = rotate(q, rows), rotate(k, rows)
        if rows.valid is not None:
            k = k * rows.valid
        q, k, v = (y.float().transpose(1, 2) for y in (q * self.scale, k, v))
        if self.group > 1:
            k, v = k.repeat_interleave(self.group, 1), v.repeat_interleave(self.group, 1)
        state = None if cache is None else cache.layers[self.layer].keys
        with torch.autocast(x.device.type, enabled=False):  # sums over all tokens stay float32
            y, state = lightning_attention(q, k, v, rows.count, alibi_slopes(self.H, x.device), state)
        if cache is not None:
            cache.layers[self.layer].update(state, x.shape[1])
        y = y.transpose(1, 2).flatten(2).to(x.dtype)
        if self.o_norm is not None:
            y = self.o_norm(y)
        if self.z_proj is not None:
            y = y * torch.sigmoid(self.z_proj(x))
        return self.o_proj(y)


MIXERS = {"attn": HypeNetAttention, "lightning-attn": HypeNetLightning}


class HypeNetMlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        D, wide = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(D, wide, bias=False)
        self.up_proj = nn.Linear(D, wide, bias=False)
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
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if self.gradient_checkpointing and self.training:
            use_cache, past_key_values = False, None
        if use_cache and past_key_values is None:
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
        if mask is not None and positions is None:
            positions = (mask.long().cumsum(1) - 1).clamp(min=0)[:, past:]
        if positions is None:
            positions = torch.arange(past, past + T, device=x.device)[None]
        if mask is not None and mask.bool().all():
            mask = None
        return make_rows(self.config, positions, None if mask is None else mask.bool(), past, self.training)


class HypeNetForCausalLM(HypeNetPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = HypeNetModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                labels=None, use_cache=None, output_hidden_states=None, logits_to_keep=0, return_dict=None, **kwargs):
        """As HypeNetModel, with logits [B, T, V] and, with labels [B, T] (-100: not counted), the mean loss.
        logits_to_keep: of the last tokens alone, or of the positions in a tensor."""
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
