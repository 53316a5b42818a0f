// The card says what run.json, recipe.json and results.json say, and nothing that it would have to
// guess: no licence, no language.
#include "cli/transformers/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "cli/note.h"
#include "eval/result_files.h"
#include "report/markdown.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

/// What stands behind the keys, or null.
Json find(const Json& json, std::initializer_list<const char*> keys) {
  Json found = json;
  for (const char* key : keys) {
    if (!found.is_object() || !found.contains(key)) return nullptr;
    found = Json(found.at(key));
  }
  return found;
}

std::string text_of(const Json& json) { return json.is_string() ? json.get<std::string>() : ""; }

/// The last name of a path; a slash at its end does not matter.
std::string last_name(const std::string& path) {
  const fs::path plain = fs::path(path).lexically_normal();
  return (plain.has_filename() ? plain : plain.parent_path()).filename().string();
}

Json read_or_note(const fs::path& path) {
  if (!fs::exists(path)) return nullptr;
  try {
    return read_json(path);
  } catch (const Error& error) {
    print_note(concat("the model card is written without ", error.what()));
    return nullptr;
  }
}

std::optional<ConversionRecord> read_results(const fs::path& path) {
  const Json json = read_or_note(path);
  if (!json.is_object() || !is_conversion(json)) return std::nullopt;
  try {
    ConversionRecord record;
    read_fields(json, path.string(), record);
    return record;
  } catch (const Error& error) {
    print_note(concat("the model card is written without ", error.what()));
    return std::nullopt;
  }
}

/// "Qwen/Qwen3-1.7B" of a teacher in the hub's cache (models--Qwen--Qwen3-1.7B), else nothing.
std::string hub_name(const std::string& path) {
  constexpr std::string_view kBeginning = "models--", kBetween = "--";
  const auto is_of_names = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
  };
  for (const fs::path& part : fs::path(path)) {
    const std::string folder = part.string();
    if (!folder.starts_with(kBeginning) || !std::ranges::all_of(folder, is_of_names)) continue;
    std::string name = folder.substr(kBeginning.size());
    const size_t between = name.find(kBetween);
    if (between != name.npos) return name.replace(between, kBetween.size(), "/");
  }
  return "";
}

std::string teacher_of(const ModelCard& card) {
  return text_of(find(card.run, {"settings", "teacher"}));
}

/// The folder whose weights a training began with, if there is one.
std::string beginning_of(const ModelCard& card) {
  return text_of(find(card.run, {"settings", "model", "folder"}));
}

std::string name_of_model(const std::string& path) {
  const std::string name = hub_name(path);
  return name.empty() ? last_name(path) : name;
}

std::vector<int64_t> attention_layers(const ModelConfig& config) {
  std::vector<int64_t> layers;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    if (!config.mixer_types[static_cast<size_t>(i)]->is_recurrent) layers.push_back(i);
  }
  return layers;
}

/// "lightning attention and Gated DeltaNet"
std::string recurrent_kinds(const ModelConfig& config) {
  std::string names;
  for (const MixerKind* kind : kinds_of(config)) {
    if (kind->is_recurrent) names += concat(names.empty() ? "" : " and ", kind->title);
  }
  return names;
}

bool is_hypenet(const ModelConfig& config) { return config.architecture == Architecture::kHypeNet; }

std::string front_matter(const ModelCard& card, const ModelConfig& config) {
  std::string text = "---\nlibrary_name: transformers\npipeline_tag: text-generation\n";
  if (is_hypenet(config)) text += "tags:\n- hypenet\n- hybrid\n- linear-attention\n- custom_code\n";
  const std::string teacher = teacher_of(card);
  const std::string base = hub_name(teacher.empty() ? beginning_of(card) : teacher);
  if (!base.empty()) text += concat("base_model: ", base, "\n");
  return text + "---\n";
}

std::string description(const ModelCard& card, const ModelConfig& config) {
  const std::string sizes =
      fmt::format("{} layers, hidden size {}, {} tokens in the vocabulary",
                  config.num_hidden_layers, config.hidden_size, config.vocab_size);
  if (!is_hypenet(config))
    return concat("A ", architecture_name(config.architecture), ": ", sizes, ".\n");
  const std::string teacher = teacher_of(card);
  const std::string scaling = to_json(config.attn_logits_scaling).dump();
  return concat(
      "A HypeNet ([arXiv 2601.22156](https://arxiv.org/abs/2601.22156))",
      teacher.empty() ? "" : concat(" made of ", name_of_model(teacher)), ": ", sizes, ".\n",
      "Softmax attention stands in the layers ", Json(attention_layers(config)).dump(),
      "; the others are ", recurrent_kinds(config), ", whose memory of a sequence does not grow.\n",
      "At inference the queries of attention are scaled as `attn_logits_scaling` says: ", scaling,
      ".\n");
}

constexpr const char* kHowToRun = R"(## Run it
With transformers{versions}:
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}"{trust})
model = AutoModelForCausalLM.from_pretrained("{name}"{trust})
inputs = tokenizer("The sun", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))
```
With hypenet:
```
hypenet generate {name} --prompt "The sun" --tokens 40
hypenet serve {name}
```
)";

std::string how_to_run(const ModelConfig& config, const std::string& name) {
  const bool has_code = is_hypenet(config);
  return fmt::format(fmt::runtime(kHowToRun), fmt::arg("name", name),
                     fmt::arg("versions", has_code ? " 4.57 or later" : ""),
                     fmt::arg("trust", has_code ? ", trust_remote_code=True" : ""));
}

std::string what_is_trained(const std::string& stage) {
  if (stage == "align") return "recurrent layers, to the teacher's hidden states";
  if (stage == "distill") return "all weights, to the teacher's logits";
  if (stage == "finetune" || stage == "extend") return "all weights, at length";
  return "all weights";
}

/// A row a stage of training: what has steps of sequences.
Table stages_table(const Json& settings) {
  Table table{{"stage", "what is trained", "steps", "sequences", "context", "tokens"}, {}};
  for (const auto& [name, stage] : settings.items()) {
    double tokens = 1;
    std::vector<std::string> row = {name, what_is_trained(name)};
    for (const char* key : {"steps", "sequences", "context"}) {
      const Json number = find(stage, {key});
      tokens *= number.is_number_integer() ? number.get<double>() : 0;
      row.push_back(number.dump());
    }
    if (tokens <= 0) continue;
    row.push_back(fmt::format("{:.0f}", tokens));
    table.rows.push_back(row);
  }
  return table;
}

/// "recipe tiny, seed 0, text train.jsonl.gz (3830341 tokens)"
std::string recipe_line(const ModelCard& card) {
  std::string line;
  const auto add = [&line](const std::string& part) { line += (line.empty() ? "" : ", ") + part; };
  const Json settings = find(card.run, {"settings"}), texts = find(card.recipe, {"data", "train"});
  const std::string teacher = teacher_of(card);
  const std::string beginning = beginning_of(card);
  if (!teacher.empty()) add("Teacher " + name_of_model(teacher));
  if (!beginning.empty()) add("Begun with the weights of " + name_of_model(beginning));
  const std::string recipe = text_of(find(card.recipe, {"name"}));
  if (!recipe.empty()) add("recipe " + recipe);
  if (const Json rule = find(settings, {"select", "rule"}); rule.is_string())
    add("layers selected by the rule " + text_of(rule));
  if (const Json seed = find(settings, {"seed"}); seed.is_number()) add("seed " + seed.dump());
  std::string names;
  if (texts.is_array()) {
    for (const Json& text : texts) names += " " + last_name(text_of(text));
  }
  const Json tokens = find(settings, {"training_tokens"});
  if (tokens.is_number()) add(concat("text", names, " of ", tokens.dump(), " tokens"));
  return line.empty() ? "" : line + ".\n";
}

std::string how_it_was_made(const ModelCard& card) {
  const Json settings = find(card.run, {"settings"});
  if (!settings.is_object()) return "";
  std::string text = "\n## How it was made\n" + recipe_line(card);
  const Table table = stages_table(settings);
  if (!table.rows.empty()) text += "\n" + format_markdown(table);
  const std::string version = text_of(find(card.run, {"version"}));
  if (!version.empty()) {
    text += concat("Made by hypenet ", version, " (", text_of(find(card.run, {"source_commit"})),
                   "); all settings are in run.json.\n");
  }
  return text;
}

std::string results(const ModelCard& card) {
  if (!card.results) return "";
  return concat("\n## Results\n", format_markdown(conversion_table(*card.results)),
                "Measured at the end of the conversion, on held-out text and on facts hidden in "
                "text.\n");
}

}  // namespace

ModelCard read_model_card(const fs::path& model) {
  ModelCard card;
  if (!fs::is_directory(model)) return card;
  card.run = read_or_note(model / "run.json");
  const fs::path plain = fs::absolute(model / "").lexically_normal().parent_path();
  if (plain.filename() != "model") return card;
  card.recipe = find(read_or_note(plain.parent_path() / "recipe.json"), {"recipe"});
  card.results = read_results(plain.parent_path() / "results.json");
  return card;
}

std::string write_model_card(const ModelCard& card, const ModelConfig& config,
                             const std::string& name) {
  return concat(front_matter(card, config), "# ", name, "\n", description(card, config), "\n",
                how_to_run(config, name), how_it_was_made(card), results(card));
}

}  // namespace hypenet
