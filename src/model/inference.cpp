// Forwards with memory: a chunk of one sequence by the kernels of whole sequences, or a few rows of
// many sequences by those of a step.
#include "model/causal_lm.h"
#include "ops/linear_step.h"
#include "ops/step_inputs.h"
#include "ops/stream.h"

namespace hypenet {

MemoryTypes CausalLmImpl::memory_types() const {
  MemoryTypes types = hypenet::memory_types(embedding_.read().scalar_type(), plan_.type);
  if (plan_.cache_type) types.cache = *plan_.cache_type;
  return types;
}

Tensor CausalLmImpl::prefill(const Tensor& ids, Prefix prefix, DecodeState& state) {
  const torch::NoGradGuard no_grad;
  const Tensor row = ids.unsqueeze(0);  // [1, T]
  const Context context = make_context(row, {}, prefix.past);
  if (state.sizes.pages > 0) {  // there are attention layers
    prefix.places = places_in_pages(prefix.pages, context.positions, state.sizes.page_tokens);
  }
  const Residual h = prefill_layers(row, context, prefix, state);
  const auto last = [&](const Tensor& x) { return x.defined() ? x[0].slice(0, -1) : x; };
  return Residual{last(h.stream), last(h.pending)}.sum();
}

Tensor CausalLmImpl::prefill(const PaddedChunk& chunk, const Prefix& prefix, DecodeState& state) {
  const torch::NoGradGuard no_grad;
  use_frequencies_on(chunk.ids.device());
  Context context;
  context.positions = chunk.positions;
  context.angles = rope_angles(chunk.positions, frequencies_);
  context.query_scale = query_scale(chunk.positions);
  const Residual h = prefill_layers(chunk.ids.unsqueeze(0), context, prefix, state);
  const auto last = [&](const Tensor& x) {
    return x.defined() ? x[0].index_select(0, chunk.last) : x;
  };
  return Residual{last(h.stream), last(h.pending)}.sum();
}

Residual CausalLmImpl::prefill_layers(const Tensor& ids, const Context& context,
                                      const Prefix& prefix, DecodeState& state) {
  Residual h = {embed(ids)};
  for (size_t i = 0; i < layers_.size(); ++i) {
    h = layers_[i]->prefill(h, context, prefix, state.layers[i]);
  }
  return h;
}

Tensor CausalLmImpl::step(const Tensor& ids, TokenRows rows, DecodeState& state) {
  const torch::NoGradGuard no_grad;
  use_frequencies_on(ids.device());
  const bool by_position = plan_.logits_scaling.kind == LogitsScaling::Kind::kLogPosition;
  const StepInputs inputs =
      step_inputs({.ids = ids,
                   .positions = rows.positions,
                   .embedding = embedding_,
                   .frequencies = frequencies_,
                   .scale_base = by_position ? plan_.logits_scaling.value : 0},
                  plan_.type);
  rows.angles = inputs.angles, rows.query_scale = inputs.query_scale;
  if (plan_.logits_scaling.kind == LogitsScaling::Kind::kConstant) {
    rows.query_scale = torch::full({ids.size(0)}, plan_.logits_scaling.value,
                                   ids.options().dtype(torch::kFloat32));
  }
  // step_inputs has parted this step from the one before, and no layer writes another's memory.
  const SettledStream settled;
  const Tensor h = embedding_norm_ ? embedding_norm_(inputs.h) : inputs.h;
  for (size_t i = 0; i < layers_.size(); ++i) layers_[i]->step(h, rows, state.layers[i]);
  return h;
}

Tensor CausalLmImpl::step_logits(const Tensor& residual) {
  const torch::NoGradGuard no_grad;
  const LinearWeights head{this->head()};
  LinearStepInput input = Normed{residual, norm_}.input();
  input.layers = {&head, 1}, input.has_float_output = true;
  return linear_step(input).front();
}

}  // namespace hypenet
