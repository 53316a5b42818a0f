// What the layers of an inference step start from, in one pass: embeddings, RoPE angles and the
// queries' scale of each row.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/rope.h"
#include "ops/weight.h"

namespace hypenet {

using torch::Tensor;

struct StepInputsInput {
  Tensor ids;             // [N] int32
  Tensor positions;       // [N] int32
  Weight embedding;       // [V, D]
  Tensor frequencies;     // [d / 2] float64, rad a token
  double scale_base = 0;  // a of s_t = log(t + a) / log(a); 0: no scale by position
};

struct StepInputs {
  Tensor h;            // [N, D] in `type`
  RopeAngles angles;   // [N, d / 2] float32, from float64 products
  Tensor query_scale;  // [N] float32; undefined when scale_base is 0
};

/// ids outside the vocabulary are the caller's fault. Never waits for a GPU: one kernel there, an
/// ordinary one, which separates the steps of a stream (ops/stream.h, SettledStream).
StepInputs step_inputs(const StepInputsInput& input, torch::ScalarType type);

}  // namespace hypenet
