// Losses of a piece of logits, which become their own gradient (docs/kernels.md).
#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// Rows of any stride; fast where they are aligned to 16 bytes.
struct VocabularyLossParams {
  void* logits = nullptr;            // [rows, vocabulary] of `type`; becomes scale * dloss/dlogits
  const void* teacher = nullptr;     // KL: the teacher's logits, likewise
  const int64_t* targets = nullptr;  // cross-entropy: [rows]; one outside the vocabulary gives NaN
  float* losses = nullptr;           // [rows], written
  int64_t rows = 0, vocabulary = 0;
  int64_t logits_stride = 0, teacher_stride = 0;  // elements from a row to the next
  float scale = 1;
  DType type = DType::kBFloat16;
};

/// losses = -log softmax(logits)[target].
Status cross_entropy(const VocabularyLossParams& params, Stream stream);

/// losses = KL(softmax(teacher) || softmax(logits)).
Status kl_divergence(const VocabularyLossParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
