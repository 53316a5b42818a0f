// Which of a compressed-tensors folder's modules is in which scheme: groups by name, by expression
// and by class, in this order, and the modules that are left as they were.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "lowbit/compressed_tensors.h"
#include "lowbit/module_pattern.h"
#include "lowbit/quantised_layout.h"

namespace hypenet {
namespace {

constexpr std::string_view kExpression = "re:";

/// A name, an expression over names, or a class of modules.
class Target {
 public:
  Target(const std::string& text, const std::string& place) : text_(text) {
    if (text.starts_with(kExpression)) pattern_.emplace(text.substr(kExpression.size()), place);
  }

  const std::string& text() const { return text_; }
  bool is_name_of(const std::string& module) const { return !pattern_ && text_ == module; }
  bool matches(const std::string& module) const { return pattern_ && pattern_->matches(module); }
  /// Quantised modules are linear layers, and at most one is an embedding.
  bool is_class_of(const std::string& module) const {
    return text_ == (module.ends_with("embed_tokens") ? "Embedding" : "Linear");
  }

 private:
  std::string text_;
  std::optional<ModulePattern> pattern_;
};

std::vector<Target> read_targets(const QuantisationKeys& keys, const std::string& key) {
  std::vector<Target> targets;
  for (const auto& text : keys.get<std::vector<std::string>>(key, {})) {
    targets.emplace_back(text, keys.at(key));
  }
  return targets;
}

CompressedFormat read_format(const QuantisationKeys& keys, const std::string& format,
                             const std::string& type) {
  if (format == "pack-quantized") return CompressedFormat::kPack;
  if (format == "int-quantized") return CompressedFormat::kInt;
  if (format == "float-quantized") return CompressedFormat::kFloat;
  HYPENET_CHECK(format == "naive-quantized", keys.at("format"),
                ": expected pack-quantized, int-quantized, float-quantized or naive-quantized, ",
                "found ", format.empty() ? "none" : format);
  return type == "float" ? CompressedFormat::kFloat : CompressedFormat::kInt;
}

/// "strategy", or what follows from group_size where it is missing.
std::string read_strategy(const QuantisationKeys& weights) {
  std::string otherwise = "tensor";
  if (weights.has("group_size")) {
    otherwise = weights.group("group_size") == 0 ? "channel" : "group";
  }
  return weights.one_of("strategy", {"tensor", "channel", "group", "block"}, otherwise);
}

void read_block(const QuantisationKeys& weights, CompressedScheme& scheme) {
  const auto sizes = weights.get<std::vector<int64_t>>("block_structure");
  HYPENET_CHECK(sizes.size() == 2 && sizes[0] > 1 && sizes[1] > 0, weights.at("block_structure"),
                ": expected rows above 1 and columns above 0, found ",
                weights.json().at("block_structure").dump());
  scheme.scale_rows = sizes[0];
  scheme.group = sizes[1];
}

CompressedScheme read_scheme(const QuantisationKeys& group, const QuantisationKeys& weights,
                             const std::string& format) {
  CompressedScheme scheme;
  const std::string type = weights.one_of("type", {"int", "float"}, "int");
  scheme.format = read_format(group, group.get<std::string>("format", format), type);
  const bool is_float = scheme.format == CompressedFormat::kFloat;
  HYPENET_CHECK(is_float == (type == "float"), weights.at("type"), ": expected ",
                is_float ? "float" : "int", ", as the format is ",
                compressed_format_name(scheme.format), ", found ", type);
  const bool is_packed = scheme.format == CompressedFormat::kPack;
  scheme.bits = is_packed ? weights.bits("num_bits", {4, 8})
                          : weights.bits("num_bits", is_float ? std::vector<int64_t>{8}
                                                              : std::vector<int64_t>{4, 8});
  HYPENET_CHECK(!weights.has("dynamic") || weights.json().at("dynamic") == Json(false),
                weights.at("dynamic"), ": expected false, found ",
                weights.json().value("dynamic", Json()).dump());
  scheme.is_symmetric = weights.get<bool>("symmetric", true);
  const std::string strategy = read_strategy(weights);
  if (strategy == "group") {
    scheme.group = weights.group("group_size");
    HYPENET_CHECK(scheme.group > 0, weights.at("group_size"),
                  ": expected a size above 0, found -1");
  }
  if (strategy == "tensor") scheme.scale_rows = 0;
  if (strategy == "block") read_block(weights, scheme);
  return scheme;
}

struct Group {
  std::vector<Target> targets;
  std::optional<CompressedScheme> scheme;  // none: its modules' weights are as they were
};

class CompressedLayout : public QuantisedLayout {
 public:
  explicit CompressedLayout(const QuantisationKeys& keys) : ignored_(read_targets(keys, "ignore")) {
    check_nothing_else(keys);
    const auto format = keys.get<std::string>("format", "");
    const QuantisationKeys groups = keys.object("config_groups");
    for (const auto& [name, unused] : groups.json().items()) {
      const QuantisationKeys group = groups.object(name);
      std::optional<CompressedScheme> scheme;
      if (group.has("weights")) scheme = read_scheme(group, group.object("weights"), format);
      groups_.push_back({read_targets(group, "targets"), scheme});
    }
  }

  std::vector<std::string_view> endings() const override {
    return {"weight",       "weight_packed", "weight_scale", "weight_zero_point",
            "weight_shape", "weight_g_idx"};
  }

  QuantisedMatrix form(const std::string& module, const StoredModule& stored) const override {
    return compressed_form(stored, scheme_of(module, stored));
  }

  QuantisedMatrix unpack(const std::string& module, const StoredModule& stored) const override {
    return unpack_compressed(stored, scheme_of(module, stored));
  }

 private:
  /// Parts of a config that would change what the model computes.
  static void check_nothing_else(const QuantisationKeys& keys) {
    if (keys.has("sparsity_config")) {
      const QuantisationKeys sparsity = keys.object("sparsity_config");
      sparsity.one_of("format", {"dense"}, "dense");
    }
    const bool has_transforms =
        keys.has("transform_config") && !keys.json().at("transform_config").empty();
    HYPENET_CHECK(!has_transforms, keys.at("transform_config"),
                  ": expected none, found transforms of weights and activations");
  }

  const CompressedScheme& scheme_of(const std::string& module, const StoredModule& stored) const {
    for (const Target& target : ignored_) {
      HYPENET_CHECK(!target.is_name_of(module) && !target.matches(module), stored.place,
                    ": expected a plain weight, as quantization_config's ignore has \"",
                    target.text(), "\", found codes or scales");
    }
    for (const auto is_meant : {&Target::is_name_of, &Target::matches, &Target::is_class_of}) {
      for (const Group& group : groups_) {
        const bool is_found = std::ranges::any_of(
            group.targets, [&](const Target& target) { return (target.*is_meant)(module); });
        if (is_found && group.scheme) return *group.scheme;
      }
    }
    throw Error(concat(stored.place, ": expected a group of quantization_config's config_groups ",
                       "whose targets are its module, found none"));
  }

  std::vector<Target> ignored_;
  std::vector<Group> groups_;
};

}  // namespace

std::unique_ptr<const QuantisedLayout> read_compressed_layout(const QuantisationKeys& keys) {
  return std::make_unique<CompressedLayout>(keys);
}

}  // namespace hypenet
