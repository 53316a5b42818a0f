// One decoded token through a mixer of the gated delta rule, from its projections to the output of
// its heads (docs/kernels.md, "One step").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <optional>

#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

/// H, dk and dv are the state's; heads of q, k and v, each a divisor of H, are repeated in place.
struct DeltaStepInput {
  Tensor q, k, v = {};                  // [N, heads dk], likewise, [N, heads dv]
  Tensor q_weight = {}, k_weight = {};  // [dk]: the q/k norm; undefined: none
  RopeAngles angles = {};               // [N, dk / 2] float32; undefined: no rotation
  // The decay is decay_gate(z, A_log, dt_bias, lower_bound); z [N, H] or [N, H dk].
  Tensor z, A_log, dt_bias = {};
  std::optional<double> lower_bound = {};
  Tensor b = {};         // [N, H]: beta is most_beta sigmoid(b)
  double most_beta = 1;  // 2 at most
  double scale = 1;      // multiplies q
  double eps = 1e-6;     // of the q/k norm
  Tensor state = {};  // [S, H, dk, dv] float32 (float64 for float64 input), contiguous, updated in
                      // place
  Tensor slots = {};  // [N] int32: the state of each row
};

/// S' = exp(-decay) S, S <- S' + k^T beta (v - k S'), then scale q S: [N, H, dv] in q's type. q and
/// k are normed, rotated, and made of length 1 (l2_norm). No autograd. Rows of one slot are tokens
/// in order on a CPU; on a GPU, which is never waited for, each slot comes at most once. A row with
/// a slot < 0 is padding: no state changes, its output is zero. bfloat16 and float32 rows on a GPU
/// have a kernel where is_delta_step_head: it reads and writes the state once, and a row's result
/// does not depend, bit for bit, on the others. Throws Error when shapes or types disagree.
Tensor delta_step(const DeltaStepInput& input);

/// The heads that the kernel takes; beyond kMostDeltaValueSize the norm behind it would go by the
/// number of rows, and their bits with it.
inline constexpr int64_t kMostDeltaValueSize = 512;
constexpr bool is_delta_step_head(int64_t key_size, int64_t value_size) {
  return (key_size == 64 || key_size == 128 || key_size == 256) && value_size % 64 == 0 &&
         value_size <= kMostDeltaValueSize;
}

}  // namespace hypenet
