// Names decide: they are published ones, and the same in every mixer.
#include "quantize/linear_places.h"

#include <algorithm>
#include <array>

namespace hypenet {
namespace {

constexpr std::array<std::string_view, 11> kQuantised = {
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "in_proj",
    "out_proj",                           // of Mamba-2 and of maps of queries, keys and
                                          // values
    "key", "value"};                      // of a channel mixing
constexpr const char* kHead = "lm_head";  // transformers has this layer where it is tied, too

}  // namespace

bool is_quantised(std::string_view name) {
  return std::ranges::find(kQuantised, name.substr(name.rfind('.') + 1)) != kQuantised.end();
}

std::vector<LinearPlace> linears_of_layer(CausalLm& model, int64_t i) {
  std::vector<LinearPlace> found;
  for (const auto& module : model->layer(i)->named_modules(concat("model.layers.", i))) {
    if (auto* linear = module.value()->as<LinearImpl>()) found.push_back({module.key(), linear});
  }
  return found;
}

std::vector<LinearPlace> quantised_linears(CausalLm& model, int64_t i) {
  std::vector<LinearPlace> found = linears_of_layer(model, i);
  std::erase_if(found, [](const LinearPlace& place) { return !is_quantised(place.name); });
  return found;
}

std::vector<std::string> other_linears(CausalLm& model) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < model->config().num_hidden_layers; ++i) {
    for (const LinearPlace& place : linears_of_layer(model, i)) {
      if (!is_quantised(place.name)) names.push_back(place.name);
    }
  }
  names.emplace_back(kHead);
  return names;
}

}  // namespace hypenet
