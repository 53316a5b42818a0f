// A model folder whose config.json has a quantization_config: which of its tensors are parts of
// quantised matrices, and which matrix they are.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "lowbit/quantised_layout.h"

namespace hypenet {

/// What the folder's tensors are, by their names there.
class QuantisedFolder {
 public:
  /// Types of all stored tensors, by name.
  using Types = std::map<std::string, torch::ScalarType>;
  /// A stored tensor, which may be a view of a file.
  using Read = std::function<Tensor(const std::string& name)>;

  /// Reads config.json's quantization_config (`place` names the file, `folder` the folder in errors
  /// about tensors); none: no tensor is quantised. Throws Error for a method, a format or a key
  /// that is not read here, for parts of a matrix without the others, and for weights of 8 bits
  /// that no config explains.
  QuantisedFolder(const Json& config, const std::string& place, std::string folder,
                  const Types& types);

  /// The folder's tensors as if nothing were quantised: "m.weight" for a quantised module m.
  const std::vector<std::string>& names() const { return names_; }
  bool is_quantised(const std::string& name) const { return modules_.contains(name); }
  bool has_quantised() const { return !modules_.empty(); }

  /// The stored tensors that make up the quantised matrix of this name.
  std::vector<std::string> stored_names(const std::string& name) const;
  /// The matrix, without tensors (QuantisedLayout::form).
  QuantisedMatrix form(const std::string& name, const Read& read) const;
  QuantisedMatrix matrix(const std::string& name, const Read& read) const;

  /// "gptq", "awq" .., empty where nothing is quantised.
  const std::string& method() const { return method_; }
  /// One sentence on scales of activations and caches, which no weight needs; empty without such.
  std::string left_aside() const;

 private:
  struct Module {
    std::string name;
    std::vector<std::string> endings;
  };

  void split(const Types& types);
  StoredModule stored(const Module& module, const Read& read) const;

  std::string folder_, method_;
  std::shared_ptr<const QuantisedLayout> layout_;
  std::vector<std::string> names_;
  std::map<std::string, Module> modules_;  // by "m.weight"
  int64_t activation_scales_ = 0, cache_scales_ = 0;
};

/// "int4 in groups of 128 columns", "float8 in blocks of 128 x 128".
std::string describe_form(const QuantisedMatrix& form);

}  // namespace hypenet
