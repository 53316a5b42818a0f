// A pilot leaves its result and no weights.
#include "halo/pilot_training.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/files.h"
#include "base/folder_writer.h"
#include "engine/score.h"
#include "eval/measures.h"
#include "halo/distill.h"
#include "halo/divergence.h"
#include "halo/hybrid.h"
#include "model/weights.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// result.json of a pilot.
struct PilotRecord {
  double recall = 0, recall_error = 0, kl = 0;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("recall", recall);
    field("recall_error", recall_error);
    field("kl", kl);
  }
};

/// "0-1-8"
std::string name_of(const std::vector<int64_t>& layers) {
  std::string name;
  for (const int64_t layer : layers) name += concat(name.empty() ? "" : "-", layer);
  return name;
}

StageConfig pilot_stage(const HaloRecipe& recipe) {
  StageConfig stage = recipe.distill;
  stage.steps = recipe.select.pilot.steps;
  stage.optimizer.warmup_steps = std::min(stage.optimizer.warmup_steps, stage.steps / 10);
  return stage;
}

/// The hybrid that stage 2 would start from.
CausalLm new_hybrid(const SelectionInputs& inputs, const std::vector<int64_t>& layers,
                    const StageConfig& stage, torch::Device device) {
  const auto config = read_model_config(inputs.teacher);
  CausalLm model(
      hypenet_config(config, mixer_types(config.num_hidden_layers, layers, inputs.recipe.mixer)),
      false);
  std::map<std::string, Tensor> weights;
  for (auto& [name, tensor] :
       hybrid_weights(inputs.teacher, Checkpoint(inputs.aligned), layers, inputs.transfer)) {
    weights.emplace(name, tensor);
  }
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters()) {
    const auto found = weights.find(parameter.key());
    HYPENET_CHECK(found != weights.end(), "pilot ", name_of(layers), ": expected the tensor ",
                  parameter.key(), ", found none");
    parameter.value().set_data(found->second.to(device, torch::kFloat32, false, true));
  }
  model->prepare(stage.compute_plan());
  return model;
}

double mean_kl(CausalLm& teacher, CausalLm& student, const std::vector<ScoredRow>& rows,
               const std::string& place) {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  int64_t positions = 0;
  for (const ScoredRow& row : rows) {
    const Tensor ids = ids_tensor(row.ids, teacher->head_weight().device()).unsqueeze(0);
    sum += kl_sum(teacher, teacher->hidden(ids), student, student->hidden(ids));
    positions += ids.size(1);
  }
  const double mean = sum / static_cast<double>(positions);
  HYPENET_CHECK(std::isfinite(mean), place, ": KL: expected a finite number, found ", mean);
  return mean;
}

/// All pilots of one selection.
class Pilots {
 public:
  Pilots(const SelectionInputs& inputs, const RunOptions& options)
      : inputs_(inputs), options_(options), stage_(pilot_stage(inputs.recipe)) {
    options_.out = options.out / "3-pilots";
    fs::create_directories(options_.out);
  }

  PilotResult run(const PilotCandidate& candidate) {
    const fs::path folder = options_.out / name_of(candidate.layers);
    Json settings = inputs_.settings;
    settings["pilot"] = {{"layers", candidate.layers}, {"stage", write_fields(stage_)}};
    check_stop(options_);
    if (!is_done(folder, settings)) train_and_measure(candidate.layers, folder, settings);
    PilotRecord record;
    const fs::path path = folder / "result.json";
    read_fields(read_json(path), path.string(), record);
    return {candidate.rules, candidate.layers, record.recall, record.recall_error, record.kl};
  }

 private:
  CausalLm& teacher() {
    if (!teacher_) teacher_ = load_frozen(inputs_.teacher, stage_, options_.device);
    return teacher_;
  }

  void train_and_measure(const std::vector<int64_t>& layers, const fs::path& folder,
                         const Json& settings) {
    const std::string name = "pilot-" + name_of(layers);
    CausalLm student = new_hybrid(inputs_, layers, stage_, options_.device);
    {
      const auto minimised = student_objective(stage_, StudentObjective::kKl, "distill");
      const auto objective = new_objective(minimised, teacher(), student);
      run_stage({name, stage_, student, settings, inputs_.pilot_seed}, inputs_.corpus.train,
                inputs_.tokenizer, *objective, options_);
    }
    const PilotRecord record = measure(student, name);
    FolderWriter writer(folder, pilot_kind());
    write_json(writer.path() / "result.json", write_fields(record));
    write_json(writer.path() / "run.json", run_record(name, settings, {inputs_.aligned}));
    writer.commit();
    remove_state(options_.out, name);
  }

  PilotRecord measure(CausalLm& student, const std::string& name) {
    const SweepConfig& config = inputs_.recipe.sweep;
    const auto& held_out = inputs_.corpus.held_out;
    Engine engine(student);
    const RecallMeasure recall =
        measure_recall(engine, NeedleTask(inputs_.tokenizer), held_out,
                       {config.context, config.needles, config.prompts, inputs_.sweep_seed});
    const auto rows = text_rows(held_out, config.context, config.windows);
    return {recall.share, recall.error, mean_kl(teacher(), student, rows, name)};
  }

  const SelectionInputs& inputs_;
  RunOptions options_;  // out: 3-pilots
  StageConfig stage_;
  CausalLm teacher_{nullptr};
};

}  // namespace

FolderKind unfinished_pilot_kind() {
  return {"a pilot that was being written", "result.json", {"run.json"}};
}

FolderKind pilot_kind() { return {"an earlier pilot", "run.json", {"result.json"}}; }

std::vector<PilotResult> train_pilots(const SelectionInputs& inputs, const LayerScores& scores,
                                      const RunOptions& options) {
  const SelectConfig& config = inputs.recipe.select;
  const auto candidates = pilot_candidates(scores, config.keep, config.pilot.candidates);
  Pilots pilots(inputs, options);
  std::vector<PilotResult> results;
  results.reserve(candidates.size());
  for (const PilotCandidate& candidate : candidates) {
    results.push_back(pilots.run(candidate));
    const PilotResult& result = results.back();
    if (!options.observer) continue;
    options.observer->on_note(concat("3-pilots: ", results.size(), " of ", candidates.size(), ", ",
                                     result.rules, " ", Json(result.layers).dump(), ": recall ",
                                     result.recall, ", KL ", result.kl));
  }
  return ranked_pilots(std::move(results));
}

}  // namespace hypenet
