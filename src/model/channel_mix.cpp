// Squares keep the sign of relu's output, so no activation follows them.
#include "model/channel_mix.h"

#include "model/mixers/token_shift.h"

namespace hypenet {
namespace {

size_t last_part(const LayerMemory& memory) {
  return std::get<RecurrentStates>(memory).parts.size() - 1;
}

Tensor squared_relu(const Tensor& x) { return x.relu().square(); }

}  // namespace

StatePart channel_mix_part(const ModelConfig& config) {
  return {"channel mixing", {config.hidden_size, 1}};
}

ChannelMixImpl::ChannelMixImpl(const ModelConfig& config) {
  const int64_t D = config.hidden_size, wide = config.intermediate_size;
  x_k_ = register_parameter("x_k", torch::zeros({D}));
  key_ = register_module("key", Linear(D, wide, false));
  value_ = register_module("value", Linear(wide, D, false));
}

Tensor ChannelMixImpl::forward(const Tensor& x, const Context& context) {
  return value_(squared_relu(key_(mixed(x, token_shift(x, context)))));
}

Tensor ChannelMixImpl::prefill(const Tensor& x, const Prefix& prefix, LayerMemory& memory) {
  const Tensor previous = token_shift(x, prefix, memory, last_part(memory));
  return value_(squared_relu(key_(mixed(x, previous))));
}

StepOutput ChannelMixImpl::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const Tensor own = x.value();
  const Tensor previous = token_shift(own, rows, memory, last_part(memory));
  return {.x = squared_relu(apply_step(mixed(own, previous), key_)), .projection = value_};
}

Tensor ChannelMixImpl::mixed(const Tensor& x, const Tensor& previous) const {
  return x + (previous - x) * x_k_.to(x.scalar_type());
}

}  // namespace hypenet
