// Most keys are rows of HypeNetForm; three are not numbers or switches: which layers are recurrent,
// what scales queries, and what scales the recurrence.
#include "gguf/hypenet_keys.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr const char *kAttention = "attn", *kLightning = "lightning-attn";
constexpr const char* kLayers = "attention.recurrent_layers";
constexpr const char *kScaling = "attention.logits_scaling",
                     *kScalingType = "attention.logits_scaling_type";
constexpr const char* kScale = "linear_attention.scale";
constexpr std::string_view kHype = "hype";

std::string key(std::string_view name) { return concat("hypenet.", name); }

/// lightning_scale's names and what they stand for.
struct NamedScale {
  const char* name;
  double value;
};
std::array<NamedScale, 3> named_scales(int64_t head_dim) {
  const auto d = static_cast<double>(head_dim);
  return {{{"1/sqrt(d)", 1 / std::sqrt(d)}, {"1/d", 1 / d}, {"1", 1}}};
}

void add_scale(const Json& config, const HypeNetForm& form, GgufKeyList& keys) {
  const auto name = config.at("lightning_scale").get<std::string>();
  const auto scales = named_scales(form.head_dim);
  double value = scales.back().value;
  for (const NamedScale& scale : scales) {
    if (name == scale.name) value = scale.value;
  }
  keys.add_number(key(kScale), value);
}

std::string read_scale(const GgufModel& model) {
  const auto scales = named_scales(model.sizes().hypenet.head_dim);
  const std::string name = key(kScale);
  const double found = model.keys().number(name, scales.front().value);
  for (const NamedScale& scale : scales) {
    if (std::abs(scale.value - found) <= 1e-6 * scale.value) return scale.name;
  }
  throw Error(concat(model.keys().place(name), ": expected 1/sqrt(d), 1/d or 1 of heads of ",
                     model.sizes().hypenet.head_dim, ", found ", found));
}

/// attn_logits_scaling: null, a number, or "hype" and its number.
void add_scaling(const Json& scaling, GgufKeyList& keys) {
  if (scaling.is_null()) return;
  if (scaling.is_number()) {
    keys.add_text(key(kScalingType), "constant");
    return keys.add_number(key(kScaling), scaling.get<double>());
  }
  const auto text = scaling.get<std::string>();
  double base = 0;
  std::from_chars(text.data() + kHype.size() + 1, text.data() + text.size(), base);
  keys.add_text(key(kScalingType), kHype);
  keys.add_number(key(kScaling), base);
}

Json read_scaling(const GgufKeys& keys) {
  if (!keys.has(key(kScaling))) return nullptr;
  const double number = keys.number(key(kScaling));
  const std::string_view type = keys.text(key(kScalingType), kHype);
  if (type == "constant") return number;
  HYPENET_CHECK(type == kHype, keys.place(key(kScalingType)), ": expected hype or constant, found ",
                excerpt(type));
  std::array<char, 400> digits{};
  const auto end =
      std::to_chars(digits.begin(), digits.end(), number, std::chars_format::fixed).ptr;
  return concat(kHype, " ", std::string_view(digits.begin(), end));
}

}  // namespace

HypeNetForm hypenet_form(const Json& config, const GgufSizes& sizes) {
  HypeNetForm form;
  for (const Json& mixer : config.at("mixer_types")) {
    HYPENET_CHECK(mixer == kAttention || mixer == kLightning, "config.json: mixer_types: expected ",
                  kAttention, " and ", kLightning, " (other mixers have no names in a GGUF file), ",
                  "found ", mixer.get<std::string>());
    form.recurrent_layers.push_back(mixer == kLightning);
  }
  form.heads = sizes.num_attention_heads, form.key_heads = sizes.num_attention_heads;
  form.head_dim = sizes.head_dim;
  const auto read = [&config](const char* published, const char* /*key*/, auto& member) {
    config.at(published).get_to(member);
  };
  form.visit(read);
  if (form.has_recurrent_layers()) form.visit_recurrent(read);
  return form;
}

void add_hypenet_keys(const Json& config, const HypeNetForm& form, GgufKeyList& keys) {
  keys.add_flags(key(kLayers), form.recurrent_layers);
  const auto add = [&keys](const char* /*published*/, const char* name, const auto& member) {
    if constexpr (std::is_same_v<std::decay_t<decltype(member)>, bool>) {
      keys.add_flag(key(name), member);
    } else {
      keys.add_size(key(name), member);
    }
  };
  HypeNetForm all = form;
  all.visit(add);
  add_scaling(config.at("attn_logits_scaling"), keys);
  if (!form.has_recurrent_layers()) return;
  all.visit_recurrent(add);
  add_scale(config, form, keys);
}

Json published_hypenet_keys(const GgufModel& model) {
  HypeNetForm form = model.sizes().hypenet;
  Json config = Json::object(), mixers = Json::array();
  for (const bool is_recurrent : form.recurrent_layers) {
    mixers.push_back(is_recurrent ? kLightning : kAttention);
  }
  config["mixer_types"] = std::move(mixers);
  config["attn_logits_scaling"] = read_scaling(model.keys());
  const auto add = [&config](const char* published, const char* /*key*/, auto& member) {
    config[published] = member;
  };
  form.visit(add);
  if (!form.has_recurrent_layers()) return config;
  form.visit_recurrent(add);
  config["lightning_scale"] = read_scale(model);
  return config;
}

}  // namespace hypenet
