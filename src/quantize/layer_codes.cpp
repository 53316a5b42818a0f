// All inputs are scaled before any codes are chosen, as a matrix may have its rows divided for one
// and its columns multiplied for another.
#include "quantize/layer_codes.h"

#include <algorithm>

#include "quantize/awq.h"
#include "quantize/clip_search.h"

namespace hypenet {
namespace {

const InputFold* fold_of(const InputProducts::Group& group, const std::vector<InputFold>& folds) {
  const auto reads = [&](const InputFold& fold) {
    return std::ranges::any_of(fold.readers, [&](const LinearPlace& reader) {
      return reader.name == group.places.front().name;
    });
  };
  const auto found = std::ranges::find_if(folds, reads);
  return found == folds.end() ? nullptr : &*found;
}

/// The type of the vector that a fold divides, by which its factors are chosen.
torch::ScalarType vector_type(const InputFold& fold,
                              const std::function<torch::ScalarType(const std::string&)>& stored) {
  for (const auto& [name, parameter] : fold.parameters) {
    if (parameter.dim() == 1) return stored(name);
  }
  return torch::kFloat32;
}

void note_factors(const InputFold& fold, const Tensor& factors, LayerCodes& codes) {
  const Tensor columns = column_factors(fold, factors);
  for (const LinearPlace& reader : fold.readers) {
    if (is_quantised(reader.name)) codes.factors[reader.name].columns = columns;
  }
  if (is_quantised(fold.producer)) codes.factors[fold.producer].rows = factors.reciprocal();
  ++codes.scaled;
}

/// The parameters of a fold that no matrix of codes holds, once all folds are made.
void take_folded(const InputFold& fold,
                 const std::function<torch::ScalarType(const std::string&)>& stored,
                 LayerCodes& codes) {
  const auto take = [&](const std::string& name, const Tensor& parameter) {
    codes.folded.emplace_back(name, parameter.to(stored(name), false, /*copy=*/true));
  };
  for (const auto& [name, parameter] : fold.parameters) {
    if (parameter.dim() == 1) take(name, parameter);
  }
  for (const LinearPlace& reader : fold.readers) {
    if (!is_quantised(reader.name))
      take(reader.name + ".weight", reader.linear->weights.weight.master);
  }
}

void scale_inputs(std::vector<InputProducts::Group>& groups, const std::vector<InputFold>& folds,
                  const QuantizeOptions& options,
                  const std::function<torch::ScalarType(const std::string&)>& stored,
                  const std::function<void()>& tell, LayerCodes& codes) {
  std::vector<const InputFold*> made;
  for (InputProducts::Group& group : groups) {
    const InputFold* const fold = fold_of(group, folds);
    if (fold == nullptr) continue;
    tell();
    ScalingInputs inputs{.sizes = group.products.diagonal().contiguous(),
                         .sample = torch::cat(group.samples)};
    for (const LinearPlace& place : group.places) {
      inputs.weights.push_back(place.linear->weights.weight.master);
    }
    const Tensor factors = find_factors(*fold, inputs, options.form, vector_type(*fold, stored));
    if (!factors.defined()) continue;
    apply_fold(*fold, factors);
    note_factors(*fold, factors, codes);
    const Tensor inverse = column_factors(*fold, factors).to(torch::kFloat64).reciprocal();
    group.products.mul_(inverse).mul_(inverse.unsqueeze(1));
    if (group.shift.defined()) group.shift.mul_(inverse).mul_(inverse.unsqueeze(1));
    made.push_back(fold);
  }
  for (const InputFold* const fold : made) take_folded(*fold, stored, codes);
}

void round_group(InputProducts::Group& group, const QuantizeOptions& options,
                 const std::function<void()>& tell, LayerCodes& codes) {
  if (!is_gptq(options.method)) {
    const Tensor importance = group.products.diagonal().contiguous();
    for (const LinearPlace& place : group.places) {
      tell();
      const Tensor& weight = place.linear->weights.weight.master;
      codes.matrices[place.name] =
          round_with(weight, options.form, search_scales(weight, importance, options.form));
    }
    return;
  }
  const GptqFactor factor = gptq_factor(group.products, options.gptq, group.places.front().name);
  group.products = Tensor();
  for (const LinearPlace& place : group.places) {
    tell();
    const Tensor weight = toward_original(place.linear->weights.weight.master, group.shift, factor,
                                          options.gptq.correction);
    codes.matrices[place.name] = round_by_gptq(weight, options.form, factor, options.gptq);
  }
}

}  // namespace

Tensor MatrixFactors::taken_back(const Tensor& weight) const {
  Tensor original = weight;
  if (columns.defined()) original = original / columns;
  if (rows.defined()) original = original / rows.unsqueeze(1);
  return original;
}

LayerCodes calibrated_codes(std::vector<InputProducts::Group> groups,
                            const std::vector<InputFold>& folds, const QuantizeOptions& options,
                            const std::function<torch::ScalarType(const std::string&)>& stored,
                            const std::function<void()>& tell) {
  LayerCodes codes;
  scale_inputs(groups, folds, options, stored, tell, codes);
  for (InputProducts::Group& group : groups) {
    tell();
    round_group(group, options, tell, codes);
  }
  return codes;
}

}  // namespace hypenet
