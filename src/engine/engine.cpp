// Scoring, and generation: prefill in chunks, then one token a forward.
#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"
#include "engine/score.h"

namespace hypenet {

Engine::Engine(CausalLm model) : model_(std::move(model)) {
  model_->eval();
  model_->set_logits_scaling(model_->config().attn_logits_scaling);
}

const ModelConfig& Engine::config() const { return model_->config(); }

RowScores Engine::score(std::span<const ScoredRow> rows, int64_t batch_tokens) {
  const HiddenVariants only = [&](const Tensor& ids, const auto& emit) {
    emit(model_->hidden(ids));
  };
  auto scores = score_variants(model_, rows, batch_tokens, only);
  return scores.empty() ? RowScores() : std::move(scores.front());
}

Tensor Engine::advance(std::span<const int32_t> ids, int64_t chunk, DecodeState& state) {
  const auto device = model_->head_weight().device();
  Tensor hidden;
  for (size_t begin = 0; begin < ids.size(); begin += static_cast<size_t>(chunk)) {
    const size_t count = std::min(static_cast<size_t>(chunk), ids.size() - begin);
    const Tensor tokens = ids_tensor(ids.subspan(begin, count), device).unsqueeze(0);  // [1, T]
    hidden = model_->hidden(tokens, {}, &state);
  }
  return model_->logits(hidden[0][-1]);
}

std::vector<int32_t> Engine::generate(std::span<const int32_t> prompt,
                                      const GenerateOptions& options,
                                      const std::function<bool(int32_t)>& on_token) {
  const torch::NoGradGuard no_grad;
  HYPENET_CHECK(!prompt.empty(), "generate: expected a prompt of at least one token, found none");
  HYPENET_CHECK(options.prefill_chunk > 0, "generate: prefill_chunk: expected at least 1, found ",
                options.prefill_chunk);
  check_ids("generate", prompt, config().vocab_size);
  const auto& stops = options.stop_ids;
  const auto tensor_options = model_->head_weight().options().dtype(model_->compute_type());
  DecodeState state(config(), 1, static_cast<int64_t>(prompt.size()) + options.max_tokens,
                    tensor_options.requires_grad(false));
  Random random(options.sampling.seed);
  std::vector<int32_t> generated;
  while (static_cast<int64_t>(generated.size()) < options.max_tokens) {
    const Tensor logits = generated.empty() ? advance(prompt, options.prefill_chunk, state)
                                            : advance(std::span(generated).last(1), 1, state);
    const int32_t id = sample(logits, options.sampling, random);
    if (std::find(stops.begin(), stops.end(), id) != stops.end()) break;
    generated.push_back(id);
    if (on_token && !on_token(id)) break;
  }
  return generated;
}

}  // namespace hypenet
