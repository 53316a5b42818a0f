// Where the inputs of a linear layer can be scaled without changing the model: what makes them (a
// norm, or a linear layer whose outputs come through one by one) is divided by what the layer's
// columns are multiplied by (arXiv 2306.00978, section 3.2).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "quantize/linear_places.h"

namespace hypenet {

/// A maker of inputs and all that reads them.
struct InputFold {
  std::string producer;              // "model.layers.0.input_layernorm"
  std::vector<LinearPlace> readers;  // every linear layer of these inputs, quantised or not
  std::map<std::string, Tensor> parameters = {};  // the producer's own, by name: outputs first
  Tensor output_of_column = {};                   // int64 [K]: which output a column is made of
  bool is_stored_plain = false;  // some reader, or more than one vector, is rounded as it is stored
};

/// The folds of layer `i`, at most one for the inputs of each reader that is quantised. Which are
/// exact is measured: the layer's outputs of random inputs must stay what they were, to 1e-4 of
/// what the layer adds. `context` is of T tokens, and went through the layers before. No autograd.
std::vector<InputFold> find_folds(CausalLm& model, int64_t i, const Context& context, int64_t T);

/// The factors [P], one an output of the producer, next to these by which the fold stays exact as
/// it is stored: where numbers of `stored` type hold the divided vector, or, with is_stored_plain,
/// powers of two. float32 above 0, likewise returned.
Tensor storable_factors(const InputFold& fold, const Tensor& factors, torch::ScalarType stored);

/// Multiplies the readers' columns by factors [P], and divides the producer's outputs by them.
void apply_fold(const InputFold& fold, const Tensor& factors);

/// factors [P] as the readers' columns have them, [K].
Tensor column_factors(const InputFold& fold, const Tensor& factors);

}  // namespace hypenet
