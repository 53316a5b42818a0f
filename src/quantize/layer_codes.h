// The codes of a layer's matrices by what calibration text makes of their inputs.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "quantize/input_folds.h"
#include "quantize/input_products.h"
#include "quantize/quantize.h"

namespace hypenet {

/// What a matrix was multiplied by before it was rounded; undefined: by nothing.
struct MatrixFactors {
  Tensor rows = {}, columns = {};  // float32 [N], [K]

  /// The matrix as the original model has it.
  Tensor taken_back(const Tensor& weight) const;
};

struct LayerCodes {
  std::map<std::string, QuantisedMatrix> matrices = {};  // by the linear layer's name
  std::map<std::string, MatrixFactors> factors = {};     // likewise, of those that have some
  NamedTensors folded = {};  // other parameters that changed with them, as they are stored
  int64_t scaled = 0;        // inputs with factors
};

/// Of quantised layers, which the groups name in all. Methods that scale inputs change the layer's
/// parameters by `folds`, exactly; matrices are of the changed ones. `stored` is the type in which
/// a parameter is written; `tell` hears of each step and may throw. Sums of `groups` are changed.
LayerCodes calibrated_codes(std::vector<InputProducts::Group> groups,
                            const std::vector<InputFold>& folds, const QuantizeOptions& options,
                            const std::function<torch::ScalarType(const std::string&)>& stored,
                            const std::function<void()>& tell);

}  // namespace hypenet
