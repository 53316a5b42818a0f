// Stages ask whether their folder is there before they make it.
#include "run/run.h"

#include "base/files.h"
#include "base/version.h"

namespace hypenet {
namespace fs = std::filesystem;

void check_stop(const RunOptions& options) {
  if (options.stop && options.stop->load()) throw Interrupted();
}

void note(const RunOptions& options, const std::string& text) {
  options.communicator->give_sign();
  if (options.observer) options.observer->on_note(text);
}

void show_progress(const RunOptions& options, const std::string& part, int64_t done,
                   int64_t total) {
  options.communicator->give_sign();
  if (options.observer) options.observer->on_progress(part, done, total);
}

bool is_done(const Stage& stage) {
  const fs::path path = stage.folder / "run.json";
  if (!fs::exists(path)) return false;
  const Json run = read_json(path);
  HYPENET_CHECK(run.contains("settings"), path.string(), ": expected the key settings, found none");
  const Json& found = run["settings"];
  check_same_settings(stage.folder, stage.settings,
                      stage.completed ? stage.completed(found, path) : found, stage.or_else);
  return true;
}

void check_made_before(std::span<const Stage> stages) {
  for (const Stage& stage : stages) {
    is_done(stage);
    check_saved_state({.stage = stage.name,
                       .folder = stage.folder.parent_path(),
                       .settings = stage.settings,
                       .completed = stage.completed});
  }
}

bool make_once(const Stage& stage, const RunOptions& options) {
  check_stop(options);
  if (is_done(stage)) return false;
  stage.make(stage);
  return true;
}

void perform(std::span<const Stage> stages, const RunOptions& options) {
  Communicator& ranks = *options.communicator;
  for (const Stage& stage : stages) {
    if (ranks.any(options.stop && options.stop->load())) throw Interrupted();
    if (ranks.any(options.is_first_rank() && is_done(stage))) {
      note(options, stage.name + ": done before");
      continue;
    }
    if (stage.is_shared || options.is_first_rank()) stage.make(stage);
    ranks.barrier();
  }
}

bool has_results_of(const fs::path& path, const Json& settings, const Completed& completed) {
  if (!fs::exists(path)) return false;
  const Json results = read_json(path);
  return results.contains("settings") &&
         first_deciding_difference(settings, completed(results["settings"], path)).empty();
}

Json run_record(const Stage& stage) {
  Json names = Json::array();
  for (const auto& parent : stage.parents) names.push_back(parent.string());
  return {{"stage", stage.name},
          {"settings", stage.settings},
          {"version", version()},
          {"source_commit", source_commit()},
          {"parents", names}};
}

std::string absolute_path(const std::string& path, const fs::path& folder) {
  if (path.empty()) return path;
  const fs::path absolute = fs::absolute(folder / path).lexically_normal();
  return (absolute.has_filename() ? absolute : absolute.parent_path()).string();
}

void make_absolute(Json& settings, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (!settings.contains(key)) continue;
    Json& value = settings[key];
    if (value.is_string()) value = absolute_path(value.get<std::string>());
    if (!value.is_array()) continue;
    for (Json& path : value) {
      if (path.is_string()) path = absolute_path(path.get<std::string>());
    }
  }
}

}  // namespace hypenet
