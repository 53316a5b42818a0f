// What is removed is asked twice: each name must be one that a step gives, and each folder and file
// must hold what the step writes there.
#include "halo/steps.h"

#include <algorithm>

#include "base/files.h"
#include "run/run_files.h"
#include "store/checkpoint.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// Whether files of this name in a run's folder belong to `step`, its own folder aside.
std::vector<std::string> other_names(ConversionStep step) {
  switch (step) {
    case ConversionStep::kAlign:
    case ConversionStep::kDistill:
    case ConversionStep::kFinetune:
    case ConversionStep::kExtend:
      return {concat(about_step(step).folder, kStateEnding)};
    case ConversionStep::kSelect:
      return {"3-sweep", "3-pilots", "3-select.journal"};
    case ConversionStep::kModel:
      return {"results.json", "report.html"};
    case ConversionStep::kTransfer:
    case ConversionStep::kHybrid:
      break;
  }
  return {};
}

bool is_there(const fs::path& path) { return fs::exists(fs::symlink_status(path)); }

/// Calls folder(path, kind) or file(path) for each part of `path`; a folder of pilots is the last.
template <class OnFolder, class OnFile>
void visit_parts(const fs::path& path, ConversionStep step, const OnFolder& on_folder,
                 const OnFile& on_file) {
  const std::string name = path.filename().string();
  if (name == about_step(step).folder) return on_folder(path, step_folder_kind(step));
  if (name == "3-sweep") return on_folder(path, sweep_kind());
  if (name != "3-pilots") return on_file(path);
  HYPENET_CHECK(fs::is_directory(path), path.string(),
                ": expected a folder of pilots, found a file");
  const std::vector<fs::directory_entry> entries(fs::directory_iterator(path), {});
  for (const fs::directory_entry& entry : entries) {
    const std::string inner = entry.path().filename().string();
    if (entry.is_directory()) {
      on_folder(entry.path(), inner.ends_with(kPartialEnding)         ? unfinished_pilot_kind()
                              : inner.ends_with(kPilotTrainingEnding) ? pilot_training_kind()
                                                                      : pilot_kind());
    } else {
      const bool is_ours = inner == "metrics.jsonl" || inner.ends_with(kStateEnding) ||
                           inner.ends_with(kPartialEnding);
      HYPENET_CHECK(is_ours, path.string(),
                    ": expected an earlier run's pilots, found one that holds ", inner);
      on_file(entry.path());
    }
  }
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  HYPENET_CHECK(!error, path.string(), ": cannot remove: ", error.message());
}

/// The parts, the last step's first, with the step that each belongs to.
template <class Use>
void for_each_made(const fs::path& out, ConversionStep step, const Use& use) {
  const auto& steps = conversion_steps();
  for (auto about = steps.rbegin(); about != steps.rend() && about->step >= step; ++about) {
    std::vector<std::string> names = other_names(about->step);
    names.emplace_back(about->folder);
    for (const std::string& name : names) {
      if (is_there(out / name)) use(out / name, about->step);
    }
  }
}

}  // namespace

const std::vector<StepAbout>& conversion_steps() {
  static const std::vector<StepAbout> steps = {
      {ConversionStep::kTransfer, "transfer", "1-transfer"},
      {ConversionStep::kAlign, "align", "2-align"},
      {ConversionStep::kSelect, "select", "3-select"},
      {ConversionStep::kHybrid, "hybrid", "4-hybrid"},
      {ConversionStep::kDistill, "distill", "5-distill"},
      {ConversionStep::kFinetune, "finetune", "6-finetune"},
      {ConversionStep::kExtend, "extend", "7-extend"},
      {ConversionStep::kModel, "model", "model"}};
  return steps;
}

std::string step_names() {
  const auto& steps = conversion_steps();
  std::string names;
  for (size_t i = 0; i < steps.size(); ++i) {
    names += concat(i == 0 ? "" : i + 1 < steps.size() ? ", " : " or ", steps[i].name);
  }
  return names;
}

ConversionStep parse_step(std::string_view name) {
  for (const StepAbout& about : conversion_steps()) {
    if (about.name == name) return about.step;
  }
  throw Error(concat("step: expected ", step_names(), ", found \"", name, "\""));
}

const StepAbout& about_step(ConversionStep step) {
  return conversion_steps().at(static_cast<size_t>(step));
}

FolderKind sweep_kind() { return {"an earlier sweep", "run.json", {"scores.csv"}}; }

FolderKind selection_kind() {
  return {"an earlier selection", "run.json", {"selection.json", "scores.csv", "pilots.csv"}};
}

FolderKind unfinished_pilot_kind() {
  return {"a pilot that was being written", "result.json", {"run.json", "metrics.jsonl"}};
}

FolderKind pilot_kind() {
  return {"an earlier pilot", "run.json", {"result.json", "metrics.jsonl"}};
}

FolderKind pilot_training_kind() {
  return {
      "a pilot in training", "metrics.jsonl", {"pilot-*.state.safetensors", "*.hypenet-partial"}};
}

FolderKind step_folder_kind(ConversionStep step) {
  return step == ConversionStep::kSelect ? selection_kind() : model_folder_kind();
}

std::vector<std::string> made_from(const fs::path& out, ConversionStep step) {
  std::vector<std::string> names;
  for_each_made(out, step, [&](const fs::path& path, ConversionStep) {
    names.push_back(path.filename().string());
  });
  std::reverse(names.begin(), names.end());
  return names;
}

void check_removable(const fs::path& out, ConversionStep step) {
  for_each_made(out, step, [](const fs::path& path, ConversionStep of) {
    visit_parts(
        path, of,
        [](const fs::path& folder, const FolderKind& kind) { check_folder(folder, kind); },
        check_run_file);
  });
}

void remove_from(const fs::path& out, ConversionStep step) {
  check_removable(out, step);
  for_each_made(out, step, [](const fs::path& path, ConversionStep of) {
    visit_parts(
        path, of,
        [](const fs::path& folder, const FolderKind& kind) { remove_folder(folder, kind); },
        remove_file);
    if (path.filename() == "3-pilots") remove_file(path);
  });
}

}  // namespace hypenet
