// A pilot leaves its result and no weights.
#include "halo/pilot_training.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/files.h"
#include "eval/measures.h"
#include "halo/distill.h"
#include "halo/divergence.h"
#include "halo/hybrid.h"
#include "halo/pilots.h"
#include "halo/select.h"
#include "model/token_ids.h"
#include "run/training.h"

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
  stage.row_ranks = 1;  // one process trains a pilot
  stage.optimizer.warmup_steps = std::min(stage.optimizer.warmup_steps, stage.steps / 10);
  return stage;
}

/// The hybrid that stage 2 would start from.
CausalLm new_hybrid(const Conversion& conversion, const std::vector<int64_t>& layers,
                    const StageConfig& stage) {
  CausalLm model(conversion.hybrid_config(layers), false);
  std::map<std::string, Tensor> weights;
  for (auto& [name, tensor] :
       hybrid_weights(conversion.teacher, Checkpoint(conversion.folder(ConversionStep::kAlign)),
                      layers, conversion.transfer_options())) {
    weights.emplace(name, tensor);
  }
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters()) {
    const auto found = weights.find(parameter.key());
    HYPENET_CHECK(found != weights.end(), "pilot ", name_of(layers), ": expected the tensor ",
                  parameter.key(), ", found none");
    parameter.value().set_data(
        found->second.to(conversion.options.device, torch::kFloat32, false, true));
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
  Pilots(const Conversion& conversion, const Stage& selection)
      : conversion_(conversion),
        selection_(selection),
        folder_(conversion.options.out / "3-pilots"),
        config_(pilot_stage(conversion.recipe)) {
    fs::create_directories(folder_);
  }

  PilotResult run(const PilotCandidate& candidate) {
    const std::string name = name_of(candidate.layers);
    Stage stage{.name = "pilot-" + name,
                .folder = folder_ / name,
                .settings = selection_.settings,
                .parents = selection_.parents,
                .make = [&](const Stage& own) { train_and_measure(candidate.layers, own); },
                .completed = completed_settings};
    stage.settings["pilot"] = {{"layers", candidate.layers}, {"stage", write_fields(config_)}};
    make_once(stage, conversion_.options);
    PilotRecord record;
    const fs::path path = stage.folder / "result.json";
    read_fields(read_json(path), path.string(), record);
    return {candidate.rules, candidate.layers, record.recall, record.recall_error, record.kl};
  }

 private:
  CausalLm& teacher() {
    if (!teacher_) {
      teacher_ = load_frozen(conversion_.teacher, config_, conversion_.options.device,
                             std::make_shared<OneProcess>());
    }
    return teacher_;
  }

  void train_and_measure(const std::vector<int64_t>& layers, const Stage& stage) {
    CausalLm student = new_hybrid(conversion_, layers, config_);
    {
      const auto minimised = student_objective(config_, StudentObjective::kKl, "distill");
      const auto objective = new_objective(minimised, teacher(), student);
      train_stage({stage, config_, student, conversion_.seed(SeedOf::kPilot)},
                  conversion_.corpus.train, conversion_.tokenizer, *objective, conversion_.options);
    }
    const PilotRecord record = measure(student, stage.name);
    FolderWriter writer(stage.folder, pilot_kind());
    write_json(writer.path() / "result.json", write_fields(record));
    write_json(writer.path() / "run.json", run_record(stage));
    writer.commit();
    remove_state(stage);
  }

  PilotRecord measure(CausalLm& student, const std::string& name) {
    const SweepConfig& config = conversion_.recipe.sweep;
    const auto& held_out = conversion_.corpus.held_out;
    Engine engine(student);
    OneProcess alone;
    const RecallMeasure recall = measure_recall(
        engine, alone, NeedleTask(conversion_.tokenizer), held_out,
        {config.context, config.needles, config.prompts, conversion_.seed(SeedOf::kSweep)});
    const auto rows = text_rows(held_out, config.context, config.windows);
    return {recall.share, recall.error, mean_kl(teacher(), student, rows, name)};
  }

  const Conversion& conversion_;
  const Stage& selection_;
  fs::path folder_;
  StageConfig config_;
  CausalLm teacher_{nullptr};
};

}  // namespace

std::vector<PilotResult> train_pilots(const Conversion& conversion, const Stage& selection,
                                      const LayerScores& scores) {
  const SelectConfig& config = conversion.recipe.select;
  const auto candidates = pilot_candidates(scores, config.keep, config.pilot.candidates);
  Pilots pilots(conversion, selection);
  std::vector<PilotResult> results;
  results.reserve(candidates.size());
  for (const PilotCandidate& candidate : candidates) {
    results.push_back(pilots.run(candidate));
    const PilotResult& result = results.back();
    note(conversion.options,
         concat("3-pilots: ", results.size(), " of ", candidates.size(), ", ", result.rules, " ",
                Json(result.layers).dump(), ": recall ", result.recall, ", KL ", result.kl));
  }
  return ranked_pilots(std::move(results));
}

}  // namespace hypenet
