// Choosing the next tokens from logits, on the device that holds them.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "kernels/sampling.h"

namespace hypenet {

using kernels::SampleSettings;
using torch::Tensor;

/// What each of S slots samples by, all on one device. A slot's draws depend on its seed and the
/// number of tokens it has sampled, on nothing else.
struct SamplingState {
  Tensor settings;  // [S, sizeof(SampleSettings)] uint8
  Tensor draws;     // [S] int32: tokens sampled so far; a step adds one
  Tensor seen;      // [S, ceil(V / 32)] int32: bit v % 32 of word v / 32 for token v
  Tensor bias_ids;  // [S, n] int32: tokens whose logit gets a bias; -1: unused
  Tensor bias;      // [S, n] float32
  Tensor ban_ids;   // [S, m] int32: tokens not chosen while draws < min_tokens; -1: unused
  Tensor counts;    // [S, 32 ceil(V / 32)] int16: how often a token was sampled, 32767 at most, of
                    // slots with a penalty of presence or frequency; undefined until count_tokens
};

/// Empty state: greedy, nothing seen. V tokens, `biases` and `bans` the most of a slot.
SamplingState make_sampling_state(int64_t slots, int64_t V, int64_t biases, torch::Device device,
                                  int64_t bans = 0);

/// Gives a slot its settings. Never waits for a GPU.
void set_settings(SamplingState& state, int64_t slot, const SampleSettings& settings);

/// Counts a slot's tokens anew. The first call takes the memory, of all slots.
void count_tokens(SamplingState& state, int64_t slot);

/// Which tokens rows may choose.
struct RowMasks {
  Tensor words;  // [M, ceil(V / 32)] int32: bit v % 32 of word v / 32: token v may be chosen
  Tensor rows;   // [N] int32: which of the M is the row's; < 0: none, every token may be chosen
};

struct SampledTokens {
  Tensor ids;       // [N] int32
  Tensor logprobs;  // [N] float32: log softmax of the raw logits at the chosen token
  Tensor log_sums;  // [N] float32: log of the sum of exp(logit - largest logit), raw
};

/// The next token of each row of logits [N, V] float32 by the settings of slots [N] int32, each at
/// most once; a row with a slot < 0 is padding and gets id 0. In this order: repetition penalty;
/// frequency penalty times the token's count and presence penalty, if that is not 0, subtracted;
/// bias (of a token listed twice the sum); mask and bans, to -infinity; temperature; then top-k,
/// top-p of what is left, min-p (equals of the last that stays stay too); the draw is the arg max
/// of logit / temperature + Gumbel noise, a hash of seed, draw and token. Updates draws, seen and,
/// where a slot has penalties of them, counts of the slots. A logit of -infinity is a token never
/// chosen; a row with NaN or +infinity, or of -infinity alone, gets id -1, one in which the changes
/// leave nothing to choose -2; both leave their slot as it was. Never waits for a GPU. The same ids
/// on CPU and GPU but for rounding; a row's do not depend on other rows. `masks` without tensors:
/// no row has one. Throws Error for shapes, types or devices that disagree.
SampledTokens sample_tokens(const Tensor& logits, const Tensor& slots, SamplingState& state,
                            const RowMasks& masks = {});

}  // namespace hypenet
