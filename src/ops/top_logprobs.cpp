// Both devices have a kernel of their own.
#include "ops/top_logprobs.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "kernels/top_logprobs.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

void check_rows(const char* what, const Tensor& x, torch::ScalarType type, const Tensor& logits) {
  HYPENET_CHECK(x.dim() == 1 && x.size(0) == logits.size(0) && x.scalar_type() == type &&
                    x.is_contiguous() && x.device() == logits.device(),
                "top_logprobs: ", what, ": expected ", logits.size(0), " contiguous ", type, " on ",
                logits.device(), ", found ", x.sizes(), " ", x.scalar_type(), " on ", x.device());
}

}  // namespace

TopLogprobs top_logprobs(const Tensor& logits, const Tensor& slots, const SamplingState& state,
                         const SampledTokens& tokens) {
  const torch::NoGradGuard no_grad;
  HYPENET_CHECK(logits.dim() == 2 && logits.scalar_type() == torch::kFloat32,
                "top_logprobs: logits: expected [N, V] Float, found ", logits.sizes(), " ",
                logits.scalar_type());
  check_rows("slots", slots, torch::kInt32, logits);
  check_rows("ids", tokens.ids, torch::kInt32, logits);
  check_rows("log_sums", tokens.log_sums, torch::kFloat32, logits);
  const Tensor rows = dense(logits);
  const TopLogprobs top{
      torch::empty({rows.size(0), kernels::kMostTop}, rows.options().dtype(torch::kInt32)),
      torch::empty({rows.size(0), kernels::kMostTop}, rows.options())};
  const kernels::TopLogprobsParams params{
      .logits = rows.const_data_ptr<float>(),
      .slots = slots.const_data_ptr<int32_t>(),
      .settings = reinterpret_cast<const SampleSettings*>(state.settings.const_data_ptr()),
      .ids = tokens.ids.const_data_ptr<int32_t>(),
      .log_sums = tokens.log_sums.const_data_ptr<float>(),
      .top_ids = top.ids.mutable_data_ptr<int32_t>(),
      .top_logprobs = top.logprobs.mutable_data_ptr<float>(),
      .rows = rows.size(0),
      .vocabulary = rows.size(1)};
  if (rows.is_cuda()) {
    const c10::DeviceGuard on_device(rows.device());
    throw_unless_ok("top_logprobs",
                    kernels::device_kernels().top_logprobs(params, current_stream(rows)));
    return top;
  }
  at::parallel_for(0, params.rows, 1,
                   [&](int64_t begin, int64_t end) { kernels::top_logprobs(params, begin, end); });
  return top;
}

}  // namespace hypenet
