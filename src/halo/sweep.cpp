// The sweep. For layer i the walk starts from the teacher's own hidden state below i.
#include "halo/sweep.h"

#include <algorithm>

#include "engine/score.h"
#include "eval/measures.h"

namespace hypenet {
namespace {

/// Final hidden states of the teacher, then of each replacement, for one batch of ids [B, T].
void walk_replacements(CausalLm& teacher, CausalLm& twins, const Tensor& ids,
                       const std::function<void(const Tensor& hidden)>& emit) {
  const int64_t layers = teacher->config().num_hidden_layers;
  const Step step = teacher->step(ids);
  std::vector<Tensor> below = {teacher->embed(ids)};  // [i]: the input of layer i, [B, T, D]
  for (int64_t i = 0; i < layers; ++i)
    below.push_back(teacher->layer(i)->forward({below.back()}, step).sum());
  emit(teacher->finish({below.back()}));
  for (int64_t i = 0; i < layers; ++i) {
    Block& block = teacher->layer(i);
    const Tensor& x = below[static_cast<size_t>(i)];
    const Tensor input = block->mixer_input({x}).normed;
    Residual h = block->finish(x, twins->layer(i)->mixer().forward(input, step));
    for (int64_t above = i + 1; above < layers; ++above)
      h = teacher->layer(above)->forward(h, step);
    emit(teacher->finish(h));
  }
}

}  // namespace

void check_twins(const ModelConfig& teacher, const ModelConfig& twins, const std::string& place) {
  const auto is_recurrent = [](MixerType type) { return type == MixerType::kLightning; };
  HYPENET_CHECK(
      std::all_of(twins.mixer_types.begin(), twins.mixer_types.end(), is_recurrent), place,
      ": expected a model whose every layer is lightning-attn (stage 1's), found attention layers");
  HYPENET_CHECK(twins.num_hidden_layers == teacher.num_hidden_layers &&
                    twins.hidden_size == teacher.hidden_size,
                place, ": expected twins of ", teacher.num_hidden_layers, " layers of size ",
                teacher.hidden_size, ", found ", twins.num_hidden_layers, " of size ",
                twins.hidden_size);
}

LayerScores sweep_layers(CausalLm& teacher, CausalLm& twins, const SweepRows& rows,
                         int64_t batch_tokens,
                         const std::function<void(int64_t, int64_t)>& report) {
  const torch::NoGradGuard no_grad;
  const HiddenVariants variants = [&](const Tensor& ids, const auto& emit) {
    walk_replacements(teacher, twins, ids, emit);
  };
  const auto recall = score_variants(teacher, rows.recall, batch_tokens, variants, report);
  const auto text = score_variants(teacher, rows.text, batch_tokens, variants, report);
  LayerScores scores;
  scores.columns = {"recall/exact", "next_token/accuracy"};
  for (size_t variant = 0; variant < recall.size(); ++variant) {
    const std::vector<double> row = {exact_share(recall[variant]), greedy_share(text[variant])};
    if (variant == 0) {
      scores.original = row;
    } else {
      scores.layers.push_back(row);
    }
  }
  return scores;
}

}  // namespace hypenet
