// AdamW by at::_fused_adamw_, which updates all tensors in one call on CPU and GPU. What it is
// given for mixed precision, a divisor and a flag to skip the update, serves clipping and the
// guard.
#include "train/adamw.h"

#include <algorithm>

#include "base/error.h"
#include "model/weights.h"

namespace hypenet {

AdamW::AdamW(const NamedTensors& parameters, const OptimizerConfig& config,
             const std::vector<TensorPart>& parts)
    : config_(config) {
  const auto add = [&](const TensorPart& part, const Tensor& parameter, bool is_whole) {
    items_.push_back({part, is_whole, parameter, torch::zeros_like(part.values),
                      torch::zeros_like(part.values),
                      torch::zeros({}, part.values.options().dtype(torch::kFloat32))});
  };
  for (const auto& [name, tensor] : parameters) {
    add({name, tensor.sizes().vec(), tensor.detach()}, tensor, /*is_whole=*/true);
  }
  for (const TensorPart& part : parts) add(part, part.values, /*is_whole=*/false);
  HYPENET_CHECK(!items_.empty(), "optimizer: expected parameters to train, found none");
  const auto scalar = items_.front().updates.options();
  divisor_ = torch::ones({}, scalar);
  is_stopped_ = torch::zeros({}, scalar);
  for (size_t i = 0; i < items_.size(); ++i) {
    add_to_group(items_[i].part.name, i);
  }
}

void AdamW::add_to_group(const std::string& name, size_t item) {
  const double share = rate_share(config_, name);
  const double weight_decay = is_mixers_own(name) ? 0 : config_.weight_decay;
  auto group = std::ranges::find_if(groups_, [&](const Group& other) {
    return other.share == share && other.weight_decay == weight_decay;
  });
  if (group == groups_.end()) {
    const Tensor rate = torch::full({}, share * config_.peak_lr, divisor_.options());
    group = groups_.insert(group, {share, weight_decay, rate, {}});
  }
  group->items.push_back(item);
}

void AdamW::set_learning_rate(double rate) {
  for (Group& group : groups_) group.rate.fill_(group.share * rate);
}

void AdamW::zero_gradients() {
  for (const Item& item : items_) item.parameter.mutable_grad() = Tensor();
}

/// A part may have no elements.
bool AdamW::has_update(const Item& item) {
  return item.part.values.numel() > 0 && item.parameter.grad().defined();
}

std::vector<const AdamW::Item*> AdamW::items_with_gradients() const {
  std::vector<const Item*> found;
  for (const Item& item : items_) {
    if (has_update(item)) found.push_back(&item);
  }
  return found;
}

std::vector<Tensor> AdamW::whole_gradients() const {
  std::vector<Tensor> gradients;
  for (const Item* item : items_with_gradients()) {
    if (item->is_whole) gradients.push_back(item->parameter.grad());
  }
  return gradients;
}

Tensor AdamW::part_squares() const {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> gradients;
  for (const Item* item : items_with_gradients()) {
    if (!item->is_whole) gradients.push_back(item->parameter.grad());
  }
  if (gradients.empty()) return torch::zeros({}, divisor_.options());
  return torch::stack(at::_foreach_norm(gradients, 2)).square().sum();
}

Tensor AdamW::inspect(const Tensor& loss, const Tensor& part_squares) {
  const torch::NoGradGuard no_grad;
  const std::vector<Tensor> whole = whole_gradients();
  HYPENET_CHECK(!whole.empty() || part_squares.defined(),
                "optimizer: expected gradients, found none");
  std::vector<Tensor> norms;
  if (!whole.empty()) norms = at::_foreach_norm(whole, 2);
  if (part_squares.defined()) norms.push_back(part_squares.sqrt());
  const Tensor norm = torch::linalg_vector_norm(torch::stack(norms), 2);
  if (config_.clip > 0) divisor_.copy_(((norm + 1e-6) / config_.clip).clamp_min(1));
  const Tensor is_finite = loss.detach().isfinite().logical_and(norm.isfinite());
  is_stopped_.copy_(is_stopped_.maximum(is_finite.logical_not()));
  return norm;
}

void AdamW::step() {
  const torch::NoGradGuard no_grad;
  for (const Group& group : groups_) update(group);
}

void AdamW::update(const Group& group) {
  std::vector<Tensor> tensors, gradients, first, second, steps;
  for (const size_t i : group.items) {
    const Item& item = items_[i];
    if (!has_update(item)) continue;
    tensors.push_back(item.part.values);
    gradients.push_back(item.parameter.grad());
    first.push_back(item.first_moment);
    second.push_back(item.second_moment);
    steps.push_back(item.updates);
  }
  if (tensors.empty()) return;  // of so few elements that other ranks have them all
  at::_foreach_add_(steps, 1 - is_stopped_);
  at::_fused_adamw_(tensors, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps, group.rate,
                    config_.beta1, config_.beta2, group.weight_decay, config_.epsilon,
                    /*amsgrad=*/false, /*maximize=*/false,
                    config_.clip > 0 ? std::optional(divisor_) : std::nullopt, is_stopped_);
}

std::string AdamW::first_nonfinite_gradient() const {
  for (const Item* item : items_with_gradients()) {
    if (!item->parameter.grad().isfinite().all().item<bool>()) return item->part.name;
  }
  return {};
}

std::vector<TensorPart> AdamW::state(bool is_first) const {
  std::vector<TensorPart> state;
  for (const Item& item : items_) {
    const auto add = [&](const char* kind, const std::vector<int64_t>& shape, const Tensor& values,
                         int64_t first, bool is_mine) {
      const Tensor flat = values.reshape(-1);
      state.push_back({kind + item.part.name, shape, is_mine ? flat : flat.narrow(0, 0, 0), first});
    };
    const auto add_part = [&](const char* kind, const Tensor& values) {
      add(kind, item.part.shape, values, item.part.first, is_first || !item.is_whole);
    };
    add_part("parameter/", item.part.values);
    add_part("first_moment/", item.first_moment);
    add_part("second_moment/", item.second_moment);
    add("updates/", {1}, item.updates, 0, is_first);
  }
  return state;
}

void AdamW::load_state(const SafetensorsFile& file, const std::string& place) {
  const torch::NoGradGuard no_grad;
  for (const Item& item : items_) {
    const auto restore = [&](const char* kind, const std::vector<int64_t>& shape,
                             const Tensor& target, int64_t first) {
      const Tensor saved = file.tensor(kind + item.part.name);
      HYPENET_CHECK(saved.sizes().vec() == shape, place, ": tensor ", kind, item.part.name,
                    ": expected shape ", at::IntArrayRef(shape), ", found ", saved.sizes());
      target.view(-1).copy_(saved.reshape(-1).narrow(0, first, target.numel()));
    };
    restore("parameter/", item.part.shape, item.part.values, item.part.first);
    restore("first_moment/", item.part.shape, item.first_moment, item.part.first);
    restore("second_moment/", item.part.shape, item.second_moment, item.part.first);
    restore("updates/", {1}, item.updates, 0);
  }
}

}  // namespace hypenet
