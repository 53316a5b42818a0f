// Lightning attention (docs/kernels.md): linear attention with a fixed exponential decay per head,
// S_t = exp(-decay_h) S_{t-1} + k_t^T v_t,  o_t = scale * q_t S_t.  Forms: parallel (quadratic),
// chunked, recurrent.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// The decays of H heads, float32 [H], nats per token: the slopes m_h of ALiBi (arXiv 2108.12409),
/// the same in every layer.
Tensor lightning_decay(int64_t heads);

struct LightningInput {
  Tensor q, k, v;     // [B, T, H, d], one floating type
  Tensor decay = {};  // [H] float32 or float64, > 0, nats per token
  double scale = 1;   // multiplies q
  Tensor state = {};  // [B, H, d, d] initial state; undefined means zero
  // Packed sequences (cu_seqlens): int32 or int64 [N + 1] on q's device, with B = 1: sequence n is
  // tokens offsets[n] .. offsets[n + 1] - 1, from 0 to T; states are then [N, H, d, d]. On a GPU
  // they are not read back: rows that they leave out, or name twice, are undefined.
  Tensor offsets = {};
  int64_t chunk = 128;  // tokens a chunk, in tensor code; the CPU's kernels have their own
  // False: the output's state is left undefined (training), which saves its sums.
  bool needs_state = true;
};

struct LightningOutput {
  Tensor output;  // [B, T, H, d] in q's type
  // [B, H, d, d] after the last token, if needed: float32 (float64 for float64 input).
  Tensor state;
};

/// Chunked form, differentiable in q, k, v and the initial state (through output and final state).
/// bfloat16 on a GPU with head size 64 or 128 goes to the kernel of kernels/cuda, float32 on a CPU
/// to that of kernels/cpu, the rest is tensor code. Sums and states are float32 (float64 for
/// float64 input). T >= 1. Throws Error when shapes, types or devices disagree. Time O(T d (chunk +
/// d)) a head; the graph keeps q, k, v and, but for the GPU kernel, the states between chunks.
LightningOutput lightning_chunked(const LightningInput& input);

/// One or few tokens against a state, token by token: the form of decode. No autograd, no packed
/// sequences. Time O(T d^2) a head.
LightningOutput lightning_recurrent(const LightningInput& input);

/// The form that suits T: recurrent for decode without autograd or packing, chunked otherwise.
LightningOutput lightning_attention(const LightningInput& input);

}  // namespace hypenet
