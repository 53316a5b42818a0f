// AdamW by at::_fused_adamw_, which updates all tensors in one call on CPU and GPU. What it is
// given for mixed precision, a divisor and a flag to skip the update, serves clipping and the
// guard.
#include "train/adamw.h"

#include "base/error.h"

namespace hypenet {

AdamW::AdamW(NamedTensors parameters, const OptimizerConfig& config)
    : parameters_(std::move(parameters)), config_(config) {
  HYPENET_CHECK(!parameters_.empty(), "optimizer: expected parameters to train, found none");
  const auto scalar =
      parameters_.front().second.options().dtype(torch::kFloat32).requires_grad(false);
  for (const auto& [name, tensor] : parameters_) {
    tensors_.push_back(tensor.detach());
    first_moments_.push_back(torch::zeros_like(tensors_.back()));
    second_moments_.push_back(torch::zeros_like(tensors_.back()));
    steps_.push_back(torch::zeros({}, scalar));
  }
  rate_ = torch::full({}, config_.peak_lr, scalar);
  divisor_ = torch::ones({}, scalar);
  is_stopped_ = torch::zeros({}, scalar);
}

void AdamW::set_learning_rate(double rate) { rate_.fill_(rate); }

void AdamW::zero_gradients() {
  for (const auto& [name, tensor] : parameters_) tensor.mutable_grad() = Tensor();
}

std::vector<Tensor> AdamW::gradients() const {
  std::vector<Tensor> gradients;
  for (const auto& [name, tensor] : parameters_) {
    if (tensor.grad().defined()) gradients.push_back(tensor.grad());
  }
  return gradients;
}

Tensor AdamW::inspect(const Tensor& loss) {
  const torch::NoGradGuard no_grad;
  const std::vector<Tensor> all = gradients();
  HYPENET_CHECK(!all.empty(), "optimizer: expected gradients, found none");
  const Tensor norm = torch::linalg_vector_norm(torch::stack(at::_foreach_norm(all, 2)), 2);
  if (config_.clip > 0) divisor_.copy_(((norm + 1e-6) / config_.clip).clamp_min(1));
  const Tensor is_finite = loss.detach().isfinite().logical_and(norm.isfinite());
  is_stopped_.copy_(is_stopped_.maximum(is_finite.logical_not()));
  return norm;
}

void AdamW::step() {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> tensors, gradients, first, second, steps;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& gradient = parameters_[i].second.grad();
    if (!gradient.defined()) continue;
    tensors.push_back(tensors_[i]);
    gradients.push_back(gradient);
    first.push_back(first_moments_[i]);
    second.push_back(second_moments_[i]);
    steps.push_back(steps_[i]);
  }
  at::_foreach_add_(steps, 1 - is_stopped_);
  at::_fused_adamw_(tensors, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps, rate_,
                    config_.beta1, config_.beta2, config_.weight_decay, config_.epsilon,
                    /*amsgrad=*/false, /*maximize=*/false,
                    config_.clip > 0 ? std::optional(divisor_) : std::nullopt, is_stopped_);
}

NamedTensors AdamW::state() const {
  NamedTensors state;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].first;
    state.emplace_back("parameter/" + name, tensors_[i]);
    state.emplace_back("first_moment/" + name, first_moments_[i]);
    state.emplace_back("second_moment/" + name, second_moments_[i]);
    state.emplace_back("updates/" + name, steps_[i].reshape({1}));
  }
  return state;
}

void AdamW::load_state(const SafetensorsFile& file, const std::string& place) {
  const torch::NoGradGuard no_grad;
  const auto restore = [&](const std::string& name, const Tensor& target) {
    const Tensor saved = file.tensor(name);
    HYPENET_CHECK(saved.sizes() == target.sizes(), place, ": tensor ", name, ": expected shape ",
                  target.sizes(), ", found ", saved.sizes());
    target.copy_(saved);
  };
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].first;
    restore("parameter/" + name, tensors_[i]);
    restore("first_moment/" + name, first_moments_[i]);
    restore("second_moment/" + name, second_moments_[i]);
    restore("updates/" + name, steps_[i].view({1}));
  }
}

}  // namespace hypenet
