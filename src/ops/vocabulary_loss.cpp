// On a GPU one kernel; elsewhere libtorch's log softmax, overwritten step by step.
#include "ops/vocabulary_loss.h"

#include "kernels/device.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using Kernel = kernels::Status (*)(const kernels::cuda::VocabularyLossParams&, kernels::Stream);

/// Whether the kernels take these: rows of neighbouring elements, of a type that they know.
bool suits_kernel(const Tensor& logits) {
  return suits_cuda_kernels({logits}) && logits.stride(1) == 1;
}

LogitsLoss run(Kernel kernel, kernels::cuda::VocabularyLossParams params, const Tensor& logits,
               double scale) {
  const c10::DeviceGuard on_device(logits.device());
  const Tensor losses = torch::empty({logits.size(0)}, logits.options().dtype(torch::kFloat32));
  params.logits = logits.mutable_data_ptr(), params.logits_stride = logits.stride(0);
  params.losses = losses.mutable_data_ptr<float>();
  params.rows = logits.size(0), params.vocabulary = logits.size(1);
  params.scale = static_cast<float>(scale), params.type = kernel_type(logits);
  throw_unless_ok("loss over the vocabulary", kernel(params, current_stream(logits)));
  return {losses.sum(), logits};
}

/// Log-probabilities in the type of sums, in the logits' memory when that is their type.
Tensor log_softmax(const Tensor& logits) {
  Tensor wide = logits.to(sum_type(logits));
  at::_log_softmax_out(wide, wide, -1, false);
  return wide;
}

}  // namespace

LogitsLoss cross_entropy(const Tensor& logits, const Tensor& targets, double scale) {
  check_shape("cross-entropy: targets", targets, {logits.size(0)});
  HYPENET_CHECK(targets.scalar_type() == torch::kInt64 && targets.device() == logits.device(),
                "cross-entropy: targets: expected int64 on ", logits.device(), ", found ",
                targets.scalar_type(), " on ", targets.device());
  if (suits_kernel(logits)) {
    const Tensor rows = targets.contiguous();
    kernels::cuda::VocabularyLossParams params;
    params.targets = rows.const_data_ptr<int64_t>();
    return run(kernels::device_kernels().cross_entropy, params, logits, scale);
  }
  const Tensor target = targets.unsqueeze(1);
  Tensor q = log_softmax(logits);
  const Tensor loss = q.gather(1, target).sum().neg();
  q.exp_().scatter_add_(1, target, torch::full({1, 1}, -1, q.options()).expand_as(target));
  return {loss, q.mul_(scale).to(logits.scalar_type())};
}

LogitsLoss kl_divergence(const Tensor& logits, const Tensor& teacher, double scale) {
  check_shape("KL: teacher", teacher, logits.sizes());
  check_alike("KL: teacher", teacher, logits);
  if (suits_kernel(logits) && teacher.stride(1) == 1) {
    kernels::cuda::VocabularyLossParams params;
    params.teacher = teacher.const_data_ptr(), params.teacher_stride = teacher.stride(0);
    return run(kernels::device_kernels().kl_divergence, params, logits, scale);
  }
  Tensor p = log_softmax(teacher), q = log_softmax(logits);
  const Tensor probability = p.exp();
  const Tensor loss = (probability * p.sub_(q)).sum();
  return {loss, q.exp_().sub_(probability).mul_(scale).to(logits.scalar_type())};
}

}  // namespace hypenet
