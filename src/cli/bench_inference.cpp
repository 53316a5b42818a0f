// Options, models and plots of the two benchmarks of inference.
#include "cli/bench_inference.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "bench/shapes.h"
#include "engine/open.h"

namespace hypenet {
namespace {

Series read_series(const Json& json, const std::string& place) {
  HYPENET_CHECK(
      json.is_object() && json.contains("name") && json.contains("context") && json.contains("ms"),
      place, ": expected {name, context, ms}, found ", json.dump());
  Series series{json.at("name").get<std::string>(), json.at("context").get<std::vector<double>>(),
                json.at("ms").get<std::vector<double>>()};
  HYPENET_CHECK(series.x.size() == series.y.size(), place, ": ", series.name, ": expected ",
                series.x.size(), " milliseconds, one a context, found ", series.y.size());
  return series;
}

std::vector<Series> series_of(const BenchInference& options,
                              const std::vector<SpeedPoint>& points) {
  std::vector<Series> all;
  for (const std::string& shape : options.shapes) {
    Series measured{shape, {}, {}}, floor{shape + ", floor", {}, {}};
    for (const SpeedPoint& point : points) {
      if (point.shape != shape) continue;
      for (Series* series : {&measured, &floor}) {
        series->x.push_back(static_cast<double>(point.context));
      }
      measured.y.push_back(point.ms), floor.y.push_back(point.floor_ms);
    }
    all.push_back(measured), all.push_back(floor);
  }
  if (options.compare.empty()) return all;
  const Json json = read_json(options.compare);
  const std::string place = options.compare.string();
  HYPENET_CHECK(json.is_object() && json.contains("series"), place, ": expected \"series\"");
  for (const Json& series : json.at("series")) all.push_back(read_series(series, place));
  return all;
}

/// Whether a shape is the name of a folder or a GGUF file.
bool is_file(const std::string& shape) { return std::filesystem::exists(shape); }

}  // namespace

void add_inference_options(CLI::App& command, BenchInference& options) {
  command
      .add_option(
          "--shape", options.shapes,
          concat("models, separated by commas: ", inference_shapes(),
                 ", whose sizes alone count, or folders and GGUF files, opened as they are"))
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--context", options.contexts, "tokens, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--dtype", options.type, "of the weights: bfloat16 or float32")
      ->capture_default_str();
  command.add_option("--plot", options.plot, "SVG of milliseconds over context");
  command.add_option("--compare", options.compare, "JSON of further series for the plot");
  command.add_option("--json", options.json, "the points as JSON");
  add_device_options(command, options.device);
}

void check(const BenchInference& options) {
  HYPENET_CHECK(!options.shapes.empty() && !options.contexts.empty(),
                "--shape, --context: expected at least one of each");
  for (const std::string& shape : options.shapes) {
    if (!is_file(shape)) inference_shape(shape);  // before any is measured
  }
  for (const int64_t context : options.contexts) {
    HYPENET_CHECK(context > 0, "--context: expected 1 or more, found ", context);
  }
}

torch::ScalarType compute_type(const BenchInference& options, torch::Device device) {
  const torch::ScalarType weights = parse_type(options.type);
  const bool is_mixed = weights == torch::kBFloat16 && !device.is_cuda();
  return is_mixed ? torch::kFloat32 : weights;
}

CausalLm inference_model(const std::string& shape, const BenchInference& options,
                         torch::Device device) {
  if (is_file(shape)) return open_model(Checkpoint(shape), {.device = device});
  torch::manual_seed(0);
  CausalLm model = random_model(inference_shape(shape), parse_type(options.type), device);
  model->prepare({.type = compute_type(options, device)});
  model->begin_inference();
  return model;
}

void write_results(const BenchInference& options, const std::string& title,
                   const std::vector<SpeedPoint>& points) {
  if (!options.plot.empty()) {
    write_file(options.plot, draw_svg({.title = title,
                                       .x_label = "context, tokens",
                                       .y_label = "ms",
                                       .log_x = true,
                                       .log_y = true,
                                       .series = series_of(options, points)}));
  }
  if (options.json.empty()) return;
  Json json = Json::array();
  for (const SpeedPoint& point : points) {
    json.push_back({{"shape", point.shape},
                    {"context", point.context},
                    {"ms", point.ms},
                    {"floor_ms", point.floor_ms}});
    if (point.cache_bytes) json.back()["cache_bytes"] = *point.cache_bytes;
  }
  write_json(options.json, json);
}

int64_t step_weight_bytes(CausalLm& model) {
  std::map<std::string, int64_t> packed;
  for (const ModelMatrix& matrix : model->matrices()) {
    if (matrix.weight->packed) packed[matrix.name] = matrix.weight->packed->memory.numel();
  }
  int64_t bytes = 0;
  for (const auto& parameter : model->named_parameters()) {
    const bool is_embedding = parameter.key() == "model.embed_tokens.weight";
    if (is_embedding && !model->config().tie_word_embeddings) continue;
    if (const auto found = packed.find(parameter.key()); found != packed.end()) {
      bytes += found->second;
      continue;
    }
    bytes += parameter.value().numel() * static_cast<int64_t>(parameter.value().element_size());
  }
  return bytes;
}

}  // namespace hypenet
