// The candidates are published names; what a mixer does between two of them only its own code
// knows, so each fold is tried on the layer itself.
#include "quantize/input_folds.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace hypenet {
namespace {

/// Within a layer.
constexpr std::array<std::string_view, 5> kProducers = {
    "input_layernorm", "post_attention_layernorm", "self_attn.o_norm", "self_attn.v_proj",
    "mlp.up_proj"};

/// The layer, what it is tried on, and what it makes of that.
struct Trial {
  CausalLm& model;
  int64_t layer;
  const Context& context;
  at::Generator generator;  // of the same numbers each time
  Tensor hidden;            // [1, T, D]

  Tensor output() const {
    return model->layer(layer)->forward({hidden}, context).sum().to(torch::kFloat64);
  }
};

/// Linear layers by the input that they share, told from another by being the same tensor.
class SharedInputs {
 public:
  explicit SharedInputs(std::vector<LinearPlace> places) : places_(std::move(places)) {
    for (const LinearPlace& place : places_) {
      place.linear->on_input = [this, &place](const Tensor& x) { see(place, x); };
    }
  }
  ~SharedInputs() {
    for (const LinearPlace& place : places_) place.linear->on_input = {};
  }
  SharedInputs(const SharedInputs&) = delete;
  SharedInputs& operator=(const SharedInputs&) = delete;

  std::vector<std::vector<LinearPlace>> groups() const { return groups_; }

 private:
  void see(const LinearPlace& place, const Tensor& x) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].is_same(x)) return groups_[i].push_back(place);
    }
    inputs_.push_back(x), groups_.push_back({place});
  }

  std::vector<LinearPlace> places_;
  std::vector<Tensor> inputs_;  // kept, so that no other takes a freed one's place
  std::vector<std::vector<LinearPlace>> groups_;
};

std::vector<std::vector<LinearPlace>> groups_of(const Trial& trial) {
  const SharedInputs inputs(linears_of_layer(trial.model, trial.layer));
  trial.output();
  return inputs.groups();
}

/// The parameters "<producer>.weight" and ".bias" that there are.
std::map<std::string, Tensor> parameters_of(CausalLm& model, int64_t i,
                                            const std::string& producer) {
  std::map<std::string, Tensor> found;
  const std::string prefix = concat("model.layers.", i, ".");
  for (const auto& parameter : model->layer(i)->named_parameters()) {
    const std::string name = prefix + parameter.key();
    if (name == producer + ".weight" || name == producer + ".bias") found[name] = parameter.value();
  }
  return found;
}

/// The ways in which P outputs become K columns: each once; heads of a norm one after the other;
/// or heads of values, each for a run of query heads.
std::vector<Tensor> ways_of(int64_t P, int64_t K, int64_t head) {
  if (P == K) return {torch::arange(K)};
  if (K % P != 0) return {};
  std::vector<Tensor> ways;
  ways.push_back(torch::arange(P).repeat({K / P}));
  if (P % head == 0 && P > head) {
    ways.push_back(torch::arange(P).view({-1, 1, head}).expand({-1, K / P, -1}).flatten());
  }
  return ways;
}

/// Whether the layer stays what it is under random factors: powers of two, which leave the
/// parameters as they were once they are taken back.
bool is_exact(const InputFold& fold, const Trial& trial, const Tensor& expected) {
  constexpr double kMost = 1e-4;
  const int64_t P = fold.parameters.begin()->second.size(0);
  const Tensor factors = torch::randint(-1, 2, {P}, trial.generator, torch::kFloat32).exp2();
  apply_fold(fold, factors);
  const Tensor off = trial.output() - expected;
  apply_fold(fold, factors.reciprocal());
  const Tensor added = expected - trial.hidden;
  return (off.norm() <= kMost * added.norm()).item<bool>();
}

bool is_linear_unquantised(const LinearPlace& place) { return !is_quantised(place.name); }

std::optional<InputFold> find_fold(const std::vector<LinearPlace>& readers, const Trial& trial,
                                   const Tensor& expected) {
  const int64_t K = readers.front().linear->weights.weight.master.size(1);
  for (const std::string_view name : kProducers) {
    const std::string producer = concat("model.layers.", trial.layer, ".", name);
    InputFold fold{.producer = producer,
                   .readers = readers,
                   .parameters = parameters_of(trial.model, trial.layer, producer)};
    const bool reads_itself =
        std::ranges::any_of(readers, [&](const auto& one) { return one.name == producer; });
    if (fold.parameters.empty() || reads_itself) continue;
    const auto vectors = std::ranges::count_if(
        fold.parameters, [](const auto& parameter) { return parameter.second.dim() == 1; });
    fold.is_stored_plain = vectors > 1 || std::ranges::any_of(readers, is_linear_unquantised);
    const int64_t P = fold.parameters.begin()->second.size(0);
    for (const Tensor& way : ways_of(P, K, trial.model->config().head_dim)) {
      fold.output_of_column = way;
      if (is_exact(fold, trial, expected)) return fold;
    }
  }
  return std::nullopt;
}

}  // namespace

std::vector<InputFold> find_folds(CausalLm& model, int64_t i, const Context& context, int64_t T) {
  Trial trial{model, i, context, at::detail::createCPUGenerator(static_cast<uint64_t>(i)), {}};
  trial.hidden = torch::randn({1, T, model->config().hidden_size}, trial.generator);
  const Tensor expected = trial.output();
  std::vector<InputFold> folds;
  for (const std::vector<LinearPlace>& readers : groups_of(trial)) {
    if (std::ranges::all_of(readers, is_linear_unquantised)) continue;
    if (auto fold = find_fold(readers, trial, expected)) folds.push_back(std::move(*fold));
  }
  return folds;
}

Tensor storable_factors(const InputFold& fold, const Tensor& factors, torch::ScalarType stored) {
  if (fold.is_stored_plain) return factors.log2().round().exp2();
  for (const auto& [name, parameter] : fold.parameters) {
    if (parameter.dim() != 1) continue;
    const Tensor divided = (parameter / factors).to(stored).to(torch::kFloat32);
    const Tensor found = parameter / divided;
    return torch::where(torch::isfinite(found) & (found > 0), found, torch::ones_like(found));
  }
  return factors;
}

void apply_fold(const InputFold& fold, const Tensor& factors) {
  const Tensor columns = column_factors(fold, factors);
  for (const LinearPlace& reader : fold.readers) reader.linear->weights.weight.master.mul_(columns);
  for (const auto& [name, parameter] : fold.parameters) {
    parameter.div_(parameter.dim() == 1 ? factors : factors.unsqueeze(1));
  }
}

Tensor column_factors(const InputFold& fold, const Tensor& factors) {
  return factors.index_select(0, fold.output_of_column);
}

}  // namespace hypenet
