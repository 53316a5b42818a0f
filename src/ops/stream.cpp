// libtorch's own device guard gives the stream, so that no CUDA header is needed here.
#include "ops/stream.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace hypenet {
namespace {

thread_local bool is_settled = false;

}  // namespace

bool suits_cuda_kernels(std::initializer_list<Tensor> tensors) {
  if (!kernels::has_cuda_kernels()) return false;
  const auto* const first = std::ranges::find_if(tensors, &Tensor::defined);
  return std::ranges::all_of(tensors, [&](const Tensor& x) {
    return !x.defined() ||
           (x.is_cuda() && x.device() == first->device() &&
            (x.scalar_type() == torch::kBFloat16 || x.scalar_type() == torch::kFloat32));
  });
}

kernels::DType kernel_type(const Tensor& x) {
  if (x.scalar_type() == torch::kBFloat16) return kernels::DType::kBFloat16;
  HYPENET_CHECK(x.scalar_type() == torch::kFloat32,
                "kernels: expected type float32 or bfloat16, found ", x.scalar_type());
  return kernels::DType::kFloat32;
}

bool is_aligned(const Tensor& x) {
  return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
}

Tensor dense(const Tensor& x) {
  if (!x.defined()) return x;
  const Tensor whole = x.contiguous();
  return is_aligned(whole) ? whole : whole.clone();
}

const void* data_or_null(const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

const float* floats_or_null(const Tensor& x) {
  return x.defined() && x.numel() > 0 ? x.const_data_ptr<float>() : nullptr;
}

kernels::Stream current_stream(const Tensor& x) {
  const c10::impl::VirtualGuardImpl device(x.device().type());
  return {device.getStream(x.device()).native_handle(), is_settled};
}

SettledStream::SettledStream() : before_(std::exchange(is_settled, true)) {}
SettledStream::~SettledStream() { is_settled = before_; }

void throw_unless_ok(const char* place, kernels::Status status) {
  HYPENET_CHECK(status.ok(), place, ": ", status.error);
}

}  // namespace hypenet
