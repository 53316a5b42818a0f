// The frame of every step of a run.
#include "halo/run.h"

#include <algorithm>

#include "base/files.h"
#include "base/folder_writer.h"
#include "base/version.h"
#include "data/batches.h"
#include "data/documents.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// Held-out tokens read at most, and the share of the training text that stands in where a recipe
/// names no validation.
constexpr int64_t kHeldOutTokens = int64_t{1} << 20;
constexpr int64_t kHeldOutShare = 50;

constexpr std::string_view kStopped = "interrupted; the same command goes on from here";

TellNote note_to(const RunOptions& options) {
  return [observer = options.observer](const std::string& text) {
    if (observer) observer->on_note(text);
  };
}

void tokenize_training_text(const fs::path& folder, const DataConfig& data,
                            const Tokenizer& tokenizer, const RunOptions& options) {
  TokenizeOptions tokenize;
  tokenize.text_field = data.text_field;
  tokenize.max_tokens = data.max_tokens;
  tokenize.on_bad = parse_on_bad_document(data.on_bad_document, "data: on_bad_document");
  const auto report = [&](const TokenizeProgress& progress) {
    check_stop(options);
    if (options.observer) options.observer->on_progress("tokenize", progress.tokens, 0);
  };
  const TellNote tell = note_to(options);
  const TokenizeProgress done =
      tokenize_corpus(document_files({data.train.begin(), data.train.end()}, tell), tokenizer,
                      folder, tokenize, report);
  tell(concat("tokens: ", done.tokens, " tokens of ", done.documents, " documents"));
  if (done.bad.bad() > 0) tell(done.bad.summary());
}

/// Settings of a text as they are written today: keys that came after it was tokenized have their
/// defaults.
Json completed_data(const Json& settings, const fs::path& place) {
  DataConfig data;
  read_fields(settings, place.string(), data);
  Json completed = write_fields(data);
  completed.erase("long_train");
  return completed;
}

/// Paths that an earlier program wrote as it saw them from its working folder.
void make_absolute(Json& settings, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (!settings.is_object() || !settings.contains(key)) continue;
    Json& value = settings[key];
    if (value.is_string()) value = absolute_path(value.get<std::string>());
    if (!value.is_array()) continue;
    for (Json& path : value) {
      if (path.is_string()) path = absolute_path(path.get<std::string>());
    }
  }
}

/// The tokens of data.train in out/<name>, made now or before.
std::shared_ptr<TokenDataset> prepare_text(const std::string& name, const DataConfig& data,
                                           const Tokenizer& tokenizer, const RunOptions& options) {
  const fs::path folder = options.out / name;
  const fs::path record = options.out / (name + ".json");  // what the folder was made of
  Json settings = write_fields(data);
  settings.erase("long_train");
  if (fs::exists(folder / "dataset.json")) {
    HYPENET_CHECK(fs::exists(record), folder.string(),
                  ": expected no folder, or one that a run made, found one without ",
                  record.string());
    Json found = completed_data(read_json(record), record);
    make_absolute(found, {"train", "validation"});
    check_same_settings(folder, settings, found);
  } else {
    check_folder(folder, dataset_kind());
    write_json(record, settings);
    tokenize_training_text(folder, data, tokenizer, options);
  }
  return std::make_shared<TokenDataset>(folder);
}

template <class Config>
void complete(Json& settings, const char* section, const fs::path& place) {
  if (!settings.contains(section)) return;
  Config config;
  read_fields(settings[section], concat(place.string(), ": settings: ", section), config);
  settings[section] = write_fields(config);
}

/// Completes every stage in the settings, wherever it stands: those of a conversion and its pilots,
/// the phases of a training from scratch. Nothing else has both of these keys.
void complete_stages(Json& settings, const std::string& place) {
  if (!settings.is_object()) return;
  if (settings.contains("steps") && settings.contains("sequences")) {
    StageConfig stage;
    read_fields(settings, place, stage);
    settings = write_fields(stage);
    return;
  }
  for (auto& item : settings.items()) {
    complete_stages(item.value(), concat(place, ": ", item.key()));
  }
}

bool is_in_a_name(const std::string& part, const CausalLm& model) {
  const auto names = model->named_parameters().keys();
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return name.find(part) != std::string::npos; });
}

/// Leaves the stage's frozen parameters out of training.
void freeze(CausalLm& model, const StageRun& run) {
  check_frozen(run.config, {model}, run.stage);
  for (const std::string& part : run.config.frozen) {
    for (auto& item : model->named_parameters()) {
      if (item.key().find(part) != std::string::npos) item.value().set_requires_grad(false);
    }
  }
}

std::vector<int32_t> read_shards(const fs::path& folder) {
  const TokenDataset dataset(folder);
  std::vector<int32_t> tokens(static_cast<size_t>(std::min(kHeldOutTokens, dataset.tokens())));
  dataset.read(0, tokens);
  return tokens;
}

}  // namespace

Json completed_settings(Json settings, const fs::path& place) {
  complete_stages(settings, concat(place.string(), ": settings"));
  complete<SweepConfig>(settings, "sweep", place);
  complete<SelectConfig>(settings, "select", place);
  make_absolute(settings, {"teacher"});
  if (settings.contains("sweep")) make_absolute(settings["sweep"], {"task_data"});
  return settings;
}

void check_stop(const RunOptions& options) {
  if (options.stop && options.stop->load()) throw Interrupted(std::string(kStopped));
}

std::vector<int32_t> read_held_out(const std::vector<std::string>& paths,
                                   const std::string& text_field, const Tokenizer& tokenizer,
                                   const TellNote& tell, OnBadDocument on_bad) {
  if (paths.size() == 1 && fs::exists(fs::path(paths.front()) / "dataset.json"))
    return read_shards(paths.front());
  constexpr auto kMost = static_cast<size_t>(kHeldOutTokens);
  std::vector<int32_t> tokens;
  BadDocuments bad(on_bad);
  for (const auto& file : document_files({paths.begin(), paths.end()}, tell)) {
    if (tokens.size() >= kMost) break;
    for_each_document(file, text_field, bad, [&](std::string_view text) {
      const std::vector<int32_t> ids = tokenizer.encode(text);
      tokens.insert(tokens.end(), ids.begin(), ids.end());
      if (tokenizer.eos_id()) tokens.push_back(*tokenizer.eos_id());
      return tokens.size() < kMost;
    });
  }
  bad.check_some_are_good();
  HYPENET_CHECK(!tokens.empty(), paths.front(), ": expected text, found none");
  if (tell && bad.bad() > 0) tell(bad.summary());
  tokens.resize(std::min(tokens.size(), kMost));
  return tokens;
}

Corpus prepare_corpus(const DataConfig& data, const Tokenizer& tokenizer, const RunOptions& options,
                      const std::function<void(const std::vector<int32_t>&)>& check_held_out) {
  Corpus corpus;
  const auto hold = [&](std::vector<int32_t> held_out) {
    corpus.held_out = std::move(held_out);
    if (check_held_out) check_held_out(corpus.held_out);
  };
  if (!data.validation.empty())
    hold(read_held_out(data.validation, data.text_field, tokenizer, note_to(options),
                       parse_on_bad_document(data.on_bad_document, "data: on_bad_document")));
  const auto train = prepare_text("tokens", data, tokenizer, options);
  if (data.validation.empty())
    hold(train->hold_out(std::min(kHeldOutTokens, train->tokens() / kHeldOutShare)));
  corpus.train = corpus.long_train = train;
  if (!data.long_train.empty()) {
    DataConfig of_stage_3 = data;
    of_stage_3.train = data.long_train;
    corpus.long_train = prepare_text("tokens-long", of_stage_3, tokenizer, options);
  }
  return corpus;
}

bool is_done(const fs::path& folder, const Json& settings, const std::string& or_else) {
  if (!fs::exists(folder / "run.json")) return false;
  const Json run = read_json(folder / "run.json");
  HYPENET_CHECK(run.contains("settings"), (folder / "run.json").string(),
                ": expected the key settings, found none");
  check_same_settings(folder, settings, completed_settings(run["settings"], folder / "run.json"),
                      or_else);
  return true;
}

Json run_record(const std::string& stage, const Json& settings,
                const std::vector<fs::path>& parents) {
  Json names = Json::array();
  for (const auto& parent : parents) names.push_back(parent.string());
  return {{"stage", stage},
          {"settings", settings},
          {"version", version()},
          {"source_commit", source_commit()},
          {"parents", names}};
}

void check_frozen(const StageConfig& stage, const std::vector<CausalLm>& models,
                  const std::string& place) {
  for (const std::string& part : stage.frozen) {
    const bool is_found = std::any_of(models.begin(), models.end(), [&](const CausalLm& model) {
      return is_in_a_name(part, model);
    });
    HYPENET_CHECK(is_found, place, ": frozen: expected part of a parameter's name, found \"", part,
                  "\"");
  }
}

void run_stage(const StageRun& run, const std::shared_ptr<const TokenDataset>& text,
               const Tokenizer& tokenizer, Objective& objective, const RunOptions& options) {
  CausalLm model = run.model;
  freeze(model, run);
  const TrainJob job{.stage = run.stage,
                     .config = run.config,
                     .parameters = trainable_parameters(model),
                     .folder = options.out,
                     .settings = run.settings,
                     .completed = completed_settings,
                     .device = options.device,
                     .observer = options.observer,
                     .stop = options.stop,
                     .after_update = [model]() mutable { model->refresh_compute_copies(); }};
  const Batches batches(text, &tokenizer,
                        {run.config.sequences, run.config.context, run.seed, run.config.mixture});
  const TrainResult result = train(job, batches, objective);
  if (result == TrainResult::kInterrupted) throw Interrupted(std::string(kStopped));
}

void check_stage_state(const std::string& stage, const Json& settings, const RunOptions& options) {
  check_saved_state({.stage = stage,
                     .folder = options.out,
                     .settings = settings,
                     .completed = completed_settings});
}

CausalLm load_frozen(const Checkpoint& checkpoint, const StageConfig& stage, torch::Device device) {
  CausalLm model = load_model(checkpoint, stage.compute_type(), device);
  model->prepare({.type = stage.compute_type()});
  return model;
}

void check_vocabulary(const Tokenizer& tokenizer, const ModelConfig& config,
                      const std::string& place) {
  HYPENET_CHECK(tokenizer.vocab_size() <= config.vocab_size, place,
                ": expected a vocabulary of at most the embedding's ", config.vocab_size,
                " rows, found a tokenizer with ", tokenizer.vocab_size(), " ids");
}

}  // namespace hypenet
