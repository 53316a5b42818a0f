// The stored tensors of one quantised module, by what stands behind "m.": what every layout reads.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <map>
#include <string>

namespace hypenet {

using torch::Tensor;

/// {"weight_packed", ..}, {"weight_scale", ..} of module "model.layers.0.self_attn.q_proj".
using ModuleTensors = std::map<std::string, Tensor>;

}  // namespace hypenet
