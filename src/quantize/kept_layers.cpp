// The file of the streams is written last, and says how many layers count: whatever a run was
// stopped at, what it says is on the disk.
#include "quantize/kept_layers.h"

#include <fmt/format.h>

#include <charconv>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/fnv1a.h"
#include "base/json.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAbout = "quantize.json";
constexpr const char* kStreams = "streams.safetensors";
constexpr const char* kFacts = "facts";        // metadata of a layer's file
constexpr const char* kFinished = "finished";  // of the streams'
constexpr int kCodesVersion = 2;               // counts up when the same options choose other codes

std::string layer_file(int64_t i) { return fmt::format("layer-{}.safetensors", i); }

NamedTensors tensors_of(const SafetensorsFile& file) {
  NamedTensors tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.tensor(name));
  return tensors;
}

const std::string& metadata(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  HYPENET_CHECK(found != file.metadata().end(), file.path().string(), ": expected metadata ", key,
                ", found none");
  return found->second;
}

/// What `read` returns; its Error also says that nothing but time is lost with the folder.
template <typename Read>
auto read_kept(const fs::path& folder, const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    throw Error(concat(error.what(), "; without ", folder.string(), " quantising begins anew"));
  }
}

int64_t finished_layers(const fs::path& folder) {
  if (!fs::exists(folder / kStreams)) return 0;
  const SafetensorsFile file(folder / kStreams);
  const std::string& text = metadata(file, kFinished);
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  HYPENET_CHECK(error == std::errc() && end == text.data() + text.size() && count >= 0,
                file.path().string(), ": ", kFinished, ": expected a number, found ", text);
  for (int64_t i = 0; i < count; ++i) {
    HYPENET_CHECK(fs::exists(folder / layer_file(i)), folder.string(), ": expected ", layer_file(i),
                  ", found none");
  }
  return count;
}

bool is_of(const fs::path& folder, const std::string& fingerprint) {
  if (!fs::exists(folder / kAbout)) return false;
  const Json about = read_json(folder / kAbout);
  return about.contains("fingerprint") && about["fingerprint"] == fingerprint;
}

Json json_of(const QuantisedLinear& linear) {
  return {{"name", linear.name},
          {"rows", linear.rows},
          {"columns", linear.columns},
          {"bytes", linear.bytes},
          {"weight_error", linear.weight_error},
          {"output_error", linear.output_error ? Json(*linear.output_error) : Json(nullptr)}};
}

QuantisedLinear linear_of(const Json& json) {
  QuantisedLinear linear{.name = json.at("name").get<std::string>(),
                         .rows = json.at("rows").get<int64_t>(),
                         .columns = json.at("columns").get<int64_t>(),
                         .bytes = json.at("bytes").get<int64_t>(),
                         .weight_error = json.at("weight_error").get<double>()};
  const Json& error = json.at("output_error");
  if (!error.is_null()) linear.output_error = error.get<double>();
  return linear;
}

/// All of a layer but its tensors.
Json facts_of(const LayerResult& layer) {
  Json facts = {{"scaled", layer.scaled},
                {"bytes_before", layer.bytes_before},
                {"error", layer.error ? Json(*layer.error) : Json(nullptr)},
                {"folded", Json::array()},
                {"linears", Json::array()}};
  for (const auto& [name, tensor] : layer.folded) facts["folded"].push_back(name);
  for (const QuantisedLinear& linear : layer.linears) facts["linears"].push_back(json_of(linear));
  return facts;
}

/// The inverse of facts_of, with the tensors of both kinds.
LayerResult layer_of(const Json& facts, const NamedTensors& tensors) {
  LayerResult layer{.scaled = facts.at("scaled").get<int64_t>(),
                    .bytes_before = facts.at("bytes_before").get<int64_t>()};
  const auto folded = facts.at("folded").get<std::set<std::string>>();
  for (const auto& [name, tensor] : tensors) {
    (folded.contains(name) ? layer.folded : layer.tensors).emplace_back(name, tensor);
  }
  for (const Json& linear : facts.at("linears")) layer.linears.push_back(linear_of(linear));
  if (!facts.at("error").is_null()) layer.error = facts.at("error").get<double>();
  return layer;
}

LayerResult read_layer(const fs::path& path) {
  const SafetensorsFile file(path);
  const Json facts = parse_json(metadata(file, kFacts), path.string());
  try {
    return layer_of(facts, tensors_of(file));
  } catch (const Json::exception&) {
    throw Error(concat(path.string(), ": ", kFacts, ": expected those of a layer, found others"));
  }
}

void add_ids(Fnv1a& hash, const std::vector<std::vector<int32_t>>& windows) {
  hash.add(windows.size());
  for (const std::vector<int32_t>& window : windows) {
    hash.add(window.size());
    for (const int32_t id : window) hash.add(static_cast<uint64_t>(id));
  }
}

}  // namespace

KeptLayers::KeptLayers(const fs::path& folder, const std::string& fingerprint)
    : folder_(folder), fingerprint_(fingerprint) {
  check_folder(folder, kept_layers_kind());
  if (fs::exists(folder) && !read_kept(folder, [&] { return is_of(folder, fingerprint); })) {
    remove_folder(folder, kept_layers_kind());
  }
  fs::create_directories(folder);
  write_file(folder / kAbout, Json{{"fingerprint", fingerprint}}.dump(2) + "\n");
  finished_ = read_kept(folder, [&] { return finished_layers(folder); });
}

LayerResult KeptLayers::layer(int64_t i) const {
  return read_kept(folder_, [&] { return read_layer(folder_ / layer_file(i)); });
}

NamedTensors KeptLayers::streams() const {
  return read_kept(folder_, [&] { return tensors_of(SafetensorsFile(folder_ / kStreams)); });
}

void KeptLayers::keep(const LayerResult& layer, const NamedTensors& streams) {
  NamedTensors tensors = layer.tensors;
  tensors.insert(tensors.end(), layer.folded.begin(), layer.folded.end());
  write_safetensors(folder_ / layer_file(finished_), tensors, {{kFacts, facts_of(layer).dump()}});
  write_safetensors(folder_ / kStreams, streams, {{kFinished, std::to_string(finished_ + 1)}});
  ++finished_;
}

fs::path kept_layers_folder(const fs::path& out) {
  const fs::path named = out.has_filename() ? out : out.parent_path();
  return named.string() + ".layers";
}

FolderKind kept_layers_kind() {
  return {"layers that hypenet quantize keeps",
          kAbout,
          {"layer-*.safetensors", kStreams, "*.hypenet-partial"}};
}

std::string quantize_fingerprint(const Checkpoint& checkpoint, const QuantizeOptions& options) {
  Fnv1a hash;
  hash.add(checkpoint.config().dump());
  for (const fs::path& path : checkpoint.paths()) {
    hash.add(path.filename().string());
    if (!fs::is_regular_file(path)) continue;
    hash.add(static_cast<uint64_t>(fs::file_size(path)));
    hash.add(static_cast<uint64_t>(fs::last_write_time(path).time_since_epoch().count()));
  }
  const RoundingForm& form = options.form;
  hash.add(concat(code_type_name(form.type), " ", form.group, " ", form.has_zeros, " ",
                  method_name(options.method), " ", options.gptq.damping, " ",
                  options.gptq.orders_columns, " ", options.gptq.searches_clip, " ",
                  options.gptq.correction, " ", kCodesVersion));
  add_ids(hash, options.calibration);
  add_ids(hash, options.held_out);
  return hash.hex();
}

}  // namespace hypenet
