// The linear layers of an inference step: few rows against many weights, with the norm and the gate
// before them and the sum or SwiGLU after them in the same pass (docs/kernels.md, "Linear layers of
// a step").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <span>
#include <vector>

#include "ops/weight.h"

namespace hypenet {

struct LinearStepInput {
  Tensor x;                 // [N, K]
  Tensor norm_weight = {};  // [K]: x is rms-normed first; undefined: not
  double eps = 1e-6;        // of the norm
  Tensor gate = {};         // [N, K]: then multiplied by sigmoid(gate); undefined: not
  std::span<const LinearWeights> layers = {};  // 1 to 6 products of the same x, [out, K]
  bool is_swiglu = false;                      // of two layers: one output, silu(first) * second
  Tensor residual = {};                        // [N, out]: of one layer: y is added to it in place
  bool has_float_output = false;               // float32 outputs whatever x's type: the head
};

/// The outputs [N, out] of the layers in x's type (empty with a residual, one with SwiGLU). x is
/// float32, bfloat16 or float64; weights are read as they are, in x's type, or bfloat16 ones for
/// float32 x, or packed (ops/packed_weight.h: float32 x on the CPU, else expanded). Sums are
/// float32 (float64 for float64 x); x after norm and gate, and the factors of SwiGLU, are rounded
/// to x's type as the ops of a whole sequence round them; on a CPU with vdpbf16ps float32 x is
/// rounded to bfloat16 where it meets bfloat16 weights. A row's outputs do not depend, bit for bit,
/// on the other rows or their number on the CPU (float32 x), nor on a GPU (bfloat16 x). No
/// autograd. Never waits for the device. Throws Error when shapes, types or devices disagree.
std::vector<Tensor> linear_step(const LinearStepInput& input);

}  // namespace hypenet
