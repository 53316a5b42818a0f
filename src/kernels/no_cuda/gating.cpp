// The gates in a program without device kernels.
#include "kernels/cuda/gating.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status swiglu(const GateParams& /*params*/, Stream /*stream*/) { return kNoCuda; }
Status sigmoid_gate(const GateParams& /*params*/, Stream /*stream*/) { return kNoCuda; }
Status swiglu_backward(const GateBackwardParams& /*params*/, Stream /*stream*/) { return kNoCuda; }
Status sigmoid_gate_backward(const GateBackwardParams& /*params*/, Stream /*stream*/) {
  return kNoCuda;
}

}  // namespace hypenet::kernels::cuda
