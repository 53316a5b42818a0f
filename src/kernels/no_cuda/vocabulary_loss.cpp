// Losses over the vocabulary in a program without device kernels.
#include "kernels/cuda/vocabulary_loss.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status cross_entropy(const VocabularyLossParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

Status kl_divergence(const VocabularyLossParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

}  // namespace hypenet::kernels::cuda
