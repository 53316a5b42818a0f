// The gate and norm of each head behind a recurrence, with their gradients: Mamba-2's, where the
// gate comes first, and RWKV-7's (docs/kernels.md, "Around a recurrence"). float32 inside, rounded
// once.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// out = norm of each head((y + skip x) .* silu(z + bias)) .* weight.
struct SkipGateParams {
  const void* y;        // [rows, heads, d]
  const void* x;        // [rows, heads, d], or null: nothing is added to y
  const void* z;        // [rows, heads, d]
  int64_t z_row;        // numbers from one row to the next
  const float* skip;    // [heads], or null
  const float* bias;    // [heads, d], or null
  const float* weight;  // [heads, d]
  void* out;            // [rows, heads, d]
  int64_t rows, heads, size;
  DType type;
  float eps;
};

/// d 64 or 128. Rows begin at multiples of 16 bytes.
Status skip_gate(const SkipGateParams& params, Stream stream);

struct SkipGateBackwardParams {
  SkipGateParams forward;  // out is not read
  const void* dout;        // [rows, heads, d]
  void* dy;                // [rows, heads, d]
  void* dx;                // [rows, heads, d] with x, else null
  void* dz;                // [rows, heads, d]
  float* parts;            // [3, part_count, heads, d]: scratch
  float* dskip;            // [heads, d], to be summed over d; with x
  float* dbias;            // [heads, d], or null without a bias
  float* dweight;          // [heads, d]
  int64_t part_count;
};

/// How many parts of parameters' gradients the kernel leaves on the current device.
int64_t skip_gate_parts(const SkipGateParams& params);

Status skip_gate_backward(const SkipGateBackwardParams& params, Stream stream);

/// out = (layer norm of each head(x) .* weight + bias) .* f(gate), f sigmoid or nothing.
struct NormGateParams {
  const void* x;        // [rows, heads, d]
  const void* gate;     // [rows, heads, d]
  const float* weight;  // [heads, d]
  const float* bias;    // [heads, d]
  void* out;            // [rows, heads, d]
  int64_t rows, heads, size;
  bool is_sigmoid;
  DType type;
  float eps;
};

/// d 64 or 128. Rows begin at multiples of 16 bytes.
Status norm_gate(const NormGateParams& params, Stream stream);

struct NormGateBackwardParams {
  NormGateParams forward;  // out is not read
  const void* dout;        // [rows, heads, d]
  void* dx;                // [rows, heads, d]
  void* dgate;             // [rows, heads, d]
  float* parts;            // [2, part_count, heads, d]: scratch
  float* dweight;          // [heads, d]
  float* dbias;            // [heads, d]
  int64_t part_count;
};

/// How many parts of parameters' gradients the kernel leaves on the current device.
int64_t norm_gate_parts(const NormGateParams& params);

Status norm_gate_backward(const NormGateBackwardParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
