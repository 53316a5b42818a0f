// The tensors say what is quantised; the config says how. A module that the config has and that is
// stored plain is plain.
#include "lowbit/quantised_folder.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/join.h"

namespace hypenet {
namespace {

constexpr const char* kConfig = "quantization_config";
constexpr const char* kOlderConfig = "compression_config";
constexpr const char* kMethod = "quant_method";
constexpr std::string_view kWeight = "weight";

using ReadLayout = std::unique_ptr<const QuantisedLayout> (*)(const QuantisationKeys& keys);

struct Method {
  const char* name;
  ReadLayout read;
};

constexpr std::array<Method, 4> kMethods = {{{"fp8", read_float8_layout},
                                             {"gptq", read_gptq_layout},
                                             {"awq", read_awq_layout},
                                             {"compressed-tensors", read_compressed_layout}}};

const Method& find_method(const QuantisationKeys& keys) {
  std::vector<std::string> names;
  names.reserve(kMethods.size());
  for (const Method& method : kMethods) names.emplace_back(method.name);
  const std::string found = keys.one_of(kMethod, names, "");
  return *std::ranges::find(kMethods, found, [](const Method& m) { return std::string(m.name); });
}

/// The module and what stands behind it: {"model.layers.0.mlp.up_proj", "qweight"}.
std::pair<std::string, std::string> parted(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return {"", name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

bool is_of_8_bits(torch::ScalarType type) {
  return type == torch::kFloat8_e4m3fn || type == torch::kInt8;
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> texts) {
  return std::ranges::find(texts, text) != texts.end();
}

bool is_cache_scale(const std::string& module, const std::string& ending) {
  if (is_one_of(ending, {"k_scale", "v_scale", "k_zero_point", "v_zero_point"})) return true;
  const bool is_key_or_value = module.ends_with("k_proj") || module.ends_with("v_proj");
  return is_key_or_value && is_one_of(ending, {"output_scale", "output_zero_point"});
}

bool is_activation_scale(const std::string& ending) {
  return is_one_of(ending, {"input_scale", "input_zero_point"});
}

}  // namespace

QuantisedFolder::QuantisedFolder(const Json& config, const std::string& place, std::string folder,
                                 const Types& types)
    : folder_(std::move(folder)) {
  const char* const key = config.contains(kConfig) ? kConfig : kOlderConfig;
  if (config.contains(key) && !config.at(key).is_null()) {
    const QuantisationKeys keys(config.at(key), concat(place, ": ", key));
    const Method& method = find_method(keys);
    method_ = method.name;
    layout_ = method.read(keys);
  }
  split(types);
}

void QuantisedFolder::split(const Types& types) {
  std::set<std::string> endings;
  if (layout_) {
    for (const std::string_view ending : layout_->endings()) endings.emplace(ending);
  }
  std::map<std::string, std::vector<std::string>> found;  // by module
  for (const auto& [name, type] : types) {
    const auto [module, ending] = parted(name);
    const bool is_mark = ending == kWeight ? is_of_8_bits(type) : endings.contains(ending);
    if (is_mark && !module.empty()) found[module];
  }
  for (const auto& [name, type] : types) {
    const auto [module, ending] = parted(name);
    if (layout_ && is_cache_scale(module, ending)) {
      ++cache_scales_;
    } else if (layout_ && is_activation_scale(ending)) {
      ++activation_scales_;
    } else if (found.contains(module) && (endings.contains(ending) || ending == kWeight)) {
      HYPENET_CHECK(layout_, folder_, ": tensor ", name, ": expected a quantization_config in ",
                    "config.json for a weight of 8 bits, found none");
      HYPENET_CHECK(endings.contains(ending), folder_, ": tensor ", name,
                    ": expected no weight beside the codes of its module, found one");
      found[module].push_back(ending);
    } else {
      names_.push_back(name);
    }
  }
  for (auto& [module, parts] : found) {
    const std::string name = concat(module, ".", kWeight);
    names_.push_back(name);
    modules_[name] = {module, std::move(parts)};
  }
}

std::vector<std::string> QuantisedFolder::stored_names(const std::string& name) const {
  const Module& module = modules_.at(name);
  std::vector<std::string> names;
  for (const std::string& ending : module.endings) {
    names.push_back(concat(module.name, ".", ending));
  }
  return names;
}

StoredModule QuantisedFolder::stored(const Module& module, const Read& read) const {
  StoredModule stored{.place = concat(folder_, ": tensor ", module.name)};
  for (const std::string& ending : module.endings) {
    stored.tensors[ending] = read(concat(module.name, ".", ending));
  }
  return stored;
}

QuantisedMatrix QuantisedFolder::form(const std::string& name, const Read& read) const {
  const Module& module = modules_.at(name);
  return layout_->form(module.name, stored(module, read));
}

QuantisedMatrix QuantisedFolder::matrix(const std::string& name, const Read& read) const {
  const Module& module = modules_.at(name);
  const StoredModule tensors = stored(module, read);
  QuantisedMatrix matrix = layout_->unpack(module.name, tensors);
  check_matrix(matrix, tensors.place);
  return matrix;
}

std::string QuantisedFolder::left_aside() const {
  std::vector<std::string> parts;
  const auto count = [&parts](int64_t scales, const char* what) {
    if (scales > 0) parts.push_back(concat(scales, scales == 1 ? " scale" : " scales", what));
  };
  count(activation_scales_, " of activations");
  count(cache_scales_, " of keys and values");
  if (parts.empty()) return "";
  return concat(folder_, ": left aside, as neither is rounded here: ", join(parts, ", "));
}

std::string describe_form(const QuantisedMatrix& form) {
  const std::string type(code_type_name(form.type));
  const bool is_whole_row = form.group >= form.columns;
  const bool is_all_rows = form.scale_rows >= form.rows && form.rows > 1;
  if (is_all_rows && is_whole_row) return type + " with one scale";
  if (form.scale_rows > 1) {
    return concat(type, " in blocks of ", form.scale_rows, " x ", form.group);
  }
  return is_whole_row ? type + " with a scale a row"
                      : concat(type, " in groups of ", form.group, " columns");
}

}  // namespace hypenet
