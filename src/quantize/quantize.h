// Quantising a model: its linear layers become matrices of few bits, one layer of the model after
// the other, and what that costs is measured on the way.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/compare.h"
#include "lowbit/rounding.h"
#include "model/causal_lm.h"
#include "quantize/gptq.h"

namespace hypenet {

/// How codes are found: each number's nearest; under scales by a search of clips; that, and GPTQ;
/// or one of the two of inputs that AWQ has scaled.
enum class QuantizeMethod { kNearest, kSearch, kGptq, kAwq, kAwqGptq };

inline constexpr std::array kQuantizeMethods = {QuantizeMethod::kNearest, QuantizeMethod::kSearch,
                                                QuantizeMethod::kGptq, QuantizeMethod::kAwq,
                                                QuantizeMethod::kAwqGptq};

inline bool is_gptq(QuantizeMethod method) {
  return method == QuantizeMethod::kGptq || method == QuantizeMethod::kAwqGptq;
}

/// "nearest", "search", "gptq", "awq", "awq-gptq".
std::string_view method_name(QuantizeMethod method);

struct QuantizeOptions {
  RoundingForm form = {};
  QuantizeMethod method = QuantizeMethod::kNearest;
  GptqOptions gptq = {};
  /// Rows of ids, all of one length, that scales and codes are chosen by; none for kNearest.
  std::vector<std::vector<int32_t>> calibration = {};
  /// Windows of T + 1 ids that the model is measured on, before and after; may be none.
  std::vector<std::vector<int32_t>> held_out = {};
  /// The folder in which layers are kept as they are finished, and from which a run with the same
  /// model, text and options goes on; the caller removes it. Empty: none is kept.
  std::filesystem::path kept = {};
  /// Told what is being done in which layer, often; may throw to stop.
  std::function<void(int64_t layer, std::string_view work)> on_progress = {};
};

/// One matrix and what became of it. Errors are relative: the root of the mean square of what is
/// off, divided by that of what it is compared with.
struct QuantisedLinear {
  std::string name;  // "model.layers.0.mlp.up_proj"
  int64_t rows = 0, columns = 0, bytes = 0;
  double weight_error = 0;                  // of the matrix itself
  std::optional<double> output_error = {};  // of what it makes of inputs in the original model
};

struct QuantisedModel {
  NamedTensors tensors = {};  // of the folder
  Json config = {};           // config.json with quantization_config
  std::vector<QuantisedLinear> linears = {};
  int64_t scaled = 0;        // inputs, of one matrix or of several, that AWQ has scaled
  int64_t bytes_before = 0;  // of those matrices; of a GGUF file as its blocks are read
  /// Of held-out text: the relative error of what each layer adds up to, and the two models' means
  /// (a: before, b: after).
  std::vector<double> layer_errors = {};
  std::optional<PositionComparison> held_out = {};
  double loss_change_error = 0;  // the standard error of loss_b - loss_a, of tokens taken as alone
};

/// Throws Error, before any work, for a model whose linear layers cannot be quantised so: one that
/// is already, one of another project's layers, groups that do not divide a layer's inputs.
void check_quantizable(const Checkpoint& checkpoint, const ModelConfig& config,
                       const RoundingForm& form);

/// The largest power of two that divides the inputs of all layers that are quantised.
int64_t largest_group(const ModelConfig& config);

/// Quantises the model of an opened folder or file (open_rounded of model/weights.h). Each layer
/// sees what the layers before it, quantised already, make of the calibration rows. In memory are
/// one layer, the rows' residuals, and the result. Throws Error as check_quantizable does, for a
/// method that misses its rows, for ids outside the vocabulary, and for
/// numbers that are not finite.
QuantisedModel quantize_model(const Checkpoint& checkpoint, const ModelConfig& config,
                              const QuantizeOptions& options);

}  // namespace hypenet
