// A pilot leaves its result and no weights.
#include "halo/pilot_training.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/files.h"
#include "base/folder_writer.h"
#include "eval/measures.h"
#include "eval/shared.h"
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

/// A rank that works by itself. The others, which wait for it or do so, too, see that it goes on.
class Alone : public OneProcess {
 public:
  explicit Alone(std::shared_ptr<Communicator> job) : job_(std::move(job)) {}

  bool any(bool here) override {
    give_sign();
    return here;
  }
  void give_sign() override { job_->give_sign(); }

 private:
  std::shared_ptr<Communicator> job_;
};

/// All pilots of one selection.
class Pilots {
 public:
  Pilots(const Conversion& conversion, const Stage& selection)
      : conversion_(conversion),
        selection_(selection),
        folder_(conversion.options.out / "3-pilots"),
        config_(pilot_stage(conversion.recipe)),
        alone_(std::make_shared<Alone>(conversion.options.communicator)) {
    fs::create_directories(folder_);
  }

  PilotRecord run(const PilotCandidate& candidate) {
    const std::string name = name_of(candidate.layers);
    Stage stage{.name = "pilot-" + name,
                .folder = folder_ / name,
                .settings = selection_.settings,
                .parents = selection_.parents,
                .make = [&](const Stage& own) { train_and_measure(candidate.layers, own); },
                .completed = selection_.completed};
    stage.settings["pilot"] = {{"layers", candidate.layers}, {"stage", write_fields(config_)}};
    make_once(stage, conversion_.options);
    PilotRecord record;
    const fs::path path = stage.folder / "result.json";
    read_fields(read_json(path), path.string(), record);
    return record;
  }

  /// How many of them have run, here or elsewhere.
  int64_t done(const std::vector<PilotCandidate>& candidates) const {
    return std::ranges::count_if(candidates, [&](const PilotCandidate& candidate) {
      return fs::exists(folder_ / name_of(candidate.layers) / "result.json");
    });
  }

 private:
  CausalLm& teacher() {
    if (!teacher_) {
      teacher_ = load_frozen(conversion_.teacher, config_, conversion_.options.device, alone_);
    }
    return teacher_;
  }

  /// In a folder of its own, beside the stage's: pilots of other ranks train at the same time.
  void train_and_measure(const std::vector<int64_t>& layers, const Stage& stage) {
    const fs::path training = concat(stage.folder.string(), kPilotTrainingEnding);
    fs::create_directories(training);
    CausalLm student = new_hybrid(conversion_, layers, config_);
    {
      const auto minimised = student_objective(config_, StudentObjective::kKl, "distill");
      const auto objective = new_objective(minimised, teacher(), student);
      train_stage({.stage = stage,
                   .config = config_,
                   .model = student,
                   .seed = conversion_.seed(SeedOf::kPilot),
                   .communicator = alone_,
                   .folder = training},
                  conversion_.corpus.train, conversion_.tokenizer, *objective, conversion_.options);
    }
    const PilotRecord record = measure(student, stage.name);
    FolderWriter writer(stage.folder, pilot_kind());
    write_json(writer.path() / "result.json", write_fields(record));
    write_file(writer.path() / "metrics.jsonl", read_file(training / "metrics.jsonl"));
    write_json(writer.path() / "run.json", run_record(stage));
    writer.commit();
    remove_folder(training, pilot_training_kind());
  }

  PilotRecord measure(CausalLm& student, const std::string& name) {
    const SweepConfig& config = conversion_.recipe.sweep;
    const auto& held_out = conversion_.corpus.held_out;
    Engine engine(student);
    const RecallMeasure recall = measure_recall(
        engine, *alone_, NeedleTask(conversion_.tokenizer), held_out,
        {config.context, config.needles, config.prompts, conversion_.seed(SeedOf::kSweep)});
    const auto rows = text_rows(held_out, config.context, config.windows);
    return {recall.share, recall.error, mean_kl(teacher(), student, rows, name)};
  }

  const Conversion& conversion_;
  const Stage& selection_;
  fs::path folder_;
  StageConfig config_;
  std::shared_ptr<Alone> alone_;
  CausalLm teacher_{nullptr};
};

}  // namespace

std::vector<PilotResult> train_pilots(const Conversion& conversion, const Stage& selection,
                                      const LayerScores& scores) {
  const SelectConfig& config = conversion.recipe.select;
  const auto candidates = pilot_candidates(scores, config.keep, config.pilot.candidates);
  Communicator& communicator = *conversion.options.communicator;
  const auto index = static_cast<size_t>(communicator.ranks().index);
  const auto count = static_cast<size_t>(communicator.ranks().count);
  Pilots pilots(conversion, selection);
  const auto tell = [&](const PilotCandidate& pilot, double recall, double kl) {
    note(conversion.options,
         concat("3-pilots: ", pilots.done(candidates), " of ", candidates.size(), ", ", pilot.rules,
                " ", Json(pilot.layers).dump(), ": recall ", recall, ", KL ", kl));
  };
  std::vector<double> own;  // three numbers a pilot
  bool is_stopped = false;
  try {
    for (size_t i = index; i < candidates.size(); i += count) {
      const PilotRecord record = pilots.run(candidates[i]);
      own.insert(own.end(), {record.recall, record.recall_error, record.kl});
      tell(candidates[i], record.recall, record.kl);
    }
  } catch (const Interrupted&) {
    is_stopped = true;  // the others may be saving still
  }
  if (communicator.any(is_stopped)) throw Interrupted();
  const std::vector<double> all = gather_dealt(own, 3, communicator);
  std::vector<PilotResult> results;
  results.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    const double recall = all[3 * i], recall_error = all[3 * i + 1], kl = all[3 * i + 2];
    if (i % count != index) tell(candidates[i], recall, kl);
    results.push_back({candidates[i].rules, candidates[i].layers, recall, recall_error, kl});
  }
  return ranked_pilots(std::move(results));
}

}  // namespace hypenet
