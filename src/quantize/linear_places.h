// Which linear layers of a model are quantised.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/causal_lm.h"

namespace hypenet {

/// A linear layer of a model and its published name, "model.layers.0.mlp.up_proj".
struct LinearPlace {
  std::string name;
  LinearImpl* linear = nullptr;
};

/// Whether a linear layer of this name is quantised: the projections of queries, keys, values and
/// outputs, those that hold several of these (in_proj, out_proj), and the feed-forward part. Gates,
/// decays and the maps of a mixer's own are not: they act on everything, and are small.
bool is_quantised(std::string_view name);

/// All linear layers of layer `i`, in the order of the model.
std::vector<LinearPlace> linears_of_layer(CausalLm& model, int64_t i);

/// The linear layers of layer `i` that are quantised, in the order of the model.
std::vector<LinearPlace> quantised_linears(CausalLm& model, int64_t i);

/// The names of all other linear layers, the head's among them, tied or not.
std::vector<std::string> other_linears(CausalLm& model);

}  // namespace hypenet
