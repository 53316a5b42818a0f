// In pieces: two rows of a large vocabulary a position are more than the model itself.
#include "halo/divergence.h"

#include <algorithm>

namespace hypenet {

double kl_sum(CausalLm& teacher, const Tensor& teacher_hidden, CausalLm& student,
              const Tensor& student_hidden) {
  constexpr int64_t kMostLogits = int64_t{1} << 24;
  const torch::NoGradGuard no_grad;
  const Tensor expected = teacher_hidden.flatten(0, -2), found = student_hidden.flatten(0, -2);
  const int64_t piece = std::max<int64_t>(1, kMostLogits / teacher->config().vocab_size);
  const auto log_softmax = [](CausalLm& model, const Tensor& hidden) {
    return torch::log_softmax(model->logits(hidden).to(torch::kFloat32), -1);
  };
  double sum = 0;
  for (int64_t begin = 0; begin < expected.size(0); begin += piece) {
    const int64_t end = std::min(begin + piece, expected.size(0));
    const Tensor p = log_softmax(teacher, expected.slice(0, begin, end));
    const Tensor q = log_softmax(student, found.slice(0, begin, end));
    sum += (p.exp() * (p - q)).sum(torch::kFloat64).item<double>();
  }
  return sum;
}

}  // namespace hypenet
