// Reading recipes: the file, then the command line's changes, then paths and sizes are checked.
#include "halo/recipe.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

#include "base/json_text.h"
#include "data/bad_documents.h"
#include "halo/distill.h"
#include "halo/select.h"
#include "model/config.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// A number of a list's entry, if it is one.
std::optional<size_t> entry_number(const std::string& text) {
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number ? std::optional(number) : std::nullopt;
}

/// The member of a section, made where there is none, or the entry of a list. `place` names `json`
/// in errors.
Json& member(Json& json, const std::string& name, const std::string& place) {
  const bool is_number = !name.empty() && name.find_first_not_of("0123456789") == name.npos;
  if (json.is_array()) {
    const auto entry = entry_number(name);
    HYPENET_CHECK(entry && *entry < json.size(), place,
                  ": expected the number of one of the list's ", json.size(),
                  " entries (from 0 on), found ", name);
    return json[*entry];
  }
  HYPENET_CHECK(json.is_null() || json.is_object(), place, ": expected a section with the key ",
                name, ", found ", json_kind(json));
  HYPENET_CHECK(!is_number, place, ": expected a list in the recipe whose entry ", name,
                " to change, found ", json.is_null() ? "none" : "a section",
                "; set the whole list, as in key=[1,2]");
  return json[name];
}

/// Sets json["a"]["b"] for "a.b=value". A key that the recipe's struct does not know is found when
/// it is read.
void apply_setting(Json& json, const std::string& setting) {
  const size_t equals = setting.find('=');
  HYPENET_CHECK(equals != std::string::npos && equals > 0 && setting[equals - 1] != '.', "--set ",
                setting, ": expected section.key=value");
  Json* at = &json;
  const std::string place = concat("--set ", setting);
  std::string path;  // of *at
  std::istringstream parts(setting.substr(0, equals));
  for (std::string part; std::getline(parts, part, '.');) {
    at = &member(*at, part, path.empty() ? place : concat(place, ": ", path));
    path += (path.empty() ? "" : ".") + part;
  }
  const std::string text = setting.substr(equals + 1);
  *at = try_parse_json(text).value_or(Json(text));
}

void resolve(std::vector<std::string>& paths, const fs::path& folder) {
  for (std::string& path : paths) path = absolute_path(path, folder);
}

void resolve(DataConfig& data, const RecipeSource& source) {
  for (auto* paths : {&data.train, &data.validation, &data.long_train})
    resolve(*paths, source.path.parent_path());
  if (!source.data.empty()) {
    // Held-out text of another corpus would say little about a model trained on this one.
    data.train = source.data;
    data.validation.clear(), data.long_train.clear();
  }
  if (!source.validation.empty()) data.validation = source.validation;
  if (!source.text_field.empty()) data.text_field = source.text_field;
  if (!source.on_bad_document.empty()) data.on_bad_document = source.on_bad_document;
  parse_on_bad_document(data.on_bad_document,
                        concat(source.path.string(), ": data: on_bad_document"));
  resolve(data.train, {}), resolve(data.validation, {});
}

void check_data(const DataConfig& data, const std::string& place) {
  HYPENET_CHECK(!data.train.empty(), place,
                ": data: train: expected at least one path, found none (give --data)");
  HYPENET_CHECK(data.max_tokens >= 0, place, ": data: max_tokens: expected 0 or more, found ",
                data.max_tokens);
}

/// The file's JSON with the command line's changes.
Json read_changed(const RecipeSource& source) {
  Json json = read_json(source.path);
  if (json.is_object() && json.contains("recipe")) json = Json(json["recipe"]);  // a run's own
  for (const auto& setting : source.settings) apply_setting(json, setting);
  return json;
}

template <class Recipe>
Recipe parse_recipe(const Json& json, const RecipeSource& source) {
  Recipe recipe;
  read_fields(json, source.path.string(), recipe);
  resolve(recipe.data, source);
  return recipe;
}

HaloRecipe parse_halo_recipe(const Json& json, const RecipeSource& source) {
  auto recipe = parse_recipe<HaloRecipe>(json, source);
  recipe.teacher = absolute_path(recipe.teacher, source.path.parent_path());
  resolve(recipe.sweep.task_data, source.path.parent_path());
  if (!source.teacher.empty()) recipe.teacher = absolute_path(source.teacher);
  return recipe;
}

PretrainRecipe parse_pretrain_recipe(const Json& json, const RecipeSource& source) {
  auto recipe = parse_recipe<PretrainRecipe>(json, source);
  const fs::path folder = source.path.parent_path();
  recipe.tokenizer = absolute_path(recipe.tokenizer, folder);
  if (recipe.has_folder()) recipe.model = absolute_path(recipe.model.get<std::string>(), folder);
  if (!source.model.empty()) recipe.model = absolute_path(source.model), recipe.tokenizer.clear();
  return recipe;
}

/// How many there are to be is known once the teacher is read (halo/conversion.h).
void check_mixers(const HaloRecipe& recipe, const std::string& place) {
  HYPENET_CHECK(!recipe.mixer || !recipe.mixers, place,
                ": mixer, mixers: expected one of the two, found both");
  if (recipe.mixer) twin_rule(*recipe.mixer, place + ": mixer");
  if (!recipe.mixers) return;
  for (size_t i = 0; i < recipe.mixers->size(); ++i)
    twin_rule((*recipe.mixers)[i], concat(place, ": mixers[", i, "]"));
}

/// What a training begins with, and whose tokens it reads.
void check_beginning(const PretrainRecipe& recipe, const std::string& place) {
  const Json& model = recipe.model;
  const bool is_missing = model.is_null() || model == "";
  HYPENET_CHECK((recipe.has_folder() || model.is_object()) && !is_missing, place,
                ": model: expected a model folder (give --model), or a config.json written out, ",
                "found ", is_missing ? "none" : json_kind(model));
  if (recipe.has_folder()) {
    HYPENET_CHECK(recipe.tokenizer.empty(), place,
                  ": tokenizer: expected none, as model is a folder, which has its own, found ",
                  recipe.tokenizer);
  } else {
    HYPENET_CHECK(!recipe.tokenizer.empty(), place,
                  ": tokenizer: expected a folder with tokenizer.json, found none");
  }
}

void check_no_objective(const StageConfig& stage, const std::string& place) {
  HYPENET_CHECK(stage.objective.empty(), place,
                ": objective: expected none, as this stage has no choice, found \"",
                stage.objective, "\"");
}

void check_needles(int64_t needles, const std::string& place) {
  HYPENET_CHECK(needles >= 1 && needles <= 8, place, ": needles: expected 1 to 8, found ", needles);
}

void check_evaluate(const EvaluateConfig& config, const std::string& place) {
  HYPENET_CHECK(config.context > 0 && config.windows > 0 && config.prompts > 0, place,
                ": evaluate: expected positive context, windows and prompts, found ",
                config.context, ", ", config.windows, ", ", config.prompts);
  for (const int64_t context : config.contexts) {
    HYPENET_CHECK(context > 0, place, ": evaluate: contexts: expected positive numbers, found ",
                  context);
  }
  check_needles(config.needles, place + ": evaluate");
}

void check_tasks(const SweepConfig& config, const std::string& place) {
  HYPENET_CHECK(!config.tasks.empty(), place, ": tasks: expected at least one, found none");
  std::set<std::string> distinct;
  for (const std::string& task : config.tasks) {
    HYPENET_CHECK(distinct.insert(task).second, place, ": tasks: expected ", task,
                  " once, found it twice");
  }
  HYPENET_CHECK(config.version == 0 || config.version == 1, place,
                ": version: expected 0 or 1, found ", config.version);
  HYPENET_CHECK(!config.lengths.empty(), place, ": lengths: expected at least one, found none");
  for (const int64_t length : config.lengths) {
    HYPENET_CHECK(length > 0, place, ": lengths: expected positive numbers, found ", length);
  }
}

void check_lazy(const SweepConfig& config, const std::string& place) {
  const LazyConfig& lazy = config.lazy;
  HYPENET_CHECK(lazy.queries > 0 && lazy.first >= 0 && lazy.recent >= 0, place,
                ": lazy: expected positive queries, and first and recent of 0 or more, found ",
                lazy.queries, ", ", lazy.first, " and ", lazy.recent);
  if (std::find(config.tasks.begin(), config.tasks.end(), "lazy") == config.tasks.end()) return;
  const int64_t row = config.context + 1;
  HYPENET_CHECK(
      lazy.queries <= row && lazy.first + lazy.recent < row, place, ": lazy: expected at most ",
      row, " queries and fewer first and recent tokens than ", row,
      " (context and one more), found ", lazy.queries, ", ", lazy.first, " and ", lazy.recent);
}

}  // namespace

bool is_on_held_out(const std::string& task) {
  return task == "recall" || task == "text" || task == "lazy";
}

void check_sweep(const SweepConfig& config, const std::string& place) {
  check_tasks(config, place);
  check_lazy(config, place);
  HYPENET_CHECK(config.context > 0 && config.prompts > 0 && config.windows > 0, place,
                ": expected positive context, prompts and windows, found ", config.context, ", ",
                config.prompts, " and ", config.windows);
  check_needles(config.needles, place);
  HYPENET_CHECK(config.limit >= 0, place, ": limit: expected 0 or more, found ", config.limit);
  HYPENET_CHECK(config.precision == "float32" || config.precision == "bfloat16", place,
                ": precision: expected float32 or bfloat16, found \"", config.precision, "\"");
}

Json resolved_recipe(const RecipeSource& source) {
  const Json json = read_changed(source);
  if (json.is_object() && json.contains("phases"))
    return write_fields(parse_pretrain_recipe(json, source));
  return write_fields(parse_halo_recipe(json, source));
}

HaloRecipe read_halo_recipe(const RecipeSource& source) {
  auto recipe = parse_halo_recipe(read_changed(source), source);
  const std::string place = source.path.string();
  check_data(recipe.data, place);
  HYPENET_CHECK(!recipe.teacher.empty(), place,
                ": teacher: expected a model folder, found none (give --teacher)");
  check_stage(recipe.align, place + ": align");
  check_stage(recipe.distill, place + ": distill");
  check_stage(recipe.finetune, place + ": finetune");
  if (recipe.extend) check_stage(*recipe.extend, place + ": extend");
  check_no_objective(recipe.align, place + ": align");
  HYPENET_CHECK(recipe.align.attn_logits_scaling == LogitsScaling(), place,
                ": align: attn_logits_scaling: expected null, as this stage trains no attention, "
                "found ",
                to_json(recipe.align.attn_logits_scaling).dump());
  student_objective(recipe.distill, StudentObjective::kKl, place + ": distill");
  student_objective(recipe.finetune, StudentObjective::kCrossEntropy, place + ": finetune");
  if (recipe.extend)
    student_objective(*recipe.extend, StudentObjective::kCrossEntropy, place + ": extend");
  check_evaluate(recipe.evaluate, place);
  check_sweep(recipe.sweep, place + ": sweep");
  HYPENET_CHECK(recipe.select.pilot.steps > 0 && recipe.select.pilot.candidates > 0, place,
                ": select: pilot: expected at least 1 step and candidate, found ",
                recipe.select.pilot.steps, " and ", recipe.select.pilot.candidates);
  check_mixers(recipe, place);
  HYPENET_CHECK(recipe.gate_std >= 0, place, ": gate_std: expected 0 or more, found ",
                recipe.gate_std);
  parse_selection_rule(recipe.select.rule);
  parse_logits_scaling(recipe.attn_logits_scaling, place + ": attn_logits_scaling");
  return recipe;
}

PretrainRecipe read_pretrain_recipe(const RecipeSource& source) {
  auto recipe = parse_pretrain_recipe(read_changed(source), source);
  const std::string place = source.path.string();
  check_data(recipe.data, place);
  HYPENET_CHECK(recipe.data.long_train.empty(), place,
                ": data: long_train: expected none, as no phase is stage 3, found ",
                recipe.data.long_train.size());
  check_beginning(recipe, place);
  HYPENET_CHECK(!recipe.phases.empty(), place, ": phases: expected at least one, found none");
  // Other keys of run.json.
  std::set<std::string> names = {"model", "tokenizer", "seed", "training_tokens"};
  for (const auto& phase : recipe.phases) {
    HYPENET_CHECK(!phase.name.empty() && phase.name.find('/') == std::string::npos, place,
                  ": phases: expected a name for each that a folder can have, found \"", phase.name,
                  "\"");
    HYPENET_CHECK(names.insert(phase.name).second, place,
                  ": phases: expected names that differ, and none of model, tokenizer, seed "
                  "and training_tokens, found \"",
                  phase.name, "\"");
    check_stage(phase.stage, place + ": phases: " + phase.name);
    check_no_objective(phase.stage, place + ": phases: " + phase.name);
  }
  check_evaluate(recipe.evaluate, place);
  return recipe;
}

}  // namespace hypenet
