// What stands between RWKV-7's projections and its recurrence (ops/rwkv7_gates.h; docs/kernels.md,
// "Around a recurrence"), for whole sequences, and its gradients. float32 inside, rounded once.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// decay = e^-0.5 sigmoid(z_decay + w0), rate = sigmoid(z_rate + a0), kappa = unit(k .* k_k), a =
/// -kappa, b = kappa .* rate, key = k .* (1 + (rate - 1) .* k_a); without k_k and k_a kappa =
/// unit(k) and key = k .* (1 - exp(-decay) + rate).
struct Rwkv7GatesParams {
  const void* k;        // [rows, key_heads, d]; head h of all takes h / (heads / key_heads)
  const void* z_decay;  // [rows, heads, d]
  const void* z_rate;   // [rows, heads, d]
  const float* w0;      // [heads, d], as all parameters
  const float* a0;
  const float* k_k;  // or null, as k_a
  const float* k_a;
  void* key;  // [rows, heads, d], as a and b
  void* a;
  void* b;
  float* decay;  // [rows, heads, d]
  int64_t rows, heads, key_heads, size;
  DType type;
  float eps;  // of kappa's length squared
};

constexpr int64_t kMostGatesGroup = 1024;  // numbers of the heads of one key head

/// d 64 or 128. Tensors begin at multiples of 16 bytes.
Status rwkv7_gates(const Rwkv7GatesParams& params, Stream stream);

struct Rwkv7GatesBackwardParams {
  Rwkv7GatesParams forward;  // key, a, b and decay are not read
  const void* dkey;          // [rows, heads, d], as da and db
  const void* da;
  const void* db;
  const float* ddecay;  // [rows, heads, d]
  void* dk;             // [rows, key_heads, d]
  void* dz_decay;       // [rows, heads, d]
  void* dz_rate;        // [rows, heads, d]
  float* parts;         // [4, part_count, heads, d]: scratch
  float* dw0;           // [heads, d], as da0, and dk_k and dk_a where those parameters are there
  float* da0;
  float* dk_k;
  float* dk_a;
  int64_t part_count;
};

/// How many parts of parameters' gradients the kernel leaves on the current device.
int64_t rwkv7_gates_parts(const Rwkv7GatesParams& params);

Status rwkv7_gates_backward(const Rwkv7GatesBackwardParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
