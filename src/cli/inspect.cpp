// hypenet inspect: what a model folder holds. Reads config and file headers; of the weights at most
// a stored head beside a config that ties it.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/model_facts.h"
#include "cli/note.h"
#include "cli/numbers.h"
#include "engine/open.h"
#include "gguf/model_files.h"
#include "model/config.h"
#include "model/decode_state.h"
#include "model/mixers/attention.h"
#include "model/weights.h"
#include "report/table.h"
#include "store/checkpoint.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kContexts[] = {4096, 131072, 1048576};

struct Parameters {
  int64_t total = 0, embedding = 0;
  std::map<std::string, int64_t> mixers;  // by name of the kind
};

struct Cache {
  int64_t tokens = 0, keys_and_values = 0, states = 0, all_attention = 0;  // bytes
};

struct WeightFile {
  std::string name;
  int64_t bytes = 0;
  std::map<std::string, int64_t> tensors;  // by name of their type
};

std::vector<std::string> mixer_names(const ModelConfig& config) {
  std::vector<std::string> names;
  for (const MixerKind* kind : config.mixer_types) names.emplace_back(kind->name);
  return names;
}

Parameters count_parameters(const Checkpoint& checkpoint, const ModelConfig& config) {
  const std::vector<std::string> kinds = mixer_names(config);
  Parameters parameters;
  for (const std::string& kind : kinds) parameters.mixers[kind] = 0;
  const bool is_tied =
      config.tie_word_embeddings && checkpoint.contains("model.embed_tokens.weight");
  for (const std::string& name : checkpoint.names()) {
    // A second copy of the embedding, and old frequency tables, are no parameters.
    if ((is_tied && name == "lm_head.weight") || name.ends_with(".inv_freq")) continue;
    const int64_t count = c10::multiply_integers(checkpoint.facts(name).shape);
    parameters.total += count;
    if (name == "model.embed_tokens.weight" || name == "lm_head.weight") {
      parameters.embedding += count;
    }
    for (size_t layer = 0; layer < kinds.size(); ++layer) {
      if (name.starts_with(concat("model.layers.", layer, ".self_attn."))) {
        parameters.mixers[kinds[layer]] += count;
      }
    }
  }
  return parameters;
}

/// For weights as they are stored: with bfloat16 ones keys and values are bfloat16, on a CPU too.
MemoryTypes types_of(const Checkpoint& checkpoint) {
  return memory_types(stored_type(checkpoint.facts("model.embed_tokens.weight")), torch::kFloat32);
}

Cache measure_cache(const ModelConfig& config, const MemoryTypes& types, int64_t tokens) {
  ModelConfig transformer = config;
  std::ranges::fill(transformer.mixer_types, &kAttentionMixer);
  return {tokens, page_bytes(config, types, tokens), slot_bytes(config, types),
          page_bytes(transformer, types, tokens)};
}

std::vector<WeightFile> list_shards(const GgufModel& model) {
  std::vector<WeightFile> files;
  for (const GgufFile& shard : model.files()) {
    const fs::path& path = shard.path();
    WeightFile file{path.filename().string(), static_cast<int64_t>(fs::file_size(path)), {}};
    for (const GgufTensor& tensor : shard.tensors()) {
      ++file.tensors[std::string(block_layout(tensor.type).name)];
    }
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<WeightFile> list_files(const fs::path& folder) {
  if (const ModelFiles files(folder); files.gguf()) return list_shards(*files.gguf());
  std::set<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) paths.insert(entry.path());
  }
  std::vector<WeightFile> files;
  for (const fs::path& path : paths) {
    WeightFile file{path.filename().string(), static_cast<int64_t>(fs::file_size(path)), {}};
    const SafetensorsFile tensors(path);
    for (const std::string& name : tensors.names()) {
      ++file.tensors[type_name(tensors.tensor(name).scalar_type())];
    }
    files.push_back(std::move(file));
  }
  return files;
}

/// Layers of one kind in a row as one entry: "0-1 lightning-attn, 2 attn, 3-7 lightning-attn".
std::string describe_mixers(const std::vector<std::string>& names) {
  std::string text;
  for (size_t begin = 0; begin < names.size();) {
    size_t end = begin + 1;
    while (end < names.size() && names[end] == names[begin]) ++end;
    text += text.empty() ? "" : ", ";
    text += end - begin == 1 ? fmt::format("{} {}", begin, names[begin])
                             : fmt::format("{}-{} {}", begin, end - 1, names[begin]);
    begin = end;
  }
  return text;
}

Table cache_table(const ModelConfig& config, const MemoryTypes& types) {
  Table table{{"tokens", "keys and values", "states", "together", "all layers attention"}, {}};
  for (const int64_t tokens : kContexts) {
    const Cache cache = measure_cache(config, types, tokens);
    table.rows.push_back({readable_tokens(tokens), readable_bytes(cache.keys_and_values),
                          readable_bytes(cache.states),
                          readable_bytes(cache.keys_and_values + cache.states),
                          readable_bytes(cache.all_attention)});
  }
  return table;
}

Table file_table(const std::vector<WeightFile>& files) {
  Table table{{"file", "size", "tensors"}, {}};
  for (const WeightFile& file : files) {
    std::string tensors;
    for (const auto& [type, count] : file.tensors) {
      tensors += fmt::format("{}{} {}", tensors.empty() ? "" : ", ", count, type);
    }
    table.rows.push_back({file.name, readable_bytes(file.bytes), tensors});
  }
  return table;
}

void print_text(const Checkpoint& checkpoint, const ModelConfig& config) {
  const Parameters parameters = count_parameters(checkpoint, config);
  const std::vector<std::string> kinds = mixer_names(config);
  std::cout << fmt::format(
      "{}: {} layers, hidden size {}, {} heads ({} for keys and values) of {}\n",
      architecture_name(config.architecture), config.num_hidden_layers, config.hidden_size,
      config.num_attention_heads, config.num_key_value_heads, config.head_dim);
  std::cout << "mixers: " << describe_mixers(kinds) << "\n\n";
  for (const ModelFact& fact : model_facts(checkpoint, config)) {
    std::cout << fmt::format("{:<26}{}\n", fact.name, fact.text);
  }
  std::cout << '\n';
  Table table{{"parameters", "number"}, {}};
  table.rows.push_back({"all", with_commas(parameters.total)});
  table.rows.push_back({"embedding", with_commas(parameters.embedding)});
  table.rows.push_back({"others", with_commas(parameters.total - parameters.embedding)});
  for (const auto& [kind, count] : parameters.mixers) {
    const auto layers = std::count(kinds.begin(), kinds.end(), kind);
    table.rows.push_back({fmt::format("in {} {} mixers", layers, kind), with_commas(count)});
  }
  const MemoryTypes types = types_of(checkpoint);
  std::cout << format_table(table)
            << fmt::format(
                   "\ncache of one sequence (keys and values {}, states {}{}):\n",
                   type_name(types.cache), type_name(types.state),
                   types.cache == torch::kBFloat16 ? "" : "; keys and values half of that on a GPU")
            << format_table(cache_table(config, types)) << '\n'
            << format_table(file_table(list_files(checkpoint.folder())));
}

Json as_json(const Checkpoint& checkpoint, const ModelConfig& config) {
  const Parameters parameters = count_parameters(checkpoint, config);
  Json json = {{"architecture", architecture_name(config.architecture)},
               {"num_hidden_layers", config.num_hidden_layers},
               {"mixer_types", mixer_names(config)}};
  for (const ModelFact& fact : model_facts(checkpoint, config)) json[fact.key] = fact.value;
  json["parameters"] = {{"total", parameters.total},
                        {"embedding", parameters.embedding},
                        {"non_embedding", parameters.total - parameters.embedding},
                        {"mixers", parameters.mixers}};
  const MemoryTypes types = types_of(checkpoint);
  json["cache_types"] = {{"keys_and_values", type_name(types.cache)},
                         {"states", type_name(types.state)}};
  for (const int64_t tokens : kContexts) {
    const Cache cache = measure_cache(config, types, tokens);
    json["cache"].push_back({{"tokens", tokens},
                             {"key_value_bytes", cache.keys_and_values},
                             {"state_bytes", cache.states},
                             {"bytes", cache.keys_and_values + cache.states},
                             {"all_attention_bytes", cache.all_attention}});
  }
  for (const WeightFile& file : list_files(checkpoint.folder())) {
    json["files"].push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"tensors", file.tensors}});
  }
  return json;
}

struct InspectOptions {
  fs::path folder;
  bool is_json = false;
};

void inspect(const InspectOptions& options) {
  const Checkpoint checkpoint(options.folder);
  const ModelConfig config = read_model_config(checkpoint, print_note);
  try {
    check_tensors(checkpoint, config);
  } catch (const Error& error) {
    print_note(error.what());
  }
  if (options.is_json) {
    std::cout << as_json(checkpoint, config).dump(2, ' ', false, Json::error_handler_t::replace)
              << '\n';
  } else {
    print_text(checkpoint, config);
  }
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect", "show what a model folder holds: sizes, mixers, tokenizer, cache, files");
  command->add_option("DIR", options->folder, "model folder, or a GGUF file")->required();
  command->add_flag("--json", options->is_json, "print JSON");
  command->footer("Example:\n  hypenet inspect out/tiny/model");
  command->callback([options] { inspect(*options); });
}

}  // namespace hypenet
