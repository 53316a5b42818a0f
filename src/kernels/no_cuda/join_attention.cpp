// Stands in where the program has no device kernels.
#include "kernels/cuda/join_attention.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status join_attention(const JoinAttentionParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

}  // namespace hypenet::kernels::cuda
