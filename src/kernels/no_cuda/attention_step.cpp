// Attention of a step in a program without device kernels.
#include "kernels/cuda/attention_step.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status attention_step(const AttentionStepParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

int64_t attention_step_floats(const AttentionStepParams& /*params*/) { return 0; }

}  // namespace hypenet::kernels::cuda
