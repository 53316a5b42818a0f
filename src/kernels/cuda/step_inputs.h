// The first kernel of a decode step: embeddings, RoPE angles and the queries' scale of its rows.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

struct StepInputsParams {
  const int32_t* ids;         // [rows]; outside the vocabulary: the nearest token inside
  const int32_t* positions;   // [rows]
  const void* embedding;      // [vocabulary, size]
  const double* frequencies;  // [half] rad a token
  void* h;                    // [rows, size]
  float* cos;                 // [rows, half]
  float* sin;                 // [rows, half]
  float* query_scale;         // [rows], or null
  int64_t rows, vocabulary, size, half;
  DType table_type, type;  // of embedding and h
  double scale_base;       // a of log(position + a) / log(a)
};

/// ids and positions may be what the kernel queued before writes.
Status step_inputs(const StepInputsParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
