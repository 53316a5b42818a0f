// How one project lays out its quantised modules: what QuantisedFolder asks of each.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/module_tensors.h"
#include "lowbit/quantisation_keys.h"
#include "lowbit/quantised_matrix.h"

namespace hypenet {

/// A layout with what a quantization_config says of it.
class QuantisedLayout {
 public:
  QuantisedLayout() = default;
  virtual ~QuantisedLayout() = default;
  QuantisedLayout(const QuantisedLayout&) = delete;
  QuantisedLayout& operator=(const QuantisedLayout&) = delete;

  /// What stands behind "m." of a module's tensors. "weight" among them is quantised where another
  /// of them is there, or where its type has 8 bits.
  virtual std::vector<std::string_view> endings() const = 0;

  /// What the module's matrix is, by the shapes and types of its tensors, without tensors: codes
  /// and scales are not read. `module` is its name, by which config.json may tell it from others.
  /// Throws Error for shapes and types that are not the layout's.
  virtual QuantisedMatrix form(const std::string& module, const StoredModule& stored) const = 0;

  /// The module's matrix: the file's own bytes where they lie as QuantisedMatrix has them, copies
  /// where not. Throws Error as `form` does, and for numbers that make no sense.
  virtual QuantisedMatrix unpack(const std::string& module, const StoredModule& stored) const = 0;
};

/// The layouts by quant_method. Throw Error, beginning with the keys' place, for what is not read.
std::unique_ptr<const QuantisedLayout> read_float8_layout(const QuantisationKeys& keys);
std::unique_ptr<const QuantisedLayout> read_gptq_layout(const QuantisationKeys& keys);
std::unique_ptr<const QuantisedLayout> read_awq_layout(const QuantisationKeys& keys);
std::unique_ptr<const QuantisedLayout> read_compressed_layout(const QuantisationKeys& keys);

}  // namespace hypenet
