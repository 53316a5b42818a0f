// One mixer alone, with parameters, inputs and results that were computed elsewhere
// (tests/data/mixers), and the same mixer cut into a prefill and steps.
#pragma once

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"
#include "store/safetensors.h"

namespace hypenet::testing_support {

struct MixerLayer {
  const char* name;
  const MixerKind* kind;
  const char* fixture;                     // "layer0"
  void (*configure)(ModelConfig& config);  // hidden_size, and what is the mixer's own
};

inline void PrintTo(const MixerLayer& layer, std::ostream* out) { *out << layer.name; }

/// What a context of these positions holds, for heads of 16.
inline Context context_of(int64_t begin, int64_t count) {
  Context context;
  context.positions = torch::arange(begin, begin + count);
  context.angles = rope_angles(context.positions, rope_frequencies(16, 10000));
  return context;
}

/// The largest difference, of the largest entry.
inline double relative_error(const Tensor& found, const Tensor& expected) {
  const Tensor wide = expected.to(torch::kFloat64);
  return ((found.to(torch::kFloat64) - wide).abs().max() / wide.abs().max()).item<double>();
}

class StoredMixer {
 public:
  explicit StoredMixer(const MixerLayer& layer)
      : layer_(layer),
        file_(concat(HYPENET_TEST_DATA "/mixers/", layer.kind->name, "-layers.safetensors")) {
    config.hidden_size = 32, config.num_attention_heads = config.num_key_value_heads = 4;
    config.head_dim = 16, config.attn_use_rope = false;
    config.mixer_types = {layer.kind};
    layer.configure(config);
  }

  bool contains(const std::string& name) const { return file_.contains(full(name)); }
  Tensor tensor(const std::string& name, torch::ScalarType type) const {
    return file_.tensor(full(name)).to(type, false, /*copy=*/true);
  }

  /// With the file's parameters; those that it has not, or in another size, are as they are made.
  std::shared_ptr<TokenMixer> mixer(torch::ScalarType type) const {
    const auto mixer = layer_.kind->make(config, contains("v_first") ? 1 : 0);
    for (auto& item : mixer->named_parameters()) {
      const Tensor own = item.value(), stored = of_size("p." + item.key(), type, own.numel());
      item.value().set_data(stored.defined() ? stored.view(own.sizes()) : own.detach().to(type));
    }
    return mixer;
  }

  /// Parameters that the file has under a publication's names: (own, published) of each.
  void take_published(TokenMixer& mixer,
                      std::initializer_list<std::pair<const char*, const char*>> names) const {
    auto own = mixer.named_parameters();
    for (const auto& [name, published] : names) {
      if (!contains(published)) continue;
      own[name].set_data(tensor(published, own[name].scalar_type()));
    }
  }

  /// expect_results of `make(type)` in float64 and float32.
  template <class Make>
  void expect_results_in_wide_types(const Make& make) const {
    for (const auto& [type, tolerance] :
         {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 2e-5}}) {
      SCOPED_TRACE(torch::toString(type));
      const auto mixer = make(type);
      expect_results(*mixer, type, tolerance);
    }
  }

  /// expect_any_cut of `make(type)` at each place, in every type.
  template <class Make>
  void expect_every_cut(const Make& make) const {
    for (const auto& [type, tolerance] :
         {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 1e-5},
          std::pair{torch::kBFloat16, 3e-2}}) {
      const auto mixer = make(type);
      for (int64_t cut = 1; cut <= 9; ++cut) {
        SCOPED_TRACE(c10::str(torch::toString(type), ", cut at ", cut));
        expect_any_cut(*mixer, cut, type, tolerance);
      }
    }
  }

  /// y, and the gradients that the file has of x and the parameters.
  void expect_results(TokenMixer& mixer, torch::ScalarType type, double tolerance) const {
    const Tensor x = tensor("x", type).requires_grad_();
    const Context context = context_of(0, x.size(1));
    if (contains("v_first")) context.share->first_values = tensor("v_first", type);
    const Tensor y = mixer.forward(x, context);
    EXPECT_LT(relative_error(y, tensor("y", torch::kFloat64)), tolerance);
    std::vector<Tensor> leaves = {x}, expected = {tensor("grad.x", torch::kFloat64)};
    for (const auto& item : mixer.named_parameters()) {
      const Tensor own = item.value();
      const Tensor stored = of_size("grad.p." + item.key(), torch::kFloat64, own.numel());
      if (!stored.defined()) continue;
      leaves.push_back(own), expected.push_back(stored.view(own.sizes()));
    }
    const auto found = torch::autograd::grad({y}, leaves, {tensor("d_y", type)});
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LT(relative_error(found[i], expected[i]), tolerance) << i;
    }
  }

  /// Nine tokens: a prefill of `cut` and steps for the rest are one forward.
  void expect_any_cut(TokenMixer& mixer, int64_t cut, torch::ScalarType type,
                      double tolerance) const {
    const torch::NoGradGuard no_grad;
    torch::manual_seed(3);
    const auto states = type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    const int64_t D = config.hidden_size;
    RmsNorm norm(D, 1e-6);
    norm->to(type);
    const Tensor h = torch::randn({1, 9, D}).to(type), x = norm(h);
    const Tensor first = first_values(type);  // [1, 9, W], or undefined
    const Context whole = context_of(0, 9), part = context_of(0, cut);
    whole.share->first_values = first;
    if (first.defined()) part.share->first_values = first.narrow(1, 0, cut);
    const Tensor expected = mixer.forward(x, whole)[0];
    LayerMemory memory = new_states(*layer_.kind, config, 1, states);
    std::vector<Tensor> rows = {mixer.prefill(x.narrow(1, 0, cut), part, {.slot = 0}, memory)[0]};
    for (int64_t t = cut; t < 9; ++t) {
      const TokenRows token{.slots = torch::zeros({1}, torch::kInt32),
                            .positions = torch::full({1}, t, torch::kInt32),
                            .page_table = {},
                            .angles = context_of(t, 1).angles};
      if (first.defined()) token.share->first_values = first[0].narrow(0, t, 1);
      const StepOutput output = mixer.step({h[0].narrow(0, t, 1), norm}, token, memory);
      rows.push_back(torch::zeros({1, D}, h.options()));
      add_step(rows.back(), output);
    }
    EXPECT_LT(relative_error(torch::cat(rows), expected), tolerance);
  }

  ModelConfig config;

 private:
  /// Undefined where the file has none, or one of another size.
  Tensor of_size(const std::string& name, torch::ScalarType type, int64_t count) const {
    const Tensor stored = contains(name) ? tensor(name, type) : Tensor();
    return stored.defined() && stored.numel() == count ? stored : Tensor();
  }

  /// Of nine tokens, where the file has such at all.
  Tensor first_values(torch::ScalarType type) const {
    return contains("v_first") ? torch::randn({1, 9, tensor("v_first", type).size(2)}).to(type)
                               : Tensor();
  }

  std::string full(const std::string& name) const { return concat(layer_.fixture, ".", name); }

  const MixerLayer& layer_;
  SafetensorsFile file_;
};

}  // namespace hypenet::testing_support
