// The walk over the layers. Four streams go through each: held-out text through the original layer
// and through the quantised one, and the calibration rows through the quantised one, and for GPTQ
// through the original one.
#include "quantize/quantize.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "lowbit/compressed_tensors.h"
#include "model/token_ids.h"
#include "model/weights.h"
#include "quantize/hidden_comparison.h"
#include "quantize/input_products.h"
#include "quantize/kept_layers.h"
#include "quantize/layer_codes.h"

namespace hypenet {
namespace {

constexpr int64_t kBatchTokens = 4096;   // of a forward
constexpr int64_t kSampleTokens = 1024;  // of the first batch, that outputs are compared on
constexpr int64_t kTrialTokens = 64;     // that folds are tried on

/// Rows of equal length on their way through the layers.
struct Stream {
  Context context;
  Tensor hidden;     // [B, T, D]
  Tensor next = {};  // int64 [B T]: what the text goes on with; undefined for calibration rows
};

double squares(const Tensor& x) { return x.square().sum(torch::kFloat64).item<double>(); }

double relative_error(const Tensor& found, const Tensor& expected) {
  return std::sqrt(squares(found - expected) / std::max(squares(expected), 1e-300));
}

std::string layer_prefix(int64_t i) { return concat("model.layers.", i, "."); }

/// Of a matrix before it was quantised; blocks of a GGUF file count as what they are read as.
int64_t bytes_in(const Checkpoint& checkpoint, const std::string& name) {
  const TensorFacts facts = checkpoint.facts(name);
  return c10::multiply_integers(facts.shape) * static_cast<int64_t>(torch::elementSize(facts.type));
}

/// Fills the parameters whose names begin so, in float32.
void fill(CausalLm& model, const Checkpoint& checkpoint, const std::string& prefix) {
  constexpr const char *kHead = "lm_head.weight", *kEmbedding = "model.embed_tokens.weight";
  for (auto& parameter : model->named_parameters()) {
    const std::string& name = parameter.key();
    if (!name.starts_with(prefix)) continue;
    // A tied head alone is the embedding as well.
    const bool is_head = name == kEmbedding && !checkpoint.contains(name);
    const Tensor stored =
        checkpoint.tensor(is_head ? kHead : name, parameter.value().sizes().vec());
    parameter.value().set_data(stored.to(torch::kFloat32, false, /*copy=*/true));
  }
}

/// Gives back the memory of a layer that nobody reads any more.
void drop(Block& block) {
  for (Tensor& parameter : block->parameters()) parameter.set_data(torch::empty({0}));
}

void check_finite(const std::vector<LinearPlace>& places) {
  for (const LinearPlace& place : places) {
    HYPENET_CHECK(torch::isfinite(place.linear->weights.weight.master).all().item<bool>(),
                  "quantize: ", place.name, ".weight: expected finite numbers, found others");
  }
}

/// Of the folder, whose groups may be all of some matrices' columns.
CompressedScheme scheme_of(const RoundingForm& form) {
  CompressedScheme scheme{.bits = form.type == CodeType::kInt4 ? 4 : 8,
                          .group = form.group,
                          .is_symmetric = !form.has_zeros};
  if (form.type == CodeType::kInt8) scheme.format = CompressedFormat::kInt;
  if (form.type == CodeType::kFloat8) scheme.format = CompressedFormat::kFloat;
  return scheme;
}

bool scales_inputs(QuantizeMethod method) {
  return method == QuantizeMethod::kAwq || method == QuantizeMethod::kAwqGptq;
}

class Quantizer {
 public:
  Quantizer(const Checkpoint& checkpoint, const ModelConfig& config, const QuantizeOptions& options)
      : checkpoint_(checkpoint), options_(options), model_(config, /*random_weights=*/false) {
    model_->begin_inference();
    for (const char* prefix : {"model.embed", "model.norm", "lm_head"}) {
      fill(model_, checkpoint, prefix);
    }
    trial_context_ = model_->context(torch::zeros({1, kTrialTokens}, torch::kInt64));
    calibration_ = streams_of(options.calibration, /*has_next=*/false);
    if (is_gptq(options.method)) originals_ = streams_of(options.calibration, /*has_next=*/false);
    before_ = streams_of(options.held_out, /*has_next=*/true);
    after_ = streams_of(options.held_out, /*has_next=*/true);
  }

  QuantisedModel run() {
    run_layers();
    if (!before_.empty()) compare_held_out();
    take_other_tensors();
    result_.config = checkpoint_.config();
    result_.config["quantization_config"] =
        compressed_config(scheme_of(options_.form), other_linears(model_));
    return std::move(result_);
  }

 private:
  std::vector<Stream> streams_of(const std::vector<std::vector<int32_t>>& windows, bool has_next) {
    std::vector<Stream> streams;
    if (windows.empty()) return streams;
    const auto length = static_cast<int64_t>(windows.front().size()) - (has_next ? 1 : 0);
    const int64_t batch = std::max<int64_t>(1, kBatchTokens / length);
    for (int64_t begin = 0; begin < std::ssize(windows); begin += batch) {
      std::vector<Tensor> rows;
      for (int64_t i = begin; i < std::min(begin + batch, std::ssize(windows)); ++i) {
        const auto& window = windows[static_cast<size_t>(i)];
        check_ids("quantize", window, model_->config().vocab_size);
        rows.push_back(ids_tensor(window, torch::kCPU));
      }
      const Tensor tokens = torch::stack(rows);  // [B, T] or [B, T + 1]
      const Tensor ids = tokens.narrow(1, 0, length).contiguous();
      streams.push_back({model_->context(ids), model_->embed(ids)});
      if (has_next) streams.back().next = tokens.narrow(1, 1, length).flatten();
    }
    return streams;
  }

  void tell(int64_t layer, std::string_view work) const {
    if (options_.on_progress) options_.on_progress(layer, work);
  }

  Tensor forward(int64_t i, const Stream& stream) {
    return model_->layer(i)->forward({stream.hidden}, stream.context).sum();
  }

  void advance(int64_t i, std::vector<Stream>& streams, std::string_view work) {
    for (Stream& stream : streams) {
      tell(i, work);
      stream.hidden = forward(i, stream);
    }
  }

  void run_layers() {
    const int64_t layers = model_->config().num_hidden_layers;
    if (options_.kept.empty()) {
      for (int64_t i = 0; i < layers; ++i) add(quantize_layer(i));
      return;
    }
    KeptLayers kept(options_.kept, quantize_fingerprint(checkpoint_, options_));
    for (int64_t i = 0; i < kept.finished(); ++i) {
      tell(i, "was kept by an earlier run");
      add(kept.layer(i));
    }
    if (kept.finished() > 0) put_streams(kept.streams());
    while (kept.finished() < layers) {
      LayerResult layer = quantize_layer(kept.finished());
      kept.keep(layer, streams());
      add(std::move(layer));
    }
  }

  LayerResult quantize_layer(int64_t i) {
    tell(i, "reads its weights");
    fill(model_, checkpoint_, layer_prefix(i));
    const std::vector<LinearPlace> places = quantised_linears(model_, i);
    check_finite(places);
    std::map<std::string, Tensor> samples;
    advance_before(i, places, samples);
    const LayerCodes codes =
        options_.method == QuantizeMethod::kNearest ? nearest(i, places) : calibrated(i, places);
    LayerResult layer{.folded = codes.folded, .scaled = codes.scaled};
    for (const LinearPlace& place : places) take(place, codes, samples, layer);
    advance(i, after_, "held-out text after");
    if (!after_.empty()) layer.error = layer_error(i);
    if (i + 1 < model_->config().num_hidden_layers) {
      advance(i, calibration_, "calibration text after");
    }
    drop(model_->layer(i));
    return layer;
  }

  /// Held-out text through the original layer; `samples` gets some of each linear layer's inputs,
  /// of the calibration rows where there is no such text.
  void advance_before(int64_t i, const std::vector<LinearPlace>& places,
                      std::map<std::string, Tensor>& samples) {
    for (const LinearPlace& place : places) {
      place.linear->on_input = [&samples, &place](const Tensor& x) {
        samples.emplace(place.name, x.reshape({-1, x.size(-1)}).slice(0, 0, kSampleTokens));
      };
    }
    if (before_.empty() && !calibration_.empty()) forward(i, calibration_.front());
    advance(i, before_, "held-out text before");
    for (const LinearPlace& place : places) place.linear->on_input = {};
  }

  LayerCodes nearest(int64_t i, const std::vector<LinearPlace>& places) {
    LayerCodes codes;
    for (const LinearPlace& place : places) {
      tell(i, "rounds");
      codes.matrices[place.name] =
          round_to_nearest(place.linear->weights.weight.master, options_.form);
    }
    return codes;
  }

  LayerCodes calibrated(int64_t i, const std::vector<LinearPlace>& places) {
    const bool scales = scales_inputs(options_.method);
    std::vector<InputFold> folds;
    if (scales) folds = find_folds(model_, i, trial_context_, kTrialTokens);
    InputProducts products(places, /*keeps_samples=*/scales);
    for (size_t n = 0; n < calibration_.size(); ++n) {
      tell(i, "calibration text before");
      if (!originals_.empty()) {
        products.expect_originals(true);
        originals_[n].hidden = forward(i, originals_[n]);
        products.expect_originals(false);
      }
      forward(i, calibration_[n]);
    }
    return calibrated_codes(
        products.finish(), folds, options_,
        [this](const std::string& name) { return checkpoint_.facts(name).type; },
        [this, i] { tell(i, "chooses codes"); });
  }

  /// The layer reads the matrix from now on, and the folder gets it.
  void take(const LinearPlace& place, const LayerCodes& codes,
            const std::map<std::string, Tensor>& samples, LayerResult& layer) {
    const QuantisedMatrix& matrix = codes.matrices.at(place.name);
    const auto factors = codes.factors.find(place.name);
    const auto original = [&](const Tensor& numbers) {
      return factors == codes.factors.end() ? numbers : factors->second.taken_back(numbers);
    };
    const Tensor expanded = matrix.expand(), found = original(expanded);
    const Tensor weight = original(place.linear->weights.weight.master);
    QuantisedLinear linear{.name = place.name,
                           .rows = matrix.rows,
                           .columns = matrix.columns,
                           .bytes = matrix.bytes(),
                           .weight_error = relative_error(found, weight)};
    const auto sample = samples.find(place.name);
    if (sample != samples.end()) {
      const Tensor expected = product(sample->second, weight);
      linear.output_error = relative_error(product(sample->second, found), expected);
    }
    layer.bytes_before += bytes_in(checkpoint_, place.name + ".weight");
    place.linear->weights.weight.master.set_data(expanded);
    for (auto& [key, tensor] : pack_compressed(matrix)) {
      layer.tensors.emplace_back(place.name + "." + key, tensor);
    }
    layer.linears.push_back(std::move(linear));
  }

  void add(LayerResult&& layer) {
    std::ranges::move(layer.tensors, std::back_inserter(result_.tensors));
    for (auto& [name, tensor] : layer.folded) folded_[name] = tensor;
    std::ranges::move(layer.linears, std::back_inserter(result_.linears));
    if (layer.error) result_.layer_errors.push_back(*layer.error);
    result_.scaled += layer.scaled, result_.bytes_before += layer.bytes_before;
  }

  /// use(name, tensor) of all that goes on from one layer to the next.
  template <typename Use>
  void for_each_stream(const Use& use) {
    use("trial.first_values", trial_context_.share->first_values);
    for (const auto& [name, streams] : {std::pair{"calibration", &calibration_},
                                        {"originals", &originals_},
                                        {"before", &before_},
                                        {"after", &after_}}) {
      for (size_t i = 0; i < streams->size(); ++i) {
        Stream& stream = (*streams)[i];
        use(concat(name, ".", i), stream.hidden);
        use(concat(name, ".", i, ".first_values"), stream.context.share->first_values);
      }
    }
  }

  NamedTensors streams() {
    NamedTensors tensors;
    for_each_stream([&](const std::string& name, const Tensor& tensor) {
      if (tensor.defined()) tensors.emplace_back(name, tensor);
    });
    return tensors;
  }

  void put_streams(const NamedTensors& tensors) {
    const std::map<std::string, Tensor> found(tensors.begin(), tensors.end());
    for_each_stream([&](const std::string& name, Tensor& tensor) {
      const auto kept = found.find(name);
      if (kept != found.end()) tensor = kept->second.clone();
    });
  }

  double layer_error(int64_t i) const {
    double off = 0, all = 0;
    for (size_t i = 0; i < after_.size(); ++i) {
      off += squares(after_[i].hidden - before_[i].hidden), all += squares(before_[i].hidden);
    }
    HYPENET_CHECK(std::isfinite(off), "quantize: expected outputs of layer ", i,
                  " that are finite, found others");
    return std::sqrt(off / std::max(all, 1e-300));
  }

  void compare_held_out() {
    PositionComparison mean;
    double squares_of_change = 0;
    int64_t positions = 0;
    for (size_t i = 0; i < after_.size(); ++i) {
      tell(model_->config().num_hidden_layers, "compares what comes next");
      const auto finished = [&](const Stream& stream) {
        return model_->finish({stream.hidden}).flatten(0, 1);
      };
      const Tensor& next = after_[i].next;
      const HiddenComparison found =
          compare_hidden(model_, finished(before_[i]), finished(after_[i]), next);
      for (const auto& [name, value] : kPositionMeasures) mean.*value += found.sum.*value;
      squares_of_change += found.squares_of_change;
      positions += next.size(0);
    }
    for (const auto& [name, value] : kPositionMeasures) {
      mean.*value /= static_cast<double>(positions);
      HYPENET_CHECK(std::isfinite(mean.*value), "quantize: expected a finite ", name,
                    " on held-out text, found ", mean.*value);
    }
    result_.held_out = mean;
    const double change = mean.loss_b - mean.loss_a, count = static_cast<double>(positions);
    const double variance = std::max(0.0, squares_of_change / count - change * change);
    result_.loss_change_error = std::sqrt(variance / count);
  }

  /// All that is not quantised, as it was stored, but for what took back factors of inputs.
  void take_other_tensors() {
    std::set<std::string> quantised;
    for (const QuantisedLinear& linear : result_.linears) quantised.insert(linear.name + ".weight");
    for (const std::string& name : checkpoint_.names()) {
      if (quantised.contains(name)) continue;
      const auto changed = folded_.find(name);
      result_.tensors.emplace_back(
          name, changed == folded_.end() ? checkpoint_.tensor(name) : changed->second);
    }
    // Layers that were kept come back in another order, and files are to have the same bytes.
    std::ranges::sort(result_.tensors, {}, &NamedTensors::value_type::first);
  }

  const Checkpoint& checkpoint_;
  const QuantizeOptions& options_;
  CausalLm model_;
  std::vector<Stream> calibration_, originals_, before_, after_;
  Context trial_context_;
  std::map<std::string, Tensor> folded_;
  QuantisedModel result_;
};

void check_method(const QuantizeOptions& options) {
  HYPENET_CHECK(options.method == QuantizeMethod::kNearest || !options.calibration.empty(),
                "quantize: method ", method_name(options.method),
                ": expected calibration rows, found none");
}

}  // namespace

QuantisedModel quantize_model(const Checkpoint& checkpoint, const ModelConfig& config,
                              const QuantizeOptions& options) {
  check_quantizable(checkpoint, config, options.form);
  check_method(options);
  const torch::NoGradGuard no_grad;
  return Quantizer(checkpoint, config, options).run();
}

}  // namespace hypenet
